//! What networks send by themselves: verified, compared with what was asked, applied once.
//! One that is lost is found by a query.

use std::sync::Arc;

use payplane_api::money::Money;
use payplane_common::trace::Trace;
use snafu::Snafu;
use tracing::Instrument;
use uuid::Uuid;

use crate::channel::Outcome;
use crate::channel::notification::Notification;
use crate::gateway::{Gateway, Place};
use crate::patience::{Patience, REQUEST_MAX as REST_MAX};
use crate::pay::ending;
use crate::refund::{self, Turn};
use crate::settle::{self, SettleError};
use crate::state::{AttemptState, OrderState};
use crate::store::{Store, StoreError};

/// Why a notification is not taken. The network sends it again, for hours: that is how a
/// success that contradicts what had ended is not forgotten.
#[derive(Debug, Snafu)]
pub enum NotTaken {
    #[snafu(display("the database or the ledger did not answer in time"))]
    Late,
    #[snafu(display("the network took money for what had ended without an effect"))]
    Contradiction,
    #[snafu(display("nothing has the number {number:?}"))]
    Unknown { number: String },
    #[snafu(transparent)]
    Store { source: StoreError },
    #[snafu(transparent)]
    Settle { source: SettleError },
}

/// Takes a verified notification of a channel. What it changes is committed before the
/// network is told; what follows from it goes on.
pub async fn take(
    gateway: &Arc<Gateway>,
    channel: &str,
    notification: Notification,
    (trace, patience, place): (Trace, Patience, Place),
) -> Result<(), NotTaken> {
    let unknown = || NotTaken::Unknown { number: notification.number.clone() };
    let id =
        Uuid::parse_str(&notification.number).ok().filter(|id| Store::number(*id) == notification.number);
    let id = id.ok_or_else(unknown)?;
    let take = async {
        if notification.is_refund {
            take_refund(gateway, (channel, id), &notification, (trace, patience, place)).await
        } else {
            take_payment(gateway, (channel, id), &notification, (trace, patience, place)).await
        }
    };
    let taken = tokio::time::timeout_at(patience.until(), take).await.map_err(|_| NotTaken::Late)?;
    taken?.ok_or_else(unknown)
}

/// None where the channel was not asked for it.
async fn take_payment(
    gateway: &Arc<Gateway>,
    (channel, id): (&str, Uuid),
    notification: &Notification,
    (trace, patience, place): (Trace, Patience, Place),
) -> Result<Option<()>, NotTaken> {
    let attempt = patience.keep(|| gateway.store.attempt(id)).await?.filter(|a| a.channel == channel);
    let Some(attempt) = attempt else { return Ok(None) };
    let order_id = attempt.order_id;
    let order = patience.keep(|| gateway.store.order(order_id)).await?;
    let outcome = said(notification, settle::amount(&order)?);
    if !outcome.is_said() {
        return Ok(Some(()));
    }
    let ending = ending(channel, id, outcome);
    let attempt = patience.keep(|| gateway.store.end_attempt(id, &ending)).await?;
    if ending.status == AttemptState::Succeeded && attempt.is_without_effect() {
        return Err(NotTaken::Contradiction);
    }
    // One that was told before has nothing left to do.
    if order.status == OrderState::Processing {
        let (work, span) = (gateway.clone(), tracing::info_span!("notified", %order_id));
        let rest = async move {
            if let Err(error) = settle::finish(&work, order, attempt, (trace, Patience::of(REST_MAX))).await {
                settle::log_unfinished(&error, order_id);
            }
        };
        go_on(gateway, place, rest.instrument(span));
    }
    Ok(Some(()))
}

async fn take_refund(
    gateway: &Arc<Gateway>,
    (channel, id): (&str, Uuid),
    notification: &Notification,
    (trace, patience, place): (Trace, Patience, Place),
) -> Result<Option<()>, NotTaken> {
    let found = patience.keep(|| gateway.store.known_refund(id)).await?.filter(|r| r.channel == channel);
    let Some(known) = found else { return Ok(None) };
    let order = patience.keep(|| gateway.store.order(known.order_id)).await?;
    let outcome = said(notification, refund::amount(&order, &known)?);
    if !outcome.is_said() {
        return Ok(Some(()));
    }
    refund::take(gateway, &known, outcome, patience).await?;
    let (work, span) = (gateway.clone(), tracing::info_span!("notified", refund_id = %id));
    let rest = async move {
        let known = match work.store.refund(id).await {
            Ok(known) => {
                refund::advance(&work, &order, known, (trace, Patience::of(REST_MAX)), Turn::First).await
            }
            Err(source) => Err(SettleError::from(source)),
        };
        if let Err(error) = known {
            settle::log_unfinished(&error, id);
        }
    };
    go_on(gateway, place, rest.instrument(span));
    Ok(Some(()))
}

/// What is said of this amount.
fn said(notification: &Notification, amount: Money) -> Outcome {
    let asked = amount.currency();
    match notification.currency.filter(|said| *said != asked) {
        Some(said) => {
            tracing::error!(number = notification.number, %asked, %said, "the network says another currency");
            Outcome::Unknown { why: format!("the network says {said}, not {asked}") }
        }
        None => notification.outcome.clone().of(amount),
    }
}

/// What follows goes on beside the answer, in the notification's place, as long as a
/// request's would; then the resolver does.
fn go_on(gateway: &Gateway, place: Place, rest: impl Future<Output = ()> + Send + 'static) {
    gateway.work.spawn(async move {
        let _place = place;
        let _ = tokio::time::timeout(REST_MAX, rest).await;
    });
}
