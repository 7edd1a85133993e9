//! The life of a refund. The books are debited first: the network is never asked
//! for what the merchant does not have. A refund that the network then declines
//! is reversed in the books; one of unknown outcome stays Processing.

use std::sync::Arc;

use jiff::Timestamp;
use payplane_api::ledger::v1::{PostRequest, RefusalReason};
use payplane_api::money::Money;
use payplane_common::trace::Trace;

use crate::api::problem::{Code, Problem};
use crate::api::wire::RefundRequest;
use crate::books::{BooksError, postings};
use crate::channel::{Found, Kind, Outcome, Repay, Sent};
use crate::gateway::{Caller, Gateway};
use crate::patience::Patience;
use crate::pay::nonce_used;
use crate::settle::{self, POST_AGAIN, SettleError};
use crate::state::RefundState;
use crate::store::Store;
use crate::store::orders::Order;
use crate::store::refunds::{CreatedRefund, NewRefund, Refund};

/// More than the states that a refund can pass through.
const STEPS_MAX: u32 = 8;
const DECISIONS_MAX: u32 = 4;

/// A refund, and whether this request made it.
pub struct Refunded {
    pub refund: Refund,
    pub is_new: bool,
}

/// Refunds a payment, in whole or in part.
pub async fn refund(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    order: Order,
    request: &RefundRequest,
) -> Result<Refunded, Problem> {
    let new = prepare(gateway, &order, request);
    let settings = gateway.settings();
    if let Some(gone) = order.channel.as_deref().filter(|name| settings.value.channel(name).is_none()) {
        // What was accepted before stays accepted.
        let known = || gateway.store.find_refund(&order, &new.refund_number);
        let known = caller.patience.keep(known).await?;
        let detail = format!("channel {gone}, which took the payment, is not configured any more");
        return same_refund(known.ok_or_else(|| Problem::new(Code::NoChannel, detail))?, &new);
    }
    let refund = match caller.patience.keep(|| gateway.store.create_refund(&new, &caller.nonce)).await? {
        CreatedRefund::New(refund) => *refund,
        CreatedRefund::Known(refund) => return same_refund(*refund, &new),
        CreatedRefund::NonceUsed => return Err(nonce_used()),
        CreatedRefund::AppNotActive(state) => {
            return Err(Problem::new(Code::AppNotActive, format!("app {} is {state}", caller.app())));
        }
        CreatedRefund::Exceeds { left_minor } => {
            let detail = format!("{left_minor} minor units of this order can still be refunded");
            return Err(Problem::new(Code::RefundExceedsPayment, detail));
        }
    };
    let refund_id = refund.refund_id;
    tracing::info!(%refund_id, order_id = %order.order_id, "refund created");
    let (work, trace, patience) = (gateway.clone(), caller.trace, caller.patience);
    let span = tracing::info_span!("refund", %refund_id);
    let rest = async move { advance(&work, &order, refund, (trace, patience), Turn::First).await };
    let _ = settle::work_for(gateway, caller, (refund_id, span), rest).await;
    let refund = caller.patience.keep(|| gateway.store.refund(refund_id)).await?;
    Ok(Refunded { refund, is_new: true })
}

/// A known refund answers the same request; another one is refused.
fn same_refund(refund: Refund, new: &NewRefund) -> Result<Refunded, Problem> {
    if !new.request_hash.is_of(&refund.request_hash) {
        let detail = format!("refund {} was another request", new.refund_number);
        return Err(Problem::new(Code::OrderConflict, detail));
    }
    Ok(Refunded { refund, is_new: false })
}

fn prepare(gateway: &Gateway, order: &Order, request: &RefundRequest) -> NewRefund {
    let settings = gateway.settings();
    let now = Timestamp::now();
    NewRefund {
        refund_id: uuid::Uuid::now_v7(),
        order_id: order.order_id,
        refund_number: request.refund_number.to_string(),
        request_hash: gateway.data_keys.request_hash(request.hash()),
        amount_minor: request.amount_minor,
        reason: request.reason.clone(),
        stored_date: settings.value.calendar.date(now),
        config_epoch: settings.value.epoch_signed(),
        created_at: now,
    }
}

/// Who works on a refund: only the first turn may find its request under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    First,
    Resolver,
}

/// Brings a refund as far as books and network allow.
pub async fn advance(
    gateway: &Gateway,
    order: &Order,
    mut refund: Refund,
    (trace, patience): (Trace, Patience),
    turn: Turn,
) -> Result<(), SettleError> {
    for _ in 0..STEPS_MAX {
        let went_on = match refund.status {
            RefundState::Requested => debit_and_send(gateway, order, &refund, (trace, patience)).await?,
            RefundState::Sending if turn == Turn::Resolver => {
                ask(gateway, order, &refund, (trace, patience)).await?
            }
            RefundState::Sending => false,
            RefundState::Reversing => reverse(gateway, order, &refund, (trace, patience)).await?,
            RefundState::Succeeded | RefundState::Failed => return Ok(()),
        };
        if !went_on {
            break;
        }
        let refund_id = refund.refund_id;
        refund = patience.keep(|| gateway.store.refund(refund_id)).await?;
    }
    Ok(patience.keep(|| gateway.store.postpone_refund(refund.refund_id)).await?)
}

/// Debits the merchant, and asks the network. The request is signed before the
/// change of state is committed, and only who made that change sends it.
async fn debit_and_send(
    gateway: &Gateway,
    order: &Order,
    refund: &Refund,
    (trace, patience): (Trace, Patience),
) -> Result<bool, SettleError> {
    let settings = gateway.settings();
    let channel = settle::channel(&settings.value, &refund.channel)?;
    let transaction_id = match post(gateway, order, refund, postings::refund, (trace, patience)).await {
        Ok(transaction_id) => transaction_id,
        Err(SettleError::Owed { source: BooksError::Refused { reason, message } }) => {
            let code = match reason {
                RefusalReason::Insufficient => "InsufficientBalance",
                RefusalReason::OverOriginal => "RefundExceedsPayment",
                // Not decided on the balance: something is wrong, and the
                // refund waits for whoever mends it.
                reason => {
                    let source = BooksError::Refused { reason, message };
                    return Err(SettleError::Owed { source });
                }
            };
            patience.keep(|| gateway.store.fail_refund(refund, Some(code), None)).await?;
            return Ok(true);
        }
        Err(error) => return Err(error),
    };
    let original = original(gateway, order, patience).await?;
    let number = Store::number(refund.refund_id);
    let repay = Repay { number: &number, amount: amount(order, refund)?, original };
    let prepared = channel.client.prepare_refund(&repay);
    let prepared = prepared.map_err(|error| SettleError::Channel { why: error.why })?;
    let turn = (uuid::Uuid::now_v7(), prepared.signed_at);
    let send = || gateway.store.send_refund(refund.refund_id, transaction_id, turn);
    let sent = patience.keep(send).await?;
    let Some(sent) = sent else { return Ok(true) };
    let waits = gateway.shares.waits();
    let outcome = channel.client.send(prepared, trace).await.of(repay.amount);
    drop(waits);
    take(gateway, &sent, outcome, patience).await
}

pub(crate) fn amount(order: &Order, refund: &Refund) -> Result<Money, SettleError> {
    let amount = Money::new(refund.amount_minor, settle::amount(order)?.currency());
    amount.map_err(|_| SettleError::Amount { order_id: order.order_id })
}

/// The payment as its network knows it.
async fn original(gateway: &Gateway, order: &Order, patience: Patience) -> Result<Sent, SettleError> {
    let attempt = patience.keep(|| gateway.store.latest_attempt(order.order_id)).await?;
    let missing = || SettleError::Channel { why: format!("order {} has no attempt", order.order_id) };
    settle::sent(order, &attempt.ok_or_else(missing)?)
}

/// Asks the network what became of a refund.
async fn ask(
    gateway: &Gateway,
    order: &Order,
    refund: &Refund,
    (trace, patience): (Trace, Patience),
) -> Result<bool, SettleError> {
    let settings = gateway.settings();
    let channel = settle::channel(&settings.value, &refund.channel)?;
    let sent = Sent {
        number: Store::number(refund.refund_id),
        amount: amount(order, refund)?,
        signed_at: refund.signed_at.unwrap_or(Timestamp::MAX),
        network_id: refund.network_id.clone().filter(|id| !id.is_empty()),
        kind: Kind::Refund { original_number: original(gateway, order, patience).await?.number },
    };
    let found = channel.client.query(&sent, trace).await;
    match found {
        _ if found.is_never(channel.client.as_ref(), &sent) => {
            // A network that said "processing" knew it: then this is a contradiction.
            if refund.network_id.is_some() {
                tracing::error!(refund_id = %refund.refund_id, "the network forgot a refund that it knew");
                return Ok(false);
            }
            patience.keep(|| gateway.store.reverse_refund(refund.refund_id, "NotReceived")).await?;
            Ok(true)
        }
        Found::NotFound { .. } => Ok(false),
        // That the query was not sent says nothing about the refund.
        Found::Outcome(Outcome::NotSent { .. }) => Ok(false),
        Found::Outcome(outcome) => take(gateway, refund, outcome.of(sent.amount), patience).await,
    }
}

/// Stores what the network says of a refund. False where nothing is settled.
pub(crate) async fn take(
    gateway: &Gateway,
    refund: &Refund,
    outcome: Outcome,
    patience: Patience,
) -> Result<bool, SettleError> {
    let reverse = |code| patience.keep(move || gateway.store.reverse_refund(refund.refund_id, code));
    match outcome {
        Outcome::Succeeded { network_id, .. } => {
            patience.keep(|| gateway.store.succeed_refund(refund, &network_id)).await?;
        }
        Outcome::Declined { .. } | Outcome::Closed => reverse("Declined").await?,
        Outcome::NotSent { why } => {
            tracing::info!(refund_id = %refund.refund_id, why, "refund not sent");
            reverse("ChannelUnavailable").await?;
        }
        Outcome::Processing { network_id, action: _ } => {
            let id = network_id.unwrap_or_default();
            patience.keep(|| gateway.store.note_refund(refund.refund_id, &id)).await?;
            return Ok(false);
        }
        Outcome::Unknown { why } => {
            tracing::info!(refund_id = %refund.refund_id, why, "outcome unknown");
            return Ok(false);
        }
    }
    Ok(true)
}

/// Gives the debit back, since the network has not paid and never will.
async fn reverse(
    gateway: &Gateway,
    order: &Order,
    refund: &Refund,
    (trace, patience): (Trace, Patience),
) -> Result<bool, SettleError> {
    let reversal = post(gateway, order, refund, postings::refund_reversal, (trace, patience)).await?;
    patience.keep(|| gateway.store.fail_refund(refund, None, Some(reversal))).await?;
    Ok(true)
}

/// Posts for a refund under its identity. The config epoch is stored with the
/// refund before it is posted, so whoever goes on posts the same.
async fn post(
    gateway: &Gateway,
    order: &Order,
    refund: &Refund,
    build: fn(&Order, &Refund) -> Result<PostRequest, BooksError>,
    (trace, patience): (Trace, Patience),
) -> Result<uuid::Uuid, SettleError> {
    let mut refund = refund.clone();
    let mut decisions = 1_u32;
    loop {
        let request = build(order, &refund).map_err(|source| SettleError::Owed { source })?;
        match gateway.books.post(&request, trace).await {
            Ok(transaction_id) => return Ok(transaction_id),
            Err(BooksError::Stale { epoch_min }) if decisions < DECISIONS_MAX => {
                decisions = decisions.saturating_add(1);
                let newer = gateway.settings_from(epoch_min).await;
                let newer = newer.ok_or(SettleError::OldConfig { epoch_min })?;
                let epoch = newer.value.epoch_signed();
                let refund_id = refund.refund_id;
                refund = patience.keep(|| gateway.store.raise_refund_epoch(refund_id, epoch)).await?;
            }
            Err(BooksError::Away { .. }) if patience.outlasts(POST_AGAIN) => {
                tokio::time::sleep(POST_AGAIN).await;
            }
            Err(source) => return Err(SettleError::Owed { source }),
        }
    }
}
