//! What a refusal means. Sources: opendocs.alipay.com/common/02km9f for the gateway's codes,
//! the tables of error codes of alipay.trade.precreate and alipay.trade.refund for the rest.
//! A code that is in none of the tables is no outcome.

use super::message::Head;
use crate::channel::Outcome;

const BUSINESS_FAILED: &str = "40004";

/// Said by the gateway in front of the business, which never saw the request.
const NOT_TAKEN: &[(&str, &[&str])] = &[
    (
        "40001",
        &[
            "isv.missing-method",
            "isv.missing-signature",
            "isv.missing-signature-type",
            "isv.missing-signature-key",
            "isv.missing-app-id",
            "isv.missing-timestamp",
            "isv.missing-version",
        ],
    ),
    (
        "40002",
        &[
            "isv.invalid-parameter",
            "isv.invalid-method",
            "isv.invalid-format",
            "isv.invalid-signature",
            "isv.invalid-signature-type",
            "isv.invalid-app-id",
            "isv.invalid-timestamp",
            "isv.invalid-charset",
            "isv.illegal-json",
            "isv.suspected-attack",
            "isv.forbidden-api",
            "isv.not-online-app",
        ],
    ),
    ("40003", &["isv.missing-signature-config", "isv.invalid-auth-relations"]),
    ("40005", &["isv.app-call-limited", "isv.method-call-limited"]),
    (
        "40006",
        &[
            "isv.insufficient-isv-permissions",
            "isv.insufficient-user-permissions",
            "isv.self-invoke-forbidden",
        ],
    ),
];

/// The merchant or its app cannot use this network, or the request is wrong. No QR code
/// was made, so nobody can pay it: another network may be tried.
const NOT_PRECREATED: &[&str] = &["ACQ.INVALID_PARAMETER", "ACQ.ACCESS_FORBIDDEN", "ACQ.PARTNER_ERROR"];

/// No QR code was made for this order, for a reason in the order or in an account. Not here
/// are those that say that the number is known already (ACQ.TRADE_HAS_SUCCESS,
/// ACQ.TRADE_HAS_CLOSE, ACQ.CONTEXT_INCONSISTENT, ACQ.TRADE_BUYER_NOT_MATCH): a query tells.
const PRECREATE_DECLINED: &[&str] = &[
    "ACQ.EXIST_FORBIDDEN_WORD",
    "ACQ.TOTAL_FEE_EXCEED",
    "ACQ.APPLY_PC_MERCHANT_CODE_ERROR",
    "ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR",
    "ACQ.BEYOND_PAY_RESTRICTION",
    "ACQ.BEYOND_PER_RECEIPT_RESTRICTION",
    "ACQ.BEYOND_PER_RECEIPT_DAY_RESTRICTION",
    "ACQ.BEYOND_PER_RECEIPT_SINGLE_RESTRICTION",
    "ACQ.MERCHANT_PERM_RECEIPT_SUSPEND_LIMIT",
    "ACQ.MERCHANT_PERM_RECEIPT_SINGLE_LIMIT",
    "ACQ.MERCHANT_PERM_RECEIPT_DAY_LIMIT",
    "ACQ.MERCHANT_STATUS_NOT_NORMAL",
    "ACQ.SELLER_BEEN_BLOCKED",
    "ACQ.SELLER_NOT_EXIST",
    "ACQ.INVALID_RECEIVE_ACCOUNT",
    "ACQ.INVALID_STORE_ID",
    "ACQ.BUYER_SELLER_EQUAL",
    "ACQ.BUYER_ENABLE_STATUS_FORBID",
    "ACQ.BUYER_NOT_EXIST",
    "ACQ.BUYER_PAYMENT_AMOUNT_DAY_LIMIT_ERROR",
    "ACQ.BUYER_PAYMENT_AMOUNT_MONTH_LIMIT_ERROR",
    "ACQ.ERROR_BUYER_CERTIFY_LEVEL_LIMIT",
];

/// The refund was refused before money moved, and a refusal is not tried again by the
/// network. Not here: ACQ.SYSTEM_ERROR (it may have succeeded), ACQ.REFUND_CHARGE_ERROR
/// ("try later"), ACQ.DISCORDANT_REPEAT_REQUEST (the number was refunded already),
/// ACQ.TRADE_HAS_CLOSE (all was refunded already, perhaps by this): a query tells.
const REFUND_DECLINED: &[&str] = &[
    "ACQ.INVALID_PARAMETER",
    "ACQ.SELLER_BALANCE_NOT_ENOUGH",
    "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
    "ACQ.REASON_TRADE_REFUND_FEE_ERR",
    "ACQ.REFUND_FEE_ERROR",
    "ACQ.REASON_TRADE_BEEN_FREEZEN",
    "ACQ.REASON_TRADE_STATUS_INVALID",
    "ACQ.TRADE_STATUS_ERROR",
    "ACQ.TRADE_NOT_EXIST",
    "ACQ.TRADE_HAS_FINISHED",
    "ACQ.TRADE_NOT_ALLOW_REFUND",
    "ACQ.NOT_ALLOW_PARTIAL_REFUND",
    "ACQ.ONLINE_TRADE_VOUCHER_NOT_ALLOW_REFUND",
    "ACQ.REFUND_ACCOUNT_NOT_EXIST",
    "ACQ.CURRENCY_NOT_SUPPORT",
    "ACQ.BUYER_ERROR",
    "ACQ.BUYER_NOT_EXIST",
    "ACQ.BUYER_ENABLE_STATUS_FORBID",
    "ACQ.CUSTOMER_VALIDATE_ERROR",
    "ACQ.USER_NOT_MATCH_ERR",
];

/// A new order was refused.
pub(super) fn precreate_refused(head: &Head) -> Outcome {
    refused(head, NOT_PRECREATED, PRECREATE_DECLINED)
}

/// A refund was refused.
pub(super) fn refund_refused(head: &Head) -> Outcome {
    refused(head, &[], REFUND_DECLINED)
}

/// Is it the answer to a query for a trade that was not made?
pub(super) fn is_not_found(head: &Head) -> bool {
    head.code == BUSINESS_FAILED && head.sub_code() == "ACQ.TRADE_NOT_EXIST"
}

fn refused(head: &Head, not_sent: &[&str], declined: &[&str]) -> Outcome {
    let (code, sub_code) = (head.code.as_str(), head.sub_code());
    let not_taken = NOT_TAKEN.iter().any(|(known, codes)| *known == code && codes.contains(&sub_code));
    let failed = code == BUSINESS_FAILED;
    if not_taken || (failed && not_sent.contains(&sub_code)) {
        return Outcome::NotSent { why: format!("refused: {code} {sub_code}") };
    }
    if failed && declined.contains(&sub_code) {
        return Outcome::Declined { code: sub_code.to_owned(), network_id: None };
    }
    head.unknown()
}
