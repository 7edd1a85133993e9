//! A refund is asked for: it is reserved on its order's row, and then goes its way as all
//! that goes out. Where the payment's network gives nothing back any more, it is transferred
//! to an account, as a payout is.

use std::sync::Arc;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::api::problem::{Code, Problem};
use crate::api::wire::RefundRequest;
use crate::data_key::RequestHash;
use crate::gateway::{Caller, Gateway};
use crate::outgoing::{self, Outgoing, Turn};
use crate::pay::{nonce_used, refused};
use crate::route;
use crate::settle;
use crate::store::orders::Order;
use crate::store::refunds::{CreatedRefund, NewRefund, Refund, Transfer};
use crate::vault::Secret;

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
    let (refund_id, hash) = (Uuid::now_v7(), gateway.data_keys.request_hash(request.hash()));
    let known = || gateway.store.find_refund(&order, request.refund_number.as_str());
    if request.payee.is_some()
        && let Some(known) = caller.patience.keep(known).await?
    {
        // Before the vault is asked, which may be away.
        return same_refund(known, &hash);
    }
    let transfer = match way(gateway, caller, (&order, request), refund_id).await {
        Ok(transfer) => transfer,
        Err(refusal) => {
            // What was accepted before stays accepted.
            return same_refund(caller.patience.keep(known).await?.ok_or(refusal)?, &hash);
        }
    };
    let new = new_refund(gateway, (&order, request), (refund_id, hash), transfer);
    let created = caller.patience.keep(|| gateway.store.create_refund(&new, &caller.nonce)).await?;
    if new.transfer.is_some() && !matches!(created, CreatedRefund::New(_)) {
        gateway.forget(Secret::Payee, refund_id);
    }
    let refund = match created {
        CreatedRefund::New(refund) => *refund,
        CreatedRefund::Known(refund) => return same_refund(*refund, &new.request_hash),
        CreatedRefund::NonceUsed => return Err(nonce_used()),
        CreatedRefund::AppNotActive(state) => {
            return Err(Problem::new(Code::AppNotActive, format!("app {} is {state}", caller.app())));
        }
        CreatedRefund::Refused(why) => return Err(refused(why, (caller.app(), &order.merchant_id), None)),
        CreatedRefund::Exceeds { left_minor } => {
            let detail = format!("{left_minor} minor units of this order can still be refunded");
            return Err(Problem::new(Code::RefundExceedsPayment, detail));
        }
    };
    tracing::info!(%refund_id, order_id = %order.order_id, "refund created");
    let (work, trace, patience) = (gateway.clone(), caller.trace, caller.patience);
    let span = tracing::info_span!("refund", %refund_id);
    let outgoing = Outgoing::refund(order, refund);
    let rest = async move { outgoing::advance(&work, outgoing, (trace, patience), Turn::First).await };
    let _ = settle::work_for(gateway, caller, (refund_id, span), rest).await;
    let refund = caller.patience.keep(|| gateway.store.refund(refund_id)).await?;
    Ok(Refunded { refund, is_new: true })
}

/// Over which channel it is transferred; none where the payment's network gives it back.
async fn way(
    gateway: &Gateway,
    caller: &Caller,
    (order, request): (&Order, &RefundRequest),
    refund_id: Uuid,
) -> Result<Option<Transfer>, Problem> {
    let settings = &gateway.settings().value;
    // One that was not paid is refused where its row is read.
    let Some(name) = order.channel.as_deref() else { return Ok(None) };
    let Some(channel) = settings.channel(name) else {
        let detail = format!("channel {name}, which took the payment, is not configured any more");
        return Err(Problem::new(Code::NoChannel, detail));
    };
    let Some(days) = channel.refund_days else { return Ok(None) };
    let made = settings.calendar.date(order.created_at);
    let is_over = is_over(days, made, settings.calendar.date(Timestamp::now()));
    if order.is_top_up() {
        // A wallet's money goes back the way it came, or stays.
        let detail = format!("channel {name} gives nothing back any more, and a top-up is not transferred");
        return if is_over { Err(Problem::new(Code::NoChannel, detail)) } else { Ok(None) };
    }
    let Some(payee) = &request.payee else {
        let late = if days == 0 { String::new() } else { format!(" later than {days} days after a payment") };
        let why = format!("is required: channel {name} gives nothing back{late}");
        return if is_over { Err(Problem::field("payeeAccount", why)) } else { Ok(None) };
    };
    let declined = || gateway.store.has_declined_refund(order.order_id);
    if !is_over && !caller.patience.keep(declined).await? {
        return Ok(None);
    }
    let amount = settle::money(refund_id, request.amount_minor, &order.currency);
    let amount = amount.map_err(|error| Problem::new(Code::Internal, error.to_string()))?;
    let chosen = route::payout::choose(settings, &gateway.breakers, (&order.merchant_id, amount));
    let why = |why| Problem::new(Code::NoChannel, format!("no channel transfers this refund: {why}"));
    let channel = chosen.map_err(why)?.name.clone();
    let merchant_id = order.merchant_id.clone();
    let payee = payee.keep(gateway, refund_id, caller.patience).await?;
    Ok(Some(Transfer { merchant_id, channel, payee }))
}

/// Is it too late for the network? One that gives nothing back has 0 days.
fn is_over(days: u16, made: Date, today: Date) -> bool {
    days == 0 || today.duration_since(made) > SignedDuration::from_hours(24_i64.saturating_mul(days.into()))
}

/// A known refund answers the same request; another one is refused.
fn same_refund(refund: Refund, hash: &RequestHash) -> Result<Refunded, Problem> {
    if !hash.is_of(&refund.request_hash) {
        let detail = format!("refund {} was another request", refund.refund_number);
        return Err(Problem::new(Code::OrderConflict, detail));
    }
    Ok(Refunded { refund, is_new: false })
}

fn new_refund(
    gateway: &Gateway,
    (order, request): (&Order, &RefundRequest),
    (refund_id, request_hash): (Uuid, RequestHash),
    transfer: Option<Transfer>,
) -> NewRefund {
    let settings = gateway.settings();
    let now = Timestamp::now();
    NewRefund {
        refund_id,
        order_id: order.order_id,
        refund_number: request.refund_number.to_string(),
        request_hash,
        amount_minor: request.amount_minor,
        reason: request.reason.clone(),
        transfer,
        stored_date: settings.value.calendar.date(now),
        config_epoch: settings.value.epoch_signed(),
        created_at: now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_gives_back_up_to_its_last_day() {
        let made = Date::constant(2026, 1, 31);
        for (days, today, is_late) in [
            (0, made, true),
            (1, Date::constant(2026, 2, 1), false),
            (1, Date::constant(2026, 2, 2), true),
            (180, Date::constant(2026, 7, 30), false),
            (180, Date::constant(2026, 7, 31), true),
            (180, Date::constant(2026, 1, 30), false),
        ] {
            assert_eq!(is_over(days, made, today), is_late, "{days} days, on {today}");
        }
    }
}
