//! Bank direct's messages: what is asked, and the entry that answers and notifications tell.

use jiff::Timestamp;
use payplane_api::currency::Currency;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::codes;
use crate::channel::agreement::Standing;
use crate::channel::{Kind, Outcome, Sent, storable};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PayBody<'a> {
    pub number: &'a str,
    pub amount_minor: i64,
    pub currency: Currency,
    pub payer_account: &'a str,
    pub description: String,
    pub expires_at: Timestamp,
    pub notify_url: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefundBody<'a> {
    pub number: &'a str,
    pub original_number: &'a str,
    pub amount_minor: i64,
    pub currency: Currency,
    pub notify_url: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PayoutBody<'a> {
    pub number: &'a str,
    pub amount_minor: i64,
    pub currency: Currency,
    pub payee_account: &'a str,
    pub payee_name: &'a str,
    pub description: String,
    pub notify_url: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SignBody<'a> {
    pub number: &'a str,
    pub account: &'a str,
    pub holder_name: &'a str,
    pub description: String,
    pub notify_url: &'a str,
}

#[derive(Serialize)]
pub(super) struct ConfirmBody<'a> {
    pub number: &'a str,
    pub code: &'a str,
}

#[derive(Serialize)]
pub(super) struct NumberBody<'a> {
    pub number: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum EntryKind {
    Pay,
    Refund,
    Payout,
    Sign,
}

impl EntryKind {
    pub(super) fn of(kind: &Kind) -> Self {
        match kind {
            Kind::Payment { .. } => Self::Pay,
            Kind::Refund { .. } => Self::Refund,
            Kind::Payout => Self::Payout,
        }
    }
}

#[derive(Deserialize)]
enum State {
    Processing,
    Succeeded,
    Declined,
    Closed,
}

/// What the bank has under a number.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    pub number: String,
    pub kind: EntryKind,
    state: State,
    amount_minor: Option<i64>,
    pub currency: Option<Currency>,
    bank_id: Option<String>,
    booked_at: Option<Timestamp>,
    code: Option<String>,
    confirm: Option<String>,
    token: Option<String>,
    ended_at: Option<Timestamp>,
}

/// The payer was sent a one-time code, which `confirm` brings back.
const ONE_TIME_CODE: &str = "OneTimeCode";
const TOKEN_LENGTH_MAX: usize = 128;

impl Entry {
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }

    /// What it means, of whatever it is about.
    pub(super) fn outcome(&self) -> Outcome {
        let unknown = |why: String| Outcome::Unknown { why };
        let network_id = self.bank_id.as_deref().filter(|id| !id.is_empty());
        match self.state {
            State::Succeeded => match (network_id, self.booked_at, self.amount_minor, self.currency) {
                (Some(id), Some(at), Some(minor), Some(_)) => Outcome::succeeded(id, at, Some(minor)),
                _ => unknown("a success without bankId, bookedAt, amountMinor or currency".to_owned()),
            },
            State::Declined => match self.code.as_deref() {
                Some(code) if codes::is_decline(code) => {
                    Outcome::Declined { code: code.to_owned(), network_id: network_id.map(storable) }
                }
                code => unknown(format!("declined with code {:?}", code.map(storable))),
            },
            State::Processing => Outcome::Processing {
                network_id: network_id.map(storable),
                action: self.awaits_code().then(|| json!({"type": ONE_TIME_CODE})),
            },
            // Nothing else is closed.
            State::Closed if self.kind == EntryKind::Pay => Outcome::Closed,
            State::Closed => unknown(format!("a {:?} that is Closed", self.kind)),
        }
    }

    /// Is it an agreement that was ended?
    pub(super) fn is_over(&self) -> bool {
        self.ended_at.is_some()
    }

    fn awaits_code(&self) -> bool {
        self.confirm.as_deref() == Some(ONE_TIME_CODE)
    }

    /// How the agreement with this number stands.
    pub(super) fn standing_of(self, number: &str) -> Standing {
        let unknown = |why: &str| Standing::Unknown { why: why.to_owned() };
        if self.number != number || self.kind != EntryKind::Sign {
            return unknown("an answer about something else");
        }
        let is_token = |token: &String| {
            (1..=TOKEN_LENGTH_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic())
        };
        let network_id = self.bank_id.as_deref().filter(|id| !id.is_empty()).map(storable);
        match self.state {
            State::Processing if self.awaits_code() => Standing::AwaitsCode { network_id },
            State::Processing => unknown("an agreement under way that awaits no code"),
            State::Succeeded if self.is_over() => Standing::Ended,
            State::Succeeded => match (network_id, self.token.filter(is_token)) {
                (Some(network_id), Some(token)) => Standing::Active { network_id, token },
                _ => unknown("an agreement without bankId or token"),
            },
            State::Declined => match self.code {
                Some(code) if codes::is_decline(&code) => Standing::Declined { code },
                code => Standing::Unknown {
                    why: format!("declined with code {:?}", code.as_deref().map(storable)),
                },
            },
            State::Closed => Standing::Ended,
        }
    }

    /// What it means of what was asked for: another number, kind or currency is no outcome.
    pub(super) fn outcome_of(&self, sent: &Sent) -> Outcome {
        if self.number != sent.number || self.kind != EntryKind::of(&sent.kind) {
            return Outcome::Unknown { why: "an answer about something else".to_owned() };
        }
        let asked = sent.amount.currency();
        match (self.currency, self.outcome()) {
            (Some(said), Outcome::Succeeded { network_id, .. }) if said != asked => {
                tracing::error!(network_id, %asked, %said, "the network says another currency");
                Outcome::Unknown { why: format!("the network says {said}, not {asked}") }
            }
            (_, outcome) => outcome,
        }
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
