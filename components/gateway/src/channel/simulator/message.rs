//! The simulated network's messages.

use jiff::Timestamp;
use payplane_api::currency::Currency;
use serde::{Deserialize, Serialize};

use crate::channel::{Outcome, storable};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PayBody<'a> {
    pub number: &'a str,
    pub amount_minor: i64,
    pub currency: Currency,
    pub method: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefundBody<'a> {
    pub number: &'a str,
    pub original_number: &'a str,
    pub amount_minor: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PayoutBody<'a> {
    pub number: &'a str,
    pub amount_minor: i64,
    pub currency: Currency,
    pub payee_account: &'a str,
    pub payee_name: &'a str,
}

#[derive(Serialize)]
pub(super) struct QueryBody<'a> {
    pub number: &'a str,
}

/// The code of what was closed.
const CLOSED: &str = "Closed";

#[derive(Deserialize)]
enum State {
    Succeeded,
    Declined,
    Processing,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer {
    number: String,
    #[serde(default)]
    network_id: Option<String>,
    state: State,
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    network_time: Option<Timestamp>,
}

impl Answer {
    /// Reads a verified answer. One that is about another number, or lacks what
    /// a success needs, is no outcome.
    pub(super) fn outcome(body: &[u8], number: &str) -> Outcome {
        let unknown = |why: &str| Outcome::Unknown { why: why.to_owned() };
        let Ok(answer) = serde_json::from_slice::<Self>(body) else {
            return unknown("an answer that cannot be read");
        };
        if answer.number != number {
            return unknown("an answer about another number");
        }
        match (answer.state, answer.network_id, answer.network_time) {
            (State::Succeeded, Some(network_id), Some(network_time)) => {
                Outcome::succeeded(&network_id, network_time, None)
            }
            (State::Succeeded, _, _) => unknown("a success without network id and time"),
            (State::Declined, _, _) if answer.code.as_deref() == Some(CLOSED) => Outcome::Closed,
            (State::Declined, network_id, _) => Outcome::Declined {
                code: answer.code.map_or_else(|| "Declined".to_owned(), |code| storable(&code)),
                network_id: network_id.as_deref().map(storable),
            },
            (State::Processing, network_id, _) => {
                Outcome::Processing { network_id: network_id.as_deref().map(storable), action: None }
            }
        }
    }
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
}

/// The code of a refusal that the network makes before it looks at what is asked:
/// by its manual such a request has had no effect and never will.
pub(super) fn refused_unread(status: u16, body: &[u8]) -> Option<String> {
    // Not StaleRequest: a copy of it may have come in time.
    const UNREAD: [&str; 4] = ["BadHeaders", "BadSignature", "InvalidBody", "InvalidField"];
    let refusal = serde_json::from_slice::<Refusal>(body).ok()?;
    let unread = matches!(status, 400 | 401) && UNREAD.contains(&refusal.code.as_str());
    unread.then_some(refusal.code)
}

pub(super) fn is_not_found(body: &[u8]) -> bool {
    serde_json::from_slice::<Refusal>(body).is_ok_and(|refusal| refusal.code == "NotFound")
}
