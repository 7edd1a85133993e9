//! What answers about a refund mean. Alipay has no id of a refund: the trade's and our
//! request number are what both sides find it by.

use jiff::Timestamp;
use serde::Deserialize;

use super::message::{Head, something_else, unknown, when};
use super::{codes, yuan};
use crate::channel::{Found, Outcome, Sent};

#[derive(Deserialize)]
struct Refunded {
    trade_no: String,
    #[serde(default)]
    fund_change: Option<String>,
    /// All that was refunded of the trade so far.
    #[serde(default)]
    refund_fee: Option<String>,
    #[serde(default)]
    gmt_refund_pay: Option<String>,
}

#[derive(Deserialize)]
struct Known {
    #[serde(default)]
    trade_no: Option<String>,
    #[serde(default)]
    out_request_no: Option<String>,
    #[serde(default)]
    refund_status: Option<String>,
    #[serde(default)]
    refund_amount: Option<String>,
    #[serde(default)]
    gmt_refund_pay: Option<String>,
}

fn network_id(trade_no: &str, number: &str) -> String {
    format!("{trade_no}-{number}")
}

/// The answer to a refund of an amount in minor units. Code 10000 alone is no success:
/// `fund_change` Y is one, N or none must be asked for (opendocs.alipay.com/support/01rawa).
pub(super) fn refunded(
    head: &Head,
    text: &[u8],
    (number, original): (&str, &str),
    (minor, at): (i64, Timestamp),
) -> Outcome {
    match (head.is_success(), head.names(original)) {
        (_, Some(false)) | (true, None) => return something_else(),
        (false, _) => return codes::refund_refused(head),
        (true, Some(true)) => {}
    }
    let Ok(refunded) = serde_json::from_slice::<Refunded>(text) else {
        return unknown("an answer that cannot be read");
    };
    // The answer has the sum of all refunds, which is this one at least. What this one was
    // over, the request said that was just carried out.
    let sum = refunded.refund_fee.as_deref().and_then(yuan::minor);
    let is_carried_out = refunded.fund_change.as_deref() == Some("Y") && sum.is_some_and(|sum| sum >= minor);
    if !is_carried_out || refunded.trade_no.is_empty() {
        return unknown("a refund that may have changed nothing");
    }
    let at = when(refunded.gmt_refund_pay.as_deref(), at);
    Outcome::succeeded(&network_id(&refunded.trade_no, number), at, Some(minor))
}

/// The answer to a query for a refund; it was sent `at` this time.
pub(super) fn queried(head: &Head, text: &[u8], (sent, original): (&Sent, &str), at: Timestamp) -> Found {
    // Also ACQ.TRADE_NOT_EXIST is none: a payment that was taken is known there.
    if !head.is_success() {
        return Found::Outcome(head.unknown());
    }
    let Ok(known) = serde_json::from_slice::<Known>(text) else {
        return Found::Outcome(unknown("an answer that cannot be read"));
    };
    let said = |field: &'_ Option<String>| field.clone().filter(|text| !text.is_empty());
    let is_ours = said(&known.out_request_no).is_none_or(|number| number == sent.number);
    if head.names(original) == Some(false) || !is_ours {
        return Found::Outcome(something_else());
    }
    let minor = said(&known.refund_amount).map(|text| yuan::minor(&text));
    match (said(&known.refund_status).as_deref(), minor, said(&known.trade_no)) {
        (Some("REFUND_SUCCESS"), Some(Some(minor)), Some(trade_no))
            if known.out_request_no.is_some() && head.names(original) == Some(true) =>
        {
            let id = network_id(&trade_no, &sent.number);
            let at = when(known.gmt_refund_pay.as_deref(), at);
            Found::Outcome(Outcome::succeeded(&id, at, Some(minor)))
        }
        // No state: the request was not received, or it failed (SDK, refund_status).
        (None, None, _) => Found::NotFound { at },
        (status, ..) => Found::Outcome(unknown(format!("refund_status {status:?}"))),
    }
}
