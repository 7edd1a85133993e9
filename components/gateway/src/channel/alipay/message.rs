//! What Alipay is asked, and what every answer of it says first.

use jiff::Timestamp;
use payplane_api::money::Money;
use serde::{Deserialize, Serialize};

use super::{china, yuan};
use crate::channel::{Outcome, Pay, Repay, storable};

pub(super) const PRECREATE: &str = "alipay.trade.precreate";
pub(super) const QUERY: &str = "alipay.trade.query";
pub(super) const CLOSE: &str = "alipay.trade.close";
pub(super) const REFUND: &str = "alipay.trade.refund";
pub(super) const REFUND_QUERY: &str = "alipay.trade.fastpay.refund.query";

pub(super) const CURRENCY: &str = "CNY";
pub(super) const SUCCESS: &str = "10000";
const SUBJECT_BYTES_MAX: usize = 256;

#[derive(Serialize)]
pub(super) struct PrecreateBody<'a> {
    out_trade_no: &'a str,
    total_amount: String,
    subject: String,
    product_code: &'static str,
    time_expire: String,
}

#[derive(Serialize)]
pub(super) struct TradeBody<'a> {
    pub out_trade_no: &'a str,
}

#[derive(Serialize)]
pub(super) struct RefundBody<'a> {
    out_trade_no: &'a str,
    refund_amount: String,
    out_request_no: &'a str,
}

#[derive(Serialize)]
pub(super) struct RefundQueryBody<'a> {
    pub out_trade_no: &'a str,
    pub out_request_no: &'a str,
    pub query_options: &'a [&'static str],
}

impl<'a> PrecreateBody<'a> {
    pub(super) fn new(pay: &Pay<'a>) -> Self {
        Self {
            out_trade_no: pay.number,
            total_amount: yuan::text(pay.amount.minor()),
            subject: subject(pay.description, pay.number),
            product_code: "FACE_TO_FACE_PAYMENT",
            time_expire: china::text(pay.expires_at),
        }
    }
}

impl<'a> RefundBody<'a> {
    pub(super) fn new(repay: &'a Repay<'a>) -> Self {
        Self {
            out_trade_no: &repay.original.number,
            refund_amount: yuan::text(repay.amount.minor()),
            out_request_no: repay.number,
        }
    }
}

/// The network forbids `/`, `=` and `&`. It says the subject again in notifications, whose
/// signed text two of these would make ambiguous.
fn subject(description: &str, number: &str) -> String {
    let mut text = String::new();
    for char in description.chars() {
        let char = if char.is_control() || matches!(char, '/' | '=' | '&') { ' ' } else { char };
        if text.len().saturating_add(char.len_utf8()) > SUBJECT_BYTES_MAX {
            break;
        }
        text.push(char);
    }
    if text.trim().is_empty() { number.to_owned() } else { text }
}

/// An amount that Alipay takes.
pub(super) fn is_payable(amount: Money) -> bool {
    amount.currency().as_str() == CURRENCY && yuan::RANGE.contains(&amount.minor())
}

/// What stands in every answer. `out_trade_no` is missing in some that refuse.
#[derive(Deserialize)]
pub(super) struct Head {
    pub code: String,
    #[serde(default)]
    pub sub_code: Option<String>,
    #[serde(default)]
    out_trade_no: Option<String>,
}

impl Head {
    pub(super) fn is_success(&self) -> bool {
        self.code == SUCCESS
    }

    /// Does it name this number? One that names another is about something else.
    pub(super) fn names(&self, number: &str) -> Option<bool> {
        self.out_trade_no.as_deref().filter(|name| !name.is_empty()).map(|name| name == number)
    }

    pub(super) fn sub_code(&self) -> &str {
        self.sub_code.as_deref().unwrap_or_default()
    }

    /// For people.
    pub(super) fn unknown(&self) -> Outcome {
        let (code, sub_code) = (storable(&self.code), self.sub_code.as_deref().map(storable));
        unknown(format!("answer {code} {}", sub_code.unwrap_or_default()))
    }
}

pub(super) fn unknown(why: impl Into<String>) -> Outcome {
    Outcome::Unknown { why: why.into() }
}

pub(super) fn something_else() -> Outcome {
    unknown("an answer about something else")
}

/// When it happened, as the network says; else when we learned of it. A success is never
/// refused for its time, which the documents call optional: the money has moved.
pub(super) fn when(said: Option<&str>, at: Timestamp) -> Timestamp {
    said.and_then(china::time).unwrap_or(at)
}
