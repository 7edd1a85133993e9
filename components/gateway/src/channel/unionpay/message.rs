//! What UnionPay says to a merchant, and what it means.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::codes::{self, Refused, State};
use super::fields::Fields;
use super::request::{CURRENCY_CODE, Merchant, Service};
use super::time;
use crate::channel::{Details, Kind, Outcome, Sent, record, storable};

pub(super) const PAYMENT: &str = "01";
pub(super) const REFUND: &str = "04";
pub(super) const QUERY: &str = "00";
pub(super) const OK: &str = "00";
/// What a payment's agreement is ended by.
const AGREEMENT_ENDED: &str = "AgreementEnded";
const AMOUNT_DIGITS_MAX: usize = 12;

/// What a query says.
#[derive(Debug, PartialEq)]
pub(super) enum Looked {
    Said(State, Outcome),
    NotFound,
    Nothing(String),
}

impl Merchant {
    /// Reads an answer. It is believed where UnionPay signed it, and is about what was asked.
    pub(super) fn read<'a>(&self, body: &'a [u8], about: (&str, Timestamp)) -> Result<Fields<'a>, String> {
        let text = std::str::from_utf8(body).map_err(|_| "an answer that is not text".to_owned())?;
        let now = Timestamp::now();
        // Answers are sent as they are; one that is form-encoded after all verifies as that.
        let believed = |fields: Option<Fields<'a>>| fields.filter(|read| self.signer.verifies(read, now));
        let fields = believed(Fields::answer(text)).or_else(|| believed(Fields::form(text)));
        let fields = fields.ok_or_else(|| "an answer whose signature does not verify".to_owned())?;
        record::verified();
        let ours = fields.is("merId", &self.mer_id)
            && fields.is("orderId", about.0)
            && fields.is("txnTime", &time::in_china(about.1));
        if ours { Ok(fields) } else { Err("an answer about something else".to_owned()) }
    }

    /// What the answer to a new order says.
    pub(super) fn ordered(&self, service: &Service, body: &[u8], about: (&str, Timestamp)) -> Outcome {
        let fields = match self.read(body, about) {
            Ok(fields) if fields.is("txnType", PAYMENT) => fields,
            Ok(_) => return unknown("an answer of another kind"),
            Err(why) => return Outcome::Unknown { why },
        };
        match (fields.get("respCode"), service.action) {
            (Some(OK), Some((name, action))) => match fields.get(name) {
                Some(result) => {
                    let action: Value = json!({"type": action, name: result});
                    Outcome::Processing { network_id: None, action: Some(action) }
                }
                None => unknown("an order without what the payer needs"),
            },
            // Only accepted.
            (Some(OK), None) => Outcome::Processing { network_id: query_id(&fields), action: None },
            (Some(code), None) if codes::TOKEN_ENDED.contains(&code) => {
                Outcome::Declined { code: AGREEMENT_ENDED.to_owned(), network_id: None }
            }
            (code, None) => refused(code, codes::of_direct_request),
            (code, Some(_)) => refused(code, codes::of_payment_request),
        }
    }

    /// What the answer to a refund says.
    pub(super) fn repaid(&self, body: &[u8], about: (&str, Timestamp)) -> Outcome {
        let fields = match self.read(body, about) {
            Ok(fields) if fields.is("txnType", REFUND) => fields,
            Ok(_) => return unknown("an answer of another kind"),
            Err(why) => return Outcome::Unknown { why },
        };
        match fields.get("respCode") {
            // Only accepted.
            Some(OK) => Outcome::Processing { network_id: query_id(&fields), action: None },
            code => refused(code, codes::of_refund_request),
        }
    }

    /// What the answer to a query says.
    pub(super) fn looked(&self, sent: &Sent, body: &[u8]) -> Looked {
        let fields = match self.read(body, (&sent.number, sent.signed_at)) {
            Ok(fields) => fields,
            Err(why) => return Looked::Nothing(why),
        };
        let (of_kind, is_refund) = match sent.kind {
            Kind::Payment { .. } => (fields.is("txnType", PAYMENT), false),
            Kind::Refund { .. } => (fields.is("txnType", REFUND), true),
            Kind::Payout => (false, false),
        };
        match (fields.get("respCode"), fields.get("origRespCode")) {
            // It names the kind that it found, and the query's own where it found nothing.
            (Some("34"), None) if of_kind || fields.is("txnType", QUERY) => Looked::NotFound,
            (Some(OK), Some(code)) if of_kind => {
                let state = codes::of_original(code, is_refund);
                Looked::Said(state, outcome(&fields, state, code))
            }
            (code, original) => Looked::Nothing(format!("answer {code:?}, of the original {original:?}")),
        }
    }
}

/// The outcome that a query or a notification tells of.
pub(super) fn outcome(fields: &Fields<'_>, state: State, code: &str) -> Outcome {
    match state {
        State::Succeeded => succeeded(fields),
        State::Waiting | State::UnderWay => {
            Outcome::Processing { network_id: query_id(fields), action: None }
        }
        State::Failed => Outcome::Declined { code: storable(code), network_id: query_id(fields) },
        State::Unknown => Outcome::Unknown { why: format!("code {code}") },
    }
}

/// A success says which and how much, in fen. `txnAmt` is what was asked for; what UnionPay
/// settles (`settleAmt`) may be less by a discount that it pays.
fn succeeded(fields: &Fields<'_>) -> Outcome {
    let is_cny = fields.get("currencyCode").is_none_or(|code| code == CURRENCY_CODE);
    let minor = fields.get("txnAmt").and_then(fen).filter(|_| is_cny);
    // When the network passed it on. `txnTime`, the request's own time, where that is missing:
    // the same in whatever tells of it.
    let requested_at = fields.get("txnTime").and_then(time::parse);
    let at = requested_at.map(|from| {
        let trace = fields.get("traceTime").and_then(|text| time::of_trace(text, from));
        trace.unwrap_or(from)
    });
    match (fields.get("queryId"), at, minor) {
        (Some(id), Some(at), Some(minor)) => {
            let date = fields.get("settleDate").zip(requested_at);
            Outcome::succeeded(id, at, Some(minor)).detailed(Details {
                payer_minor: None,
                settled_minor: fields.get("settleAmt").and_then(fen),
                settlement_date: date.and_then(|(text, from)| time::of_settlement(text, from)),
            })
        }
        _ => unknown("a success without queryId, time or amount in CNY"),
    }
}

fn query_id(fields: &Fields<'_>) -> Option<String> {
    fields.get("queryId").map(storable)
}

fn refused(code: Option<&str>, meaning: fn(&str) -> Refused) -> Outcome {
    let Some(code) = code else { return unknown("an answer without a code") };
    match meaning(code) {
        Refused::NotTaken => Outcome::NotSent { why: format!("refused: {}", storable(code)) },
        Refused::Declined => Outcome::Declined { code: storable(code), network_id: None },
        Refused::Unknown => Outcome::Unknown { why: format!("answer {}", storable(code)) },
    }
}

fn unknown(why: &str) -> Outcome {
    Outcome::Unknown { why: why.to_owned() }
}

/// An amount in fen: 1 to 12 digits.
fn fen(text: &str) -> Option<i64> {
    let is_amount =
        (1..=AMOUNT_DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_amount.then(|| text.parse().ok())?
}
