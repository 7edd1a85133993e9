//! The resolver finishes what requests left: outcomes that are unknown are asked
//! for, postings that are owed are made. Every replica runs one; they share by
//! skipping what another has locked. An outcome is never failed by time alone.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use payplane_common::shutdown::Shutdown;
use payplane_common::telemetry::chain;
use payplane_common::trace::Trace;
use tokio::sync::Notify;
use uuid::Uuid;

use crate::channel::{Found, Outcome};
use crate::contradiction;
use crate::gateway::Gateway;
use crate::message::Subject;
use crate::outgoing::{self, Outgoing, Turn};
use crate::patience::Patience;
use crate::pay::ending;
use crate::settle::{self, SettleError};
use crate::state::AttemptState;
use crate::store::attempts::{Attempt, Ending};
use crate::store::orders::Order;
use crate::store::refunds::Refund;
use crate::surplus;
use crate::works::Works;

/// Orders, refunds, payouts, surpluses and agreements, each, taken in one look.
const TAKEN_MAX: usize = 8;
/// Worked on at once by one replica. A channel that has this share of it gets no more:
/// a network that says nothing leaves the others their places.
const WORK_MAX: usize = 64;
const CHANNEL_MAX: usize = 16;
/// What is away is asked again for so long, in one go.
const PATIENCE: Duration = Duration::from_secs(3);
/// Every so many looks the nonces are purged and the gauges are set.
const CHORES_EVERY: u32 = 10;

/// Runs until the process closes, and what it has begun has ended.
pub async fn run(gateway: Arc<Gateway>, shutdown: Shutdown) {
    let (mut works, mut look) = (Works::new(WORK_MAX, CHANNEL_MAX), 0u32);
    // Nothing is due at once: a request works on its own order first.
    let never = Notify::new();
    while !shutdown.closing.is_cancelled() {
        let more = take(&mut works, &gateway).await.unwrap_or_else(|error| {
            settle::log_unfinished(&error, Uuid::nil());
            false
        });
        look = look.wrapping_add(1);
        if look.is_multiple_of(CHORES_EVERY) {
            chores(&gateway).await;
        }
        works.pause(more, &never, &shutdown).await;
    }
    works.end().await;
}

/// Takes what is due, as far as there is room. True: there may be more.
async fn take(works: &mut Works, gateway: &Arc<Gateway>) -> Result<bool, SettleError> {
    let limit = works.room().min(TAKEN_MAX);
    let orders = gateway.store.claim_orders(most(works), &works.busy()).await?;
    let mut taken = orders.len();
    for (order, channel) in orders {
        let (id, gateway) = (order.order_id, gateway.clone());
        let work = async move { log(id, resolve_order(&gateway, order).await) };
        works.start(channel.unwrap_or_default(), work);
    }
    let refunds = gateway.store.claim_refunds(most(works), &works.busy()).await?;
    taken = taken.max(refunds.len());
    for refund in refunds {
        let (id, channel, gateway) = (refund.refund_id, refund.channel.clone(), gateway.clone());
        works.start(channel, async move { log(id, resolve_refund(&gateway, refund).await) });
    }
    let payouts = gateway.store.claim_payouts(most(works), &works.busy()).await?;
    taken = taken.max(payouts.len());
    for payout in payouts {
        let (id, channel, gateway) = (payout.payout_id, payout.channel.clone(), gateway.clone());
        let work = async move { log(id, go_on(&gateway, Outgoing::payout(payout)).await) };
        works.start(channel, work);
    }
    let surpluses = gateway.store.claim_surpluses(most(works), &works.busy()).await?;
    taken = taken.max(surpluses.len());
    for surplus in surpluses {
        let (id, channel, gateway) = (surplus.attempt_id, surplus.channel.clone(), gateway.clone());
        works.start(channel, async move { log(id, surplus::advance(&gateway, surplus, Trace::new()).await) });
    }
    let agreements = gateway.store.claim_agreements(most(works), &works.busy()).await?;
    taken = taken.max(agreements.len());
    for agreement in agreements {
        let (id, channel, gateway) = (agreement.agreement_id, agreement.channel.clone(), gateway.clone());
        let times = (Trace::new(), Patience::of(PATIENCE));
        works.start(channel, async move { log(id, gateway.resolve_agreement(agreement, times).await) });
    }
    let contradictions = gateway.store.claim_contradictions(most(works), &works.busy()).await?;
    taken = taken.max(contradictions.len());
    for one in contradictions {
        let (id, channel, gateway) = (one.contradiction_id, one.channel.clone(), gateway.clone());
        works.start(channel, async move { log(id, contradiction::book(&gateway, one, Trace::new()).await) });
    }
    Ok(taken >= limit)
}

/// As many as there is room for.
fn most(works: &Works) -> i64 {
    i64::try_from(works.room().min(TAKEN_MAX)).unwrap_or_default()
}

fn log(id: Uuid, done: Result<(), SettleError>) {
    if let Err(error) = done {
        settle::log_unfinished(&error, id);
    }
}

async fn resolve_order(gateway: &Gateway, order: Order) -> Result<(), SettleError> {
    let trace = Trace::new();
    let Some(attempt) = gateway.store.latest_attempt(order.order_id).await? else {
        let times = (trace, Patience::of(PATIENCE));
        return match gateway.store.step_up(order.order_id).await? {
            Some(row) => gateway.resolve_step_up((order, row), times).await,
            None => gateway.resolve_unsent(order, times.1).await,
        };
    };
    let attempt = if attempt.status.is_final() {
        attempt
    } else {
        let attempt = match ask(gateway, &order, &attempt, trace).await? {
            Some(ending) => gateway.store.end_attempt(attempt.attempt_id, &ending).await?,
            None => attempt,
        };
        // The payer did not pay in time; the network is asked to take nothing any more.
        if attempt.status == AttemptState::Processing && order.expires_at <= Timestamp::now() {
            gateway.ask_to_close(&order, attempt, (trace, Patience::of(PATIENCE))).await?
        } else {
            attempt
        }
    };
    let (id, status) = (order.order_id, attempt.status);
    settle::finish(gateway, order, attempt, (trace, Patience::of(PATIENCE))).await?;
    tracing::info!(order_id = %id, attempt = %status, trace_id = %trace, "order resolved as far as known");
    Ok(())
}

/// Asks the network about an attempt. None where it knows nothing new.
async fn ask(
    gateway: &Gateway,
    order: &Order,
    attempt: &Attempt,
    trace: Trace,
) -> Result<Option<Ending>, SettleError> {
    let settings = gateway.settings();
    let channel = settle::channel(&settings.value, &attempt.channel)?;
    let sent = settle::sent(order, attempt)?;
    let about = (Subject::Payment(attempt.attempt_id), attempt.channel.as_str());
    let (found, messages) = gateway.recording(about, channel.client.query(&sent, trace)).await;
    if found.is_never(channel.client.as_ref(), &sent) {
        // A network that said "processing" knew it: then this is a contradiction.
        if attempt.status == AttemptState::Processing {
            tracing::error!(attempt_id = %attempt.attempt_id, "the network forgot an attempt that it knew");
            gateway.store.keep_messages(&messages).await;
            return Ok(None);
        }
        return Ok(Some(Ending::bare(AttemptState::NotReceived).with(messages)));
    }
    let said = match found {
        Found::Outcome(outcome) if let Some(ending) = surplus::other_amount(&outcome, sent.amount) => {
            return Ok(Some(ending.with(messages)));
        }
        Found::Outcome(outcome) => Some(outcome.of(sent.amount)).filter(Outcome::is_said),
        Found::NotFound { .. } => None,
    };
    Ok(match said {
        Some(outcome) => {
            Some(ending(&attempt.channel, attempt.attempt_id, outcome).with_news(messages, attempt))
        }
        // Nobody waits for the answer of an attempt that is this old.
        None => (attempt.status == AttemptState::Sending)
            .then(|| Ending::bare(AttemptState::Unknown).with(messages)),
    })
}

async fn resolve_refund(gateway: &Gateway, refund: Refund) -> Result<(), SettleError> {
    let order = gateway.store.order(refund.order_id).await?;
    go_on(gateway, Outgoing::refund(order, refund)).await
}

async fn go_on(gateway: &Gateway, outgoing: Outgoing) -> Result<(), SettleError> {
    outgoing::advance(gateway, outgoing, (Trace::new(), Patience::of(PATIENCE)), Turn::Resolver).await
}

async fn chores(gateway: &Gateway) {
    if let Err(error) = gateway.store.purge_nonces().await {
        tracing::info!(error = chain(&error), "nonces not purged");
    }
    if let Err(error) = gateway.store.purge_counters().await {
        tracing::info!(error = chain(&error), "old counters not purged");
    }
    match gateway.store.open_orders().await {
        Ok((open, oldest_seconds)) => {
            gateway.metrics.orders_open.set(open);
            gateway.metrics.orders_open_oldest_seconds.set(oldest_seconds);
        }
        Err(error) => tracing::info!(error = chain(&error), "open orders not counted"),
    }
    match gateway.store.open_payouts().await {
        Ok((open, oldest_seconds)) => {
            gateway.metrics.payouts_open.set(open);
            gateway.metrics.payouts_open_oldest_seconds.set(oldest_seconds);
        }
        Err(error) => tracing::info!(error = chain(&error), "open payouts not counted"),
    }
    match gateway.store.count_surpluses().await {
        Ok((open, held)) => {
            gateway.metrics.surpluses_open.set(open);
            gateway.metrics.surpluses_held.set(held);
        }
        Err(error) => tracing::info!(error = chain(&error), "surpluses not counted"),
    }
    if let Err(error) = gateway.store.lapse_decisions().await {
        tracing::info!(error = chain(&error), "decisions not lapsed");
    }
    match gateway.store.count_open_items().await {
        Ok((open, oldest_seconds)) => {
            gateway.metrics.open_items.set(open);
            gateway.metrics.open_items_oldest_seconds.set(oldest_seconds);
        }
        Err(error) => tracing::info!(error = chain(&error), "what is open for persons is not counted"),
    }
    gateway.metrics.config_epoch.set(gateway.settings().value.epoch_signed());
}
