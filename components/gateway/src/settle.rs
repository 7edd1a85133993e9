//! From a network's outcome to the order's end: the posting is owed as soon as
//! the network took the money, and success is stored only after the ledger
//! acknowledged it. The request and the resolver both come through here.

use std::time::Duration;

use payplane_api::currency::Currency;
use payplane_api::ledger::v1::{AccountSpec, PostRequest};
use payplane_api::money::Money;
use payplane_common::telemetry::chain;
use payplane_common::trace::Trace;
use snafu::Snafu;
use tracing::{Instrument, Span};
use uuid::Uuid;

use crate::books::{BooksError, postings};
use crate::channel::{Kind, Sent};
use crate::gateway::{Caller, Gateway};
use crate::patience::Patience;
use crate::route;
use crate::settings::{ChannelSettings, Settings};
use crate::state::AttemptState;
use crate::store::attempts::Attempt;
use crate::store::orders::Order;
use crate::store::postpone::Awaited;
use crate::store::{Store, StoreError};
use crate::vault::Lost;

/// Decisions of one posting in one go; the resolver makes more.
const DECISIONS_MAX: u32 = 4;
/// A ledger that is away is asked again after this time.
const POST_AGAIN: Duration = Duration::from_millis(400);

#[derive(Debug, Snafu)]
pub enum SettleError {
    #[snafu(transparent)]
    Store { source: StoreError },
    #[snafu(display("a posting is owed"))]
    Owed { source: BooksError },
    #[snafu(display("the ledger asks for config epoch {epoch_min}, which is not here yet"))]
    OldConfig { epoch_min: u64 },
    #[snafu(display("the channel cannot be asked: {why}"))]
    Channel { why: String },
    #[snafu(display("the payee of {id} cannot be had: {lost:?}"))]
    Payee { id: Uuid, lost: Lost },
    #[snafu(display("who pays {id} cannot be had: {lost:?}"))]
    Payer { id: Uuid, lost: Lost },
    #[snafu(display("{id} holds an amount that cannot be read"))]
    Amount { id: Uuid },
}

/// Does work for a caller that goes on when he hangs up, holding his place, as long as his
/// patience lasts. None where it did not finish, for want of time or as the database went
/// away: the resolver goes on.
pub async fn work_for<T: Send + 'static>(
    gateway: &Gateway,
    caller: &Caller,
    (id, span): (Uuid, Span),
    work: impl Future<Output = Result<T, SettleError>> + Send + 'static,
) -> Option<T> {
    let (place, until) = (caller.place.clone(), caller.patience.until());
    let rest = async move {
        let _place = place;
        work.await
    };
    let rest = gateway.work.spawn(tokio::time::timeout_at(until, rest).instrument(span));
    let done = rest.await.ok()?.ok()?;
    done.inspect_err(|error| log_unfinished(error, id)).ok()
}

/// Brings an order as far as its newest attempt allows.
pub async fn finish(
    gateway: &Gateway,
    order: Order,
    attempt: Attempt,
    (trace, patience): (Trace, Patience),
) -> Result<Order, SettleError> {
    let code = match attempt.status {
        AttemptState::Succeeded => return book(gateway, &order, attempt, (trace, patience)).await,
        AttemptState::Sending | AttemptState::Processing | AttemptState::Unknown => {
            let awaited = || Awaited::Network(attempt.action.clone());
            return Ok(patience.keep(|| gateway.store.postpone_order(order.order_id, awaited())).await?);
        }
        AttemptState::Declined => "Declined",
        AttemptState::Closed => "Closed",
        AttemptState::NotSent => "ChannelUnavailable",
        AttemptState::NotReceived => "NotReceived",
        AttemptState::OtherAmount => "OtherAmount",
    };
    Ok(patience.keep(|| gateway.store.fail_order(order.order_id, code)).await?)
}

/// Posts the sale, or the top-up, and marks the order as succeeded.
async fn book(
    gateway: &Gateway,
    order: &Order,
    attempt: Attempt,
    (trace, patience): (Trace, Patience),
) -> Result<Order, SettleError> {
    match post_sale(gateway, order, attempt, (trace, patience)).await {
        Ok((attempt, transaction_id)) => {
            let ids = (transaction_id, Uuid::now_v7());
            let done = || gateway.store.succeed_order(order, &attempt, ids);
            let order = patience.keep(done).await?;
            tracing::info!(order_id = %order.order_id, %transaction_id, "payment succeeded");
            Ok(order)
        }
        Err(error) => {
            gateway.metrics.postings_owed.inc();
            gateway.store.postpone_order(order.order_id, Awaited::Books).await?;
            Err(error)
        }
    }
}

/// Posts the sale under its identity. Where the config it was decided on is no
/// longer in force, it is decided again on the newer one, which is stored before
/// it is posted: whoever goes on after a crash posts the same.
async fn post_sale(
    gateway: &Gateway,
    order: &Order,
    mut attempt: Attempt,
    (trace, patience): (Trace, Patience),
) -> Result<(Attempt, Uuid), SettleError> {
    let owed = |source| SettleError::Owed { source };
    let accounts = postings::sale_accounts(order, &attempt);
    let (mut decisions, mut waits) = (1_u32, None);
    loop {
        let request = postings::sale(order, &attempt).map_err(owed)?;
        let posted = match gateway.books.open(accounts.clone(), trace).await {
            Ok(()) => gateway.books.post(&request, trace).await,
            Err(error) => Err(error),
        };
        match posted {
            Ok(transaction_id) => return Ok((attempt, transaction_id)),
            Err(BooksError::Stale { epoch_min }) if decisions < DECISIONS_MAX => {
                decisions = decisions.saturating_add(1);
                let newer = gateway.settings_from(epoch_min).await;
                let newer = newer.ok_or(SettleError::OldConfig { epoch_min })?;
                let amount = amount(order)?;
                let mut decision = route::decide_again(
                    &newer.value,
                    &attempt.channel,
                    (&order.method, amount, order.stored_date),
                    attempt.fee_minor,
                );
                if order.is_top_up() {
                    decision.fee_minor = 0;
                }
                let least = i64::try_from(epoch_min).unwrap_or(i64::MAX);
                attempt = patience.keep(|| gateway.store.decide_again(&attempt, &decision, least)).await?;
            }
            Err(BooksError::Away { .. }) if patience.outlasts(POST_AGAIN) => {
                waits.get_or_insert_with(|| gateway.shares.waits());
                tokio::time::sleep(POST_AGAIN).await;
            }
            Err(error) => return Err(owed(error)),
        }
    }
}

/// Posts under its identity what nothing of the config decides, with the epoch in force: a
/// retry may renew that. The accounts are opened before.
pub async fn post(
    gateway: &Gateway,
    accounts: Vec<AccountSpec>,
    build: impl Fn(u64) -> Result<PostRequest, BooksError>,
    (trace, patience): (Trace, Patience),
) -> Result<Uuid, SettleError> {
    let owed = |source| SettleError::Owed { source };
    let (mut settings, mut decisions) = (gateway.settings(), 1_u32);
    loop {
        let request = build(settings.value.epoch).map_err(owed)?;
        let posted = match gateway.books.open(accounts.clone(), trace).await {
            Ok(()) => gateway.books.post(&request, trace).await,
            Err(error) => Err(error),
        };
        match posted {
            Ok(transaction_id) => return Ok(transaction_id),
            Err(BooksError::Stale { epoch_min }) if decisions < DECISIONS_MAX => {
                decisions = decisions.saturating_add(1);
                let newer = gateway.settings_from(epoch_min).await;
                settings = newer.ok_or(SettleError::OldConfig { epoch_min })?;
            }
            Err(BooksError::Away { .. }) if patience.outlasts(POST_AGAIN) => {
                tokio::time::sleep(POST_AGAIN).await;
            }
            Err(source) => return Err(owed(source)),
        }
    }
}

/// An attempt as its network was asked for it.
pub fn sent(order: &Order, attempt: &Attempt) -> Result<Sent, SettleError> {
    Ok(Sent {
        number: Store::number(attempt.attempt_id),
        amount: amount(order)?,
        signed_at: attempt.signed_at,
        network_id: attempt.network_id.clone(),
        kind: Kind::Payment { expires_at: order.expires_at },
    })
}

/// The channel that something was sent over.
pub fn channel<'a>(settings: &'a Settings, name: &str) -> Result<&'a ChannelSettings, SettleError> {
    let missing = || SettleError::Channel { why: format!("channel {name} is not configured") };
    settings.channel(name).ok_or_else(missing)
}

/// The amount of a stored order.
pub fn amount(order: &Order) -> Result<Money, SettleError> {
    money(order.order_id, order.amount_minor, &order.currency)
}

/// An amount that is stored with an order, a refund, a payout.
pub fn money(id: Uuid, minor: i64, currency: &str) -> Result<Money, SettleError> {
    let currency = Currency::parse(currency).ok();
    let amount = currency.and_then(|currency| Money::new(minor, currency).ok());
    amount.ok_or(SettleError::Amount { id })
}

/// Says why something is left to the resolver. What time mends is news; what the
/// ledger refuses, although money has moved, needs a person.
pub fn log_unfinished(error: &SettleError, id: Uuid) {
    let text = chain(error);
    let needs_person = match error {
        SettleError::Owed { source } => !matches!(source, BooksError::Away { .. } | BooksError::Stale { .. }),
        SettleError::OldConfig { .. }
        | SettleError::Channel { .. }
        | SettleError::Payee { .. }
        | SettleError::Payer { .. } => false,
        SettleError::Store { source } => !source.is_transient(),
        SettleError::Amount { .. } => true,
    };
    if needs_person {
        tracing::error!(%id, error = text, "left unfinished; the resolver keeps trying");
    } else {
        tracing::info!(%id, error = text, "left unfinished; the resolver goes on");
    }
}
