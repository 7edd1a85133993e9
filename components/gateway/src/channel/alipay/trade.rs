//! What answers about a payment mean.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::json;

use super::message::{CURRENCY, Head, something_else, unknown, when};
use super::{codes, yuan};
use crate::channel::{Outcome, storable};

const QR_CODE_BYTES_MAX: usize = 1024;

#[derive(Deserialize)]
struct Precreated {
    qr_code: String,
}

#[derive(Deserialize)]
struct Trade {
    trade_no: String,
    trade_status: String,
    #[serde(default)]
    additional_status: Option<String>,
    #[serde(default)]
    total_amount: Option<String>,
    #[serde(default)]
    trans_currency: Option<String>,
    #[serde(default)]
    send_pay_date: Option<String>,
}

/// The answer to a new order.
pub(super) fn precreated(head: &Head, text: &[u8], number: &str) -> Outcome {
    match (head.is_success(), head.names(number)) {
        (_, Some(false)) | (true, None) => return something_else(),
        (false, _) => return codes::precreate_refused(head),
        (true, Some(true)) => {}
    }
    let is_shown = |code: &str| {
        (1..=QR_CODE_BYTES_MAX).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match serde_json::from_slice::<Precreated>(text) {
        Ok(made) if is_shown(&made.qr_code) => {
            let action = json!({"type": "QrCode", "qrCode": made.qr_code});
            Outcome::Processing { network_id: None, action: Some(action) }
        }
        _ => unknown("a new order without a QR code"),
    }
}

/// The answer to a query that found a trade; it was sent `at` this time.
pub(super) fn queried(head: &Head, text: &[u8], (number, at): (&str, Timestamp)) -> Outcome {
    if head.names(number) != Some(true) {
        return something_else();
    }
    let Ok(trade) = serde_json::from_slice::<Trade>(text) else {
        return unknown("an answer that cannot be read");
    };
    let paid_at = trade.send_pay_date.as_deref().filter(|date| !date.is_empty());
    match (trade.trade_status.as_str(), paid_at) {
        ("WAIT_BUYER_PAY", None) if !trade.trade_no.is_empty() => {
            Outcome::Processing { network_id: Some(storable(&trade.trade_no)), action: None }
        }
        ("TRADE_SUCCESS" | "TRADE_FINISHED", _) => trade.succeeded(when(paid_at, at)),
        // Nobody paid in time, or it was closed before anybody did.
        ("TRADE_CLOSED", None) => Outcome::Closed,
        // It was paid and fully refunded, and not by a refund of ours: that is asked for only
        // after a success. Whether the books owe anybody anything, a person must look up.
        // Only the time of payment tells: the amounts are 0.00 in answers about paid trades too.
        ("TRADE_CLOSED", Some(_)) => {
            tracing::error!(number, "a payment was taken and fully refunded at the network");
            unknown("paid and fully refunded")
        }
        (other, _) => unknown(format!("trade_status {other:?}")),
    }
}

impl Trade {
    /// A success says which and how much, in yuan; and that the merchant has it.
    fn succeeded(&self, at: Timestamp) -> Outcome {
        let filled = |field: &Option<String>| field.as_deref().is_some_and(|text| !text.is_empty());
        let minor = self.total_amount.as_deref().and_then(yuan::minor);
        let foreign = filled(&self.trans_currency) && self.trans_currency.as_deref() != Some(CURRENCY);
        match minor {
            // SELLER_NOT_RECEIVED: the payer has paid, the merchant has not received it.
            _ if filled(&self.additional_status) => unknown("paid, and not received"),
            Some(minor) if !foreign && !self.trade_no.is_empty() => {
                Outcome::succeeded(&self.trade_no, at, Some(minor))
            }
            _ => unknown("a success without id or amount in CNY"),
        }
    }
}

/// The answer to a closing. One of a trade that was paid meanwhile, or is not there, is
/// refused (ACQ.TRADE_STATUS_ERROR, ACQ.REASON_TRADE_STATUS_INVALID, ACQ.TRADE_NOT_EXIST):
/// a query tells.
pub(super) fn closed(head: &Head, number: &str) -> Outcome {
    if !head.is_success() {
        return head.unknown();
    }
    if head.names(number) != Some(true) {
        return something_else();
    }
    Outcome::Closed
}
