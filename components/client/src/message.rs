//! The app and admin API's messages, as a merchant's programmer reads them.
//! Fields that a later release adds are ignored.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PayRequest {
    pub order_date: Date,
    pub order_number: String,
    pub merchant_id: String,
    pub method: String,
    pub amount_minor: i64,
    pub currency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<i64>,
}

/// It has no Debug: whose account it is, no log tells.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundRequest {
    pub refund_number: String,
    pub amount_minor: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payee_account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payee_name: Option<String>,
}

/// It has no Debug: whose account it is, no log tells.
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PayoutRequest {
    pub order_date: Date,
    pub payout_number: String,
    pub merchant_id: String,
    pub amount_minor: i64,
    pub currency: String,
    pub payee_account: String,
    pub payee_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// Where a payment, a refund or a payout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PaymentStatus {
    Processing,
    Succeeded,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    pub order_id: String,
    pub order_date: Date,
    pub order_number: String,
    pub merchant_id: String,
    pub method: String,
    pub amount_minor: i64,
    pub currency: String,
    pub status: PaymentStatus,
    pub channel: Option<String>,
    pub fee_minor: Option<i64>,
    pub config_hash: Option<String>,
    pub config_epoch: Option<u64>,
    pub settlement_date: Option<Date>,
    pub ledger_transaction_id: Option<String>,
    pub failure_code: Option<String>,
    pub created_at: Timestamp,
    pub completed_at: Option<Timestamp>,
    #[serde(default)]
    pub refunded_minor: i64,
    pub expires_at: Option<Timestamp>,
    /// What the payer does to pay, while that is awaited.
    pub action: Option<Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Refund {
    pub refund_id: String,
    pub refund_number: String,
    pub amount_minor: i64,
    pub currency: String,
    pub status: PaymentStatus,
    pub ledger_transaction_id: Option<String>,
    pub failure_code: Option<String>,
    /// Where it is transferred: over which channel, and the end of the payee's account alone.
    pub channel: Option<String>,
    pub payee_account: Option<String>,
    pub created_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payout {
    pub payout_id: String,
    pub order_date: Date,
    pub payout_number: String,
    pub merchant_id: String,
    pub amount_minor: i64,
    pub currency: String,
    pub status: PaymentStatus,
    pub channel: String,
    /// Its end alone.
    pub payee_account: String,
    pub ledger_transaction_id: Option<String>,
    pub failure_code: Option<String>,
    pub created_at: Timestamp,
    pub completed_at: Option<Timestamp>,
}

/// A refusal (RFC 9457).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Problem {
    pub title: String,
    pub code: String,
    pub detail: String,
    pub field: Option<String>,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: ", self.code)?;
        if let Some(field) = &self.field {
            write!(f, "{field} ")?;
        }
        f.write_str(&self.detail)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrialBalanceLine {
    pub account: String,
    pub currency: String,
    pub debit_minor: i64,
    pub credit_minor: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialBalance {
    pub lines: Vec<TrialBalanceLine>,
    pub balanced: bool,
}

#[cfg(test)]
pub(crate) mod tests {
    pub(crate) const PAYMENT: &str = r#"{"orderId":"0193","orderDate":"2026-11-24","orderNumber":"o1",
        "merchantId":"M1","method":"card","amountMinor":12800,"currency":"CNY","status":"Succeeded",
        "channel":"sim","feeMinor":77,"configHash":"h","configEpoch":3,"settlementDate":"2026-11-25",
        "ledgerTransactionId":"t-1","createdAt":"2026-11-24T05:00:00Z",
        "completedAt":"2026-11-24T05:00:01Z","refundedMinor":0,"later":"ignored"}"#;

    #[test]
    fn a_payment_may_lack_what_is_not_known_yet() {
        let bare = r#"{"orderId":"0193","orderDate":"2026-11-24","orderNumber":"o1","merchantId":"M1",
            "method":"card","amountMinor":1,"currency":"CNY","status":"Processing",
            "createdAt":"2026-11-24T05:00:00Z"}"#;
        let read: super::Payment = serde_json::from_str(bare).unwrap();
        assert_eq!((read.fee_minor, read.refunded_minor), (None, 0));
        assert!(serde_json::from_str::<super::Payment>(PAYMENT).is_ok());
    }
}
