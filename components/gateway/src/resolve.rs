//! The resolver finishes what requests left: outcomes that are unknown are asked
//! for, postings that are owed are made. Every replica runs one; they share by
//! skipping what another has locked. An outcome is never failed by time alone.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use payplane_common::shutdown::Shutdown;
use payplane_common::telemetry::chain;
use payplane_common::trace::Trace;

use crate::channel::{Found, Outcome};
use crate::gateway::Gateway;
use crate::patience::Patience;
use crate::pay::ending;
use crate::refund::{self, Turn};
use crate::settle::{self, SettleError};
use crate::state::AttemptState;
use crate::store::Store;
use crate::store::attempts::{Attempt, Ending};
use crate::store::orders::Order;
use crate::store::refunds::Refund;

/// Orders and refunds, each, worked on at once by one replica.
const BATCH_MAX: i64 = 16;
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// What is away is asked again for so long, in one go.
const PATIENCE: Duration = Duration::from_secs(3);
/// Work on one order ends within its lease.
const WORK_MAX: Duration = Duration::from_secs(15);
/// Every so many looks the nonces are purged and the gauges are set.
const CHORES_EVERY: u32 = 10;

/// Runs until the process closes.
pub async fn run(gateway: Arc<Gateway>, shutdown: Shutdown) {
    let mut look = 0u32;
    while !shutdown.closing.is_cancelled() {
        let full = match batch(&gateway).await {
            Ok(taken) => taken >= BATCH_MAX,
            Err(error) => {
                settle::log_unfinished(&error, uuid::Uuid::nil());
                false
            }
        };
        look = look.wrapping_add(1);
        if look.is_multiple_of(CHORES_EVERY) {
            chores(&gateway).await;
        }
        if !full {
            // Jitter, so that replicas do not look at the same moment.
            let jitter = Duration::from_millis(u64::from(uuid::Uuid::new_v4().as_bytes()[0]));
            let pause = LOOK_EVERY.saturating_add(jitter);
            let _ = tokio::time::timeout(pause, shutdown.closing.cancelled()).await;
        }
    }
}

/// Takes what is due, and works on all of it at once. Says how much it was.
async fn batch(gateway: &Gateway) -> Result<i64, SettleError> {
    let orders = gateway.store.claim_orders(BATCH_MAX).await?;
    let refunds = gateway.store.claim_refunds(BATCH_MAX).await?;
    let taken = orders.len().max(refunds.len());
    let orders = orders.into_iter().map(|order| async move {
        let id = order.order_id;
        (id, tokio::time::timeout(WORK_MAX, resolve_order(gateway, order)).await)
    });
    let refunds = refunds.into_iter().map(|refund| async move {
        let id = refund.refund_id;
        (id, tokio::time::timeout(WORK_MAX, resolve_refund(gateway, refund)).await)
    });
    let (orders, refunds) = tokio::join!(join_all(orders), join_all(refunds));
    for (id, ended) in orders.into_iter().chain(refunds) {
        if let Ok(Err(error)) = ended {
            settle::log_unfinished(&error, id);
        }
    }
    Ok(i64::try_from(taken).unwrap_or(BATCH_MAX))
}

async fn resolve_order(gateway: &Gateway, order: Order) -> Result<(), SettleError> {
    let trace = Trace::new();
    let Some(attempt) = gateway.store.latest_attempt(order.order_id).await? else {
        // The process that made the order ended before anything was sent; an
        // attempt that begins at this moment is seen under the order's lock.
        gateway.store.fail_order(order.order_id, "Interrupted").await?;
        return Ok(());
    };
    let attempt = if attempt.status.is_final() {
        attempt
    } else {
        match ask(gateway, &attempt, trace).await? {
            Some(ending) => gateway.store.end_attempt(attempt.attempt_id, &ending).await?,
            None => attempt,
        }
    };
    let (id, status) = (order.order_id, attempt.status);
    settle::finish(gateway, order, attempt, (trace, Patience::of(PATIENCE))).await?;
    tracing::info!(order_id = %id, attempt = %status, trace_id = %trace, "order resolved as far as known");
    Ok(())
}

/// Asks the network about an attempt. None where it knows nothing new.
async fn ask(gateway: &Gateway, attempt: &Attempt, trace: Trace) -> Result<Option<Ending>, SettleError> {
    let settings = gateway.settings();
    let Some(channel) = settings.value.channel(&attempt.channel) else {
        let why = format!("channel {} is not configured", attempt.channel);
        return Err(SettleError::Channel { why });
    };
    let found = channel.client.query(&Store::number(attempt.attempt_id), trace).await;
    if found.is_never(channel.client.as_ref(), attempt.signed_at) {
        // A network that said "processing" knew it: then this is a contradiction.
        if attempt.status == AttemptState::Processing {
            tracing::error!(attempt_id = %attempt.attempt_id, "the network forgot an attempt that it knew");
            return Ok(None);
        }
        return Ok(Some(Ending::bare(AttemptState::NotReceived)));
    }
    Ok(match found {
        Found::NotFound { .. } | Found::Outcome(Outcome::NotSent { .. } | Outcome::Unknown { .. }) => {
            // Nobody waits for the answer of an attempt that is this old.
            (attempt.status == AttemptState::Sending).then(|| Ending::bare(AttemptState::Unknown))
        }
        Found::Outcome(outcome) => Some(ending(&attempt.channel, attempt.attempt_id, outcome)),
    })
}

async fn resolve_refund(gateway: &Gateway, refund: Refund) -> Result<(), SettleError> {
    let order = gateway.store.order(refund.order_id).await?;
    refund::advance(gateway, &order, refund, (Trace::new(), Patience::of(PATIENCE)), Turn::Resolver).await
}

async fn chores(gateway: &Gateway) {
    if let Err(error) = gateway.store.purge_nonces().await {
        tracing::info!(error = chain(&error), "nonces not purged");
    }
    match gateway.store.open_orders().await {
        Ok((open, oldest_seconds)) => {
            gateway.metrics.orders_open.set(open);
            gateway.metrics.orders_open_oldest_seconds.set(oldest_seconds);
        }
        Err(error) => tracing::info!(error = chain(&error), "open orders not counted"),
    }
    gateway.metrics.config_epoch.set(gateway.settings().value.epoch_signed());
}
