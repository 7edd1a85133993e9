//! Money that a network took and no order stands for: paid after the order's end, twice,
//! or over another amount. It is booked as suspense, given back to the payer, and only
//! then leaves suspense. What the network does not give back waits for a person.

use std::time::Duration;

use payplane_api::ledger::v1::PostRequest;
use payplane_api::money::Money;
use payplane_common::trace::Trace;
use uuid::Uuid;

use crate::books::{BooksError, surplus as postings};
use crate::channel::{Found, Kind, Outcome, Repay, Sent};
use crate::decide;
use crate::gateway::Gateway;
use crate::message::Subject;
use crate::patience::Patience;
use crate::settle::{self, SettleError};
use crate::state::{AttemptState, SurplusState};
use crate::store::Store;
use crate::store::attempts::Ending;
use crate::store::contradictions::Said;
use crate::store::due::Table;
use crate::store::surpluses::{Step, Surplus};

/// More than the states that a surplus can pass through.
const STEPS_MAX: u32 = 8;
/// Looks without an end, some ten minutes of them, after which a person has to look.
const LOOKS_MAX: i32 = 24;
/// Requests that had no effect.
const TRIES_MAX: i32 = 8;

/// What a query's success over another amount makes of an attempt.
#[must_use]
pub fn other_amount(outcome: &Outcome, asked: Money) -> Option<Ending> {
    let Outcome::Succeeded { network_id, network_time, amount_minor: Some(paid), details } = outcome else {
        return None;
    };
    let is_other = *paid != asked.minor() && Money::new(*paid, asked.currency()).is_ok() && *paid > 0;
    is_other.then(|| Ending {
        network_id: Some(network_id.clone()),
        network_time: Some(*network_time),
        paid_minor: Some(*paid),
        details: *details,
        ..Ending::bare(AttemptState::OtherAmount)
    })
}

/// Brings a surplus as far as books and network allow.
pub async fn advance(gateway: &Gateway, mut surplus: Surplus, trace: Trace) -> Result<(), SettleError> {
    let id = surplus.attempt_id;
    for _ in 0..STEPS_MAX {
        let next = match surplus.status {
            SurplusState::Told => confirm(gateway, &surplus, trace).await?,
            SurplusState::Confirmed => {
                let booked = post(gateway, &surplus, postings::taken, trace).await?;
                gateway.store.step_surplus(id, Step::Book(booked)).await?
            }
            SurplusState::Booked => give_back(gateway, &surplus, trace).await?,
            SurplusState::Sending => ask(gateway, &surplus, trace).await?,
            SurplusState::Repaid => {
                let posted = post(gateway, &surplus, postings::given_back, trace).await?;
                return Ok(gateway.store.refund_surplus(id, posted).await?);
            }
            SurplusState::Forfeiting => {
                let posted = post(gateway, &surplus, postings::kept, trace).await?;
                return Ok(gateway.store.forfeit_surplus(id, posted).await?);
            }
            SurplusState::Refunded | SurplusState::Held | SurplusState::Forfeited => return Ok(()),
        };
        // What was sent and not settled has its next turn at the next look.
        let asked = matches!(surplus.status, SurplusState::Booked | SurplusState::Sending);
        let Some(next) = next.filter(|next| !asked || next.status == SurplusState::Repaid) else { break };
        surplus = next;
    }
    Ok(gateway.store.postpone(Table::Surpluses, id).await?)
}

/// Asks the network whether the attempt was paid, and how much.
async fn confirm(gateway: &Gateway, surplus: &Surplus, trace: Trace) -> Result<Option<Surplus>, SettleError> {
    let settings = gateway.settings();
    let Some(channel) = settings.value.channel(&surplus.channel) else {
        return hold(gateway, surplus, "NoChannel").await;
    };
    let payment = payment(gateway, surplus).await?;
    let asking = channel.client.query(&payment, trace);
    let is_news = |found: &Found| matches!(found, Found::Outcome(Outcome::Succeeded { .. }));
    let paid = match gateway.asking(about(surplus), asking, is_news).await {
        Found::Outcome(Outcome::Succeeded { amount_minor, .. }) => {
            Some(amount_minor.unwrap_or(surplus.amount_minor))
        }
        _ => None,
    };
    match paid.filter(|minor| *minor > 0) {
        Some(minor) => Ok(gateway.store.step_surplus(surplus.attempt_id, Step::Confirm(minor)).await?),
        None if surplus.checks >= LOOKS_MAX => hold(gateway, surplus, "Unconfirmed").await,
        None => Ok(None),
    }
}

/// Asks the network to give it back. Only who made the change of state sends it.
async fn give_back(
    gateway: &Gateway,
    surplus: &Surplus,
    trace: Trace,
) -> Result<Option<Surplus>, SettleError> {
    if surplus.tries >= TRIES_MAX {
        return hold(gateway, surplus, "NotReceived").await;
    }
    let settings = gateway.settings();
    let Some(channel) = settings.value.channel(&surplus.channel) else {
        return hold(gateway, surplus, "NoChannel").await;
    };
    let number = Store::number(surplus.refund_id);
    let repay =
        Repay { number: &number, amount: amount(surplus)?, original: payment(gateway, surplus).await? };
    let Ok(prepared) = channel.client.prepare_refund(&repay) else {
        return hold(gateway, surplus, "NoRefunds").await;
    };
    let send = Step::Send(prepared.signed_at);
    let Some(sent) = gateway.store.step_surplus(surplus.attempt_id, send).await? else { return Ok(None) };
    let sending = channel.client.send(prepared, trace);
    let outcome = gateway.keeping(about(surplus), sending).await.of(repay.amount);
    take(gateway, &sent, outcome).await
}

/// Asks the network what became of the request to give it back.
async fn ask(gateway: &Gateway, surplus: &Surplus, trace: Trace) -> Result<Option<Surplus>, SettleError> {
    if surplus.checks == LOOKS_MAX {
        let attempt_id = surplus.attempt_id;
        tracing::error!(%attempt_id, "the network does not say whether it gave a surplus back");
    }
    let settings = gateway.settings();
    let channel = settle::channel(&settings.value, &surplus.channel)?;
    let Some(signed_at) = surplus.signed_at else { return Ok(None) };
    let sent = Sent {
        number: Store::number(surplus.refund_id),
        amount: amount(surplus)?,
        signed_at,
        network_id: surplus.refund_network_id.clone().filter(|id| !id.is_empty()),
        kind: Kind::Refund { original_number: Store::number(surplus.attempt_id) },
    };
    let asking = channel.client.query(&sent, trace);
    let client = channel.client.as_ref();
    let is_news =
        |found: &Found| found.is_news(surplus.refund_network_id.as_deref()) || found.is_never(client, &sent);
    let found = gateway.asking(about(surplus), asking, is_news).await;
    match found {
        _ if found.is_never(client, &sent) => {
            // A network that said "processing" knew it: then this is a contradiction.
            if surplus.refund_network_id.is_some() {
                return hold(gateway, surplus, "Forgotten").await;
            }
            Ok(gateway.store.step_surplus(surplus.attempt_id, Step::SendAgain(signed_at)).await?)
        }
        // That the query was not sent says nothing about the refund.
        Found::NotFound { .. } | Found::Outcome(Outcome::NotSent { .. }) => Ok(None),
        Found::Outcome(outcome) => take(gateway, surplus, outcome.of(sent.amount)).await,
    }
}

/// Stores what the network says of the request. None where nothing is settled.
pub async fn take(
    gateway: &Gateway,
    surplus: &Surplus,
    outcome: Outcome,
) -> Result<Option<Surplus>, SettleError> {
    let step = match &outcome {
        Outcome::Succeeded { network_id, .. } => Step::Repay(network_id),
        Outcome::Declined { code, .. } => {
            let attempt_id = surplus.attempt_id;
            tracing::info!(%attempt_id, code, "the network does not give a surplus back");
            return hold(gateway, surplus, "Declined").await;
        }
        Outcome::NotSent { .. } => match surplus.signed_at {
            Some(signed_at) => Step::SendAgain(signed_at),
            None => return Ok(None),
        },
        Outcome::Processing { network_id, .. } => Step::Note(network_id.as_deref().unwrap_or_default()),
        Outcome::Closed | Outcome::Unknown { .. } => return Ok(None),
    };
    let next = gateway.store.step_surplus(surplus.attempt_id, step).await?;
    if next.is_none()
        && let Outcome::Succeeded { network_id, network_time, .. } = &outcome
    {
        // It is kept where persons decided otherwise meanwhile.
        let said = Said { what: "Succeeded", network_id: Some(network_id), at: Some(*network_time) };
        gateway.store.contradict((decide::Kind::Surplus, surplus.attempt_id), said).await?;
    }
    Ok(next)
}

async fn hold(
    gateway: &Gateway,
    surplus: &Surplus,
    why: &'static str,
) -> Result<Option<Surplus>, SettleError> {
    let held = gateway.store.step_surplus(surplus.attempt_id, Step::Hold(surplus.status, why)).await?;
    if held.is_some() {
        let attempt_id = surplus.attempt_id;
        tracing::error!(%attempt_id, why, "a surplus is held; a person has to decide");
    }
    Ok(held)
}

/// What its messages are about.
pub(crate) fn about(surplus: &Surplus) -> (Subject, &str) {
    (Subject::Surplus(surplus.attempt_id), &surplus.channel)
}

/// The next look is soon enough where somebody is away.
fn at_once() -> Patience {
    Patience::of(Duration::ZERO)
}

/// The payment as its network knows it.
async fn payment(gateway: &Gateway, surplus: &Surplus) -> Result<Sent, SettleError> {
    let id = surplus.attempt_id;
    let missing = || SettleError::Channel { why: format!("attempt {id} is missing") };
    let attempt = gateway.store.attempt(id).await?.ok_or_else(missing)?;
    let order = gateway.store.order(surplus.order_id).await?;
    let sent = settle::sent(&order, &attempt)?;
    let network_id = Some(surplus.network_id.clone()).filter(|id| !id.is_empty()).or(sent.network_id);
    Ok(Sent { amount: amount(surplus)?, network_id, ..sent })
}

pub(crate) fn amount(surplus: &Surplus) -> Result<Money, SettleError> {
    settle::money(surplus.order_id, surplus.amount_minor, &surplus.currency)
}

/// Posts for a surplus.
async fn post(
    gateway: &Gateway,
    surplus: &Surplus,
    build: fn(&Surplus, u64) -> Result<PostRequest, BooksError>,
    trace: Trace,
) -> Result<Uuid, SettleError> {
    let accounts = postings::accounts(surplus);
    settle::post(gateway, accounts, |epoch| build(surplus, epoch), (trace, at_once())).await
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use payplane_api::currency::Currency;

    use super::*;

    #[test]
    fn only_a_success_over_another_amount_is_one() {
        let asked = Money::new(100, Currency::parse("CNY").unwrap()).unwrap();
        let told = |amount_minor| Outcome::Succeeded {
            network_id: "N-1".into(),
            network_time: Timestamp::UNIX_EPOCH,
            amount_minor,
            details: Default::default(),
        };
        for same in [None, Some(100), Some(0), Some(-1), Some(i64::MAX)] {
            assert_eq!(other_amount(&told(same), asked), None, "{same:?}");
        }
        let ending = other_amount(&told(Some(99)), asked).unwrap();
        assert_eq!((ending.status, ending.paid_minor), (AttemptState::OtherAmount, Some(99)));
        assert_eq!(other_amount(&Outcome::Closed, asked), None);
    }
}
