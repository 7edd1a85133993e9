//! WeChat Pay's messages and what they mean.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::channel::{Details, Outcome, storable};

pub(super) const CURRENCY: &str = "CNY";

#[derive(Serialize)]
pub(super) struct PayBody<'a> {
    pub appid: &'a str,
    pub mchid: &'a str,
    pub description: String,
    pub out_trade_no: &'a str,
    pub time_expire: String,
    pub notify_url: &'a str,
    pub amount: Total,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer: Option<Payer<'a>>,
}

#[derive(Serialize)]
pub(super) struct Total {
    pub total: i64,
    pub currency: &'static str,
}

#[derive(Serialize)]
pub(super) struct Payer<'a> {
    pub openid: &'a str,
}

#[derive(Serialize)]
pub(super) struct RefundBody<'a> {
    pub out_trade_no: &'a str,
    pub out_refund_no: &'a str,
    pub notify_url: &'a str,
    pub amount: RefundAmount,
}

#[derive(Serialize)]
pub(super) struct RefundAmount {
    pub refund: i64,
    pub total: i64,
    pub currency: &'static str,
}

#[derive(Serialize)]
pub(super) struct CloseBody<'a> {
    pub mchid: &'a str,
}

/// The answer to a new order.
#[derive(Deserialize)]
pub(super) struct Prepaid {
    pub code_url: Option<String>,
    pub prepay_id: Option<String>,
}

#[derive(Deserialize)]
struct Amount {
    total: Option<i64>,
    refund: Option<i64>,
    payer_total: Option<i64>,
    currency: Option<String>,
}

/// A payment, as a query or a notification tells of it.
#[derive(Deserialize)]
pub(super) struct Transaction {
    pub mchid: String,
    pub appid: String,
    pub out_trade_no: String,
    transaction_id: Option<String>,
    trade_state: String,
    success_time: Option<Timestamp>,
    amount: Option<Amount>,
}

impl Transaction {
    pub(super) fn outcome(&self) -> Outcome {
        let network_id = self.transaction_id.as_deref().filter(|id| !id.is_empty());
        match self.trade_state.as_str() {
            // A payment that was refunded was paid.
            "SUCCESS" | "REFUND" => {
                let total = self.amount.as_ref().and_then(|amount| amount.total);
                let payer_minor = self.amount.as_ref().and_then(|amount| amount.payer_total);
                succeeded(network_id, self.success_time, (total, self.amount.as_ref()))
                    .detailed(Details { payer_minor, ..Details::default() })
            }
            "NOTPAY" | "USERPAYING" => {
                Outcome::Processing { network_id: network_id.map(storable), action: None }
            }
            "CLOSED" | "REVOKED" => Outcome::Closed,
            "PAYERROR" => {
                Outcome::Declined { code: "PAYERROR".to_owned(), network_id: network_id.map(storable) }
            }
            other => Outcome::Unknown { why: format!("trade_state {other:?}") },
        }
    }
}

/// A refund: an answer has its state in `status`, a notification in `refund_status`.
#[derive(Deserialize)]
pub(super) struct Refund {
    pub mchid: Option<String>,
    pub out_refund_no: String,
    refund_id: Option<String>,
    #[serde(alias = "refund_status")]
    status: String,
    success_time: Option<Timestamp>,
    amount: Option<Amount>,
}

impl Refund {
    pub(super) fn outcome(&self) -> Outcome {
        let network_id = self.refund_id.as_deref().filter(|id| !id.is_empty());
        match self.status.as_str() {
            "SUCCESS" => {
                let refunded = self.amount.as_ref().and_then(|amount| amount.refund);
                succeeded(network_id, self.success_time, (refunded, self.amount.as_ref()))
            }
            // Abnormal: the payer's account cannot take it; a person at the merchant decides there.
            "PROCESSING" | "ABNORMAL" => {
                Outcome::Processing { network_id: network_id.map(storable), action: None }
            }
            "CLOSED" => Outcome::Declined { code: "CLOSED".to_owned(), network_id: network_id.map(storable) },
            other => Outcome::Unknown { why: format!("refund status {other:?}") },
        }
    }
}

/// A success says which, when and how much, in yuan's minor units; else it is none.
fn succeeded(
    network_id: Option<&str>,
    at: Option<Timestamp>,
    (minor, amount): (Option<i64>, Option<&Amount>),
) -> Outcome {
    let currency = amount.and_then(|amount| amount.currency.as_deref()).unwrap_or(CURRENCY);
    match (network_id, at, minor) {
        (Some(id), Some(at), Some(minor)) if currency == CURRENCY => Outcome::succeeded(id, at, Some(minor)),
        _ => Outcome::Unknown { why: "a success without id, time or amount in CNY".to_owned() },
    }
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
}

/// The code of a refusal.
pub(super) fn code(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<Refusal>(body).ok().map(|refusal| storable(&refusal.code))
}

/// What a refusal of a new order or refund means, by the tables of error codes of both.
pub(super) fn refused(status: u16, code: &str) -> Outcome {
    // The request itself was not taken: it has had no effect and never will.
    const NOT_TAKEN: &[&str] = &[
        "PARAM_ERROR",
        "SIGN_ERROR",
        "NO_AUTH",
        "APPID_MCHID_NOT_MATCH",
        "MCH_NOT_EXISTS",
        "RATELIMIT_EXCEEDED",
        "FREQUENCY_LIMITED",
    ];
    const DECLINED: &[&str] = &[
        "TRADE_ERROR",
        "RULE_LIMIT",
        "RULELIMIT",
        "ACCOUNT_ERROR",
        "ACCOUNTERROR",
        "NOT_ENOUGH",
        "NOTENOUGH",
        "USER_ACCOUNT_ABNORMAL",
        "INVALID_REQUEST",
        "RESOURCE_NOT_EXISTS",
    ];
    match status {
        400..=499 if NOT_TAKEN.contains(&code) => Outcome::NotSent { why: format!("refused: {code}") },
        400..=499 if DECLINED.contains(&code) => {
            Outcome::Declined { code: code.to_owned(), network_id: None }
        }
        _ => Outcome::Unknown { why: format!("answer {status} {code}") },
    }
}
