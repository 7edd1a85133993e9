//! What a network took and no order could have: it was given back, once and whole.

use std::collections::HashMap;

use payplane_client::message::PaymentStatus::Failed;
use uuid::Uuid;

use super::super::end::{End, Order, Surplus, Taken};
use super::super::plan::PAID_MORE;
use super::{DOUBLED, Findings, MISSING, WRONG};

pub(super) fn judge(end: &End, findings: &mut Findings) {
    let orders: HashMap<Uuid, &Order> = end.orders.values().map(|order| (order.order_id, order)).collect();
    for surplus in &end.surpluses {
        let order = orders.get(&surplus.order_id);
        // No order is paid twice here, or after its end.
        let is_right = order.is_some_and(|order| is_paid_more(order, surplus));
        findings.note(WRONG, !is_right, || format!("{surplus:?} of {order:?}"));
        let of = |number: Uuid| {
            let is_it = move |taken: &&Taken| taken.number == number;
            end.taken.iter().filter(is_it).filter(|taken| taken.state == "Succeeded")
        };
        let paid: Vec<_> = of(surplus.attempt_id).map(|taken| taken.amount_minor).collect();
        findings.note(WRONG, paid != [surplus.amount_minor], || format!("{paid:?} were taken: {surplus:?}"));
        let repaid: Vec<_> = of(surplus.refund_id).map(|taken| taken.amount_minor).collect();
        let is_repaid = surplus.status == "Refunded";
        findings.note(MISSING, is_repaid && repaid.is_empty(), || format!("not given back: {surplus:?}"));
        findings.note(DOUBLED, repaid.len() > 1, || format!("given back more than once: {surplus:?}"));
        let is_wrong = repaid.iter().any(|minor| *minor != surplus.amount_minor || !is_repaid);
        findings.note(WRONG, is_wrong, || format!("{repaid:?} were given back: {surplus:?}"));
    }
}

fn is_paid_more(order: &Order, surplus: &Surplus) -> bool {
    order.amount_minor % 10_000 == PAID_MORE
        && surplus.amount_minor == order.amount_minor + 1
        && surplus.reason == "OtherAmount"
        && (order.status, order.failure_code.as_deref()) == (Failed, Some("OtherAmount"))
}
