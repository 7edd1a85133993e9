//! What networks send by themselves: verified, compared with what was asked, applied once.
//! One that is lost is found by a query.

use std::sync::Arc;

use payplane_api::money::Money;
use payplane_common::trace::Trace;
use snafu::Snafu;
use tracing::Instrument;
use uuid::Uuid;

use crate::channel::Outcome;
use crate::channel::notification::{About, Notification};
use crate::channel::record::Raw;
use crate::decide::Kind;
use crate::gateway::{Gateway, Place};
use crate::message::Subject;
use crate::outgoing::{self, Outgoing, Turn};
use crate::patience::{Patience, REQUEST_MAX as REST_MAX};
use crate::pay::ending;
use crate::settle::{self, SettleError};
use crate::state::agreement::AgreementState;
use crate::state::{AttemptState, OrderState};
use crate::store::attempts::{Attempt, Ending};
use crate::store::contradictions::Said;
use crate::store::refunds::Refund;
use crate::store::{Store, StoreError};
use crate::surplus;

/// Why a notification is not taken. The network sends it again, for hours.
#[derive(Debug, Snafu)]
pub enum NotTaken {
    #[snafu(display("the database, the ledger or the network did not answer in time"))]
    Late,
    #[snafu(display("the network contradicts what was booked"))]
    Contradiction,
    #[snafu(display("nothing has the number {number:?}"))]
    Unknown { number: String },
    #[snafu(transparent)]
    Store { source: StoreError },
    #[snafu(transparent)]
    Settle { source: SettleError },
}

/// A notification that verified, and as it came.
pub struct Heard {
    pub notification: Notification,
    pub raw: Raw,
}

impl Heard {
    /// Keeps it, before what it says has an effect.
    async fn keep(&self, gateway: &Gateway, about: (Subject, &str)) {
        let messages = gateway.messages(about, std::slice::from_ref(&self.raw));
        gateway.store.keep_messages(&messages).await;
    }
}

/// Takes a verified notification of a channel. What it changes is committed before the
/// network is told; what follows from it goes on.
pub async fn take(
    gateway: &Arc<Gateway>,
    channel: &str,
    heard: Heard,
    (trace, patience, place): (Trace, Patience, Place),
) -> Result<(), NotTaken> {
    let notification = &heard.notification;
    let unknown = || NotTaken::Unknown { number: notification.number.clone() };
    let id =
        Uuid::parse_str(&notification.number).ok().filter(|id| Store::number(*id) == notification.number);
    let id = id.ok_or_else(unknown)?;
    let take = async {
        let (of, with) = ((channel, id), (trace, patience, place));
        match notification.about {
            About::Payment => take_payment(gateway, of, &heard, with).await,
            About::Refund => take_refund(gateway, of, &heard, with).await,
            About::Payout => take_payout(gateway, of, &heard, with).await,
            About::Agreement => take_agreement(gateway, of, &heard, with).await,
        }
    };
    let taken = tokio::time::timeout_at(patience.until(), take).await.map_err(|_| NotTaken::Late)?;
    taken?.ok_or_else(unknown)
}

/// None where the channel was not asked for it.
async fn take_payment(
    gateway: &Arc<Gateway>,
    (channel, id): (&str, Uuid),
    heard: &Heard,
    (trace, patience, place): (Trace, Patience, Place),
) -> Result<Option<()>, NotTaken> {
    let known = patience.keep(|| gateway.store.known_payment(id)).await?;
    let Some((_, order)) = known.filter(|(attempt, _)| attempt.channel == channel) else { return Ok(None) };
    let order_id = order.order_id;
    let (amount, notification) = (settle::amount(&order)?, &heard.notification);
    let about = (Subject::Payment(id), channel);
    let other = surplus::other_amount(&notification.outcome, amount);
    if let Some(ending) = other.filter(|_| notification.currency.is_none_or(|said| said == amount.currency()))
    {
        heard.keep(gateway, about).await;
        return take_other_amount(gateway, id, &ending, patience).await.map(Some);
    }
    let outcome = said(notification, amount);
    if !outcome.is_said() {
        heard.keep(gateway, about).await;
        return Ok(Some(()));
    }
    let messages = gateway.messages(about, std::slice::from_ref(&heard.raw));
    let ending = ending(channel, id, outcome).with(messages);
    let attempt = patience.keep(|| gateway.store.end_attempt(id, &ending)).await?;
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

/// Another amount is believed once a query says it too.
async fn take_other_amount(
    gateway: &Gateway,
    id: Uuid,
    said: &Ending,
    patience: Patience,
) -> Result<(), NotTaken> {
    let attempt = patience.keep(|| gateway.store.attempt(id)).await?;
    let Some(attempt) = attempt else { return Ok(()) };
    tracing::info!(attempt_id = %id, now = %attempt.status, "a notification says another amount");
    match attempt.status {
        AttemptState::Succeeded => {
            let said =
                Said { what: "OtherAmount", network_id: said.network_id.as_deref(), at: said.network_time };
            let kept = patience.keep(|| gateway.store.contradict((Kind::Payment, id), said)).await?;
            kept.then_some(()).ok_or(NotTaken::Contradiction)
        }
        AttemptState::OtherAmount => Ok(()),
        _ if attempt.has_ended_unpaid() => {
            Ok(patience.keep(|| gateway.store.note_surplus(&attempt, said)).await?)
        }
        _ => {
            patience.keep(|| gateway.store.hasten_order(attempt.order_id)).await?;
            // It may have ended since.
            let now = patience.keep(|| gateway.store.attempt(id)).await?;
            match now.filter(Attempt::has_ended_unpaid) {
                Some(ended) => Ok(patience.keep(|| gateway.store.note_surplus(&ended, said)).await?),
                None => Ok(()),
            }
        }
    }
}

/// A refund or a payout.
async fn take_outgoing(
    gateway: &Arc<Gateway>,
    (id, known): (Uuid, Outgoing),
    heard: &Heard,
    (trace, patience, place): (Trace, Patience, Place),
) -> Result<Option<()>, NotTaken> {
    heard.keep(gateway, known.about()).await;
    let outcome = said(&heard.notification, known.amount()?);
    if !outcome.is_said() {
        return Ok(Some(()));
    }
    known.take(gateway, outcome, patience).await?;
    let (work, span) = (gateway.clone(), tracing::info_span!("notified", %id));
    let rest = async move {
        let times = (trace, Patience::of(REST_MAX));
        let done = match known.as_stored(&work, times.1).await {
            Ok(known) => outgoing::advance(&work, known, times, Turn::First).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            settle::log_unfinished(&error, id);
        }
    };
    go_on(gateway, place, rest.instrument(span));
    Ok(Some(()))
}

async fn take_refund(
    gateway: &Arc<Gateway>,
    (channel, id): (&str, Uuid),
    heard: &Heard,
    (trace, patience, place): (Trace, Patience, Place),
) -> Result<Option<()>, NotTaken> {
    let Some(known) = refund(gateway, (channel, id), patience, |refund| !refund.is_transferred()).await?
    else {
        return take_surplus(gateway, (channel, id), heard, patience).await;
    };
    take_outgoing(gateway, (id, known), heard, (trace, patience, place)).await
}

async fn take_payout(
    gateway: &Arc<Gateway>,
    (channel, id): (&str, Uuid),
    heard: &Heard,
    (trace, patience, place): (Trace, Patience, Place),
) -> Result<Option<()>, NotTaken> {
    let found = patience.keep(|| gateway.store.known_payout(id)).await?.filter(|p| p.channel == channel);
    let known = match found {
        Some(payout) => Some(Outgoing::payout(payout)),
        None => refund(gateway, (channel, id), patience, Refund::is_transferred).await?,
    };
    let Some(known) = known else { return Ok(None) };
    take_outgoing(gateway, (id, known), heard, (trace, patience, place)).await
}

/// The refund that the channel was asked for under this number, in this way.
async fn refund(
    gateway: &Gateway,
    (channel, id): (&str, Uuid),
    patience: Patience,
    is_so: fn(&Refund) -> bool,
) -> Result<Option<Outgoing>, NotTaken> {
    let found = patience.keep(|| gateway.store.known_refund(id)).await?;
    let Some(refund) = found.filter(|refund| refund.channel == channel && is_so(refund)) else {
        return Ok(None);
    };
    let order = patience.keep(|| gateway.store.order(refund.order_id)).await?;
    Ok(Some(Outgoing::refund(order, refund)))
}

/// How an agreement stands is believed once a query says it too. That it is over is asked for
/// until it is: nobody else asks for one that is active.
async fn take_agreement(
    gateway: &Arc<Gateway>,
    (channel, id): (&str, Uuid),
    heard: &Heard,
    (trace, patience, place): (Trace, Patience, Place),
) -> Result<Option<()>, NotTaken> {
    let found = patience.keep(|| gateway.store.known_agreement(id)).await?.filter(|a| a.channel == channel);
    let Some(known) = found else { return Ok(None) };
    heard.keep(gateway, (Subject::Agreement(id), channel)).await;
    if known.status.is_final() {
        return Ok(Some(()));
    }
    let work = gateway.clone();
    // A payment may follow from it: that goes on though the network hangs up.
    let rest = gateway.work.spawn(async move {
        let _place = place;
        work.resolve_agreement(known, (trace, Patience::of(REST_MAX))).await
    });
    rest.await.map_err(|_| NotTaken::Late)??;
    let now = patience.keep(|| gateway.store.agreement(id)).await?;
    if heard.notification.outcome == Outcome::Closed && now.status == AgreementState::Active {
        return Err(NotTaken::Late);
    }
    Ok(Some(()))
}

/// What a network says of a surplus that it was asked to give back.
async fn take_surplus(
    gateway: &Gateway,
    (channel, id): (&str, Uuid),
    heard: &Heard,
    patience: Patience,
) -> Result<Option<()>, NotTaken> {
    let found = patience.keep(|| gateway.store.surplus(id)).await?;
    let Some(known) = found.filter(|s| s.channel == channel && s.refund_id == id) else {
        return Ok(None);
    };
    heard.keep(gateway, surplus::about(&known)).await;
    let outcome = said(&heard.notification, surplus::amount(&known)?);
    // The resolver does what follows.
    surplus::take(gateway, &known, outcome).await?;
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
