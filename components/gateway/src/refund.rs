//! A refund is asked for: it is reserved on its order's row, and then goes its way as all
//! that goes out.

use std::sync::Arc;

use jiff::Timestamp;

use crate::api::problem::{Code, Problem};
use crate::api::wire::RefundRequest;
use crate::gateway::{Caller, Gateway};
use crate::outgoing::{self, Outgoing, Turn};
use crate::pay::nonce_used;
use crate::settle;
use crate::store::orders::Order;
use crate::store::refunds::{CreatedRefund, NewRefund, Refund};

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
    let outgoing = Outgoing::refund(order, refund);
    let rest = async move { outgoing::advance(&work, outgoing, (trace, patience), Turn::First).await };
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
