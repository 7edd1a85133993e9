//! What the networks took, by their own record, beside orders and refunds.

use std::collections::HashMap;

use payplane_client::message::PaymentStatus::Succeeded;
use uuid::Uuid;

use super::super::end::{End, Order, Refund, Taken};
use super::{DOUBLED, Findings, MISSING, UNEXPLAINED, WRONG};

pub(super) fn judge(end: &End, findings: &mut Findings) {
    let orders: HashMap<Uuid, &Order> = end.orders.values().map(|order| (order.order_id, order)).collect();
    let attempts: HashMap<Uuid, Uuid> = end.attempts.iter().map(|a| (a.attempt_id, a.order_id)).collect();
    let refunds: HashMap<Uuid, &Refund> =
        end.refunds.iter().map(|refund| (refund.refund_id, refund)).collect();
    let (mut paid, mut repaid): (HashMap<Uuid, u32>, HashMap<Uuid, u32>) = Default::default();
    let is_surplus = |taken: &Taken| {
        end.surpluses.iter().any(|one| [one.attempt_id, one.refund_id].contains(&taken.number))
    };
    let succeeded = end.taken.iter().filter(|taken| taken.state == "Succeeded");
    for taken in succeeded.filter(|taken| !is_surplus(taken)) {
        if taken.kind == "Refund" {
            let Some(refund) = refunds.get(&taken.number) else {
                findings.note(UNEXPLAINED, true, || format!("nobody's refund: {taken:?}"));
                continue;
            };
            *repaid.entry(refund.refund_id).or_default() += 1;
            let is_wrong = refund.status != "Succeeded" || refund.amount_minor != taken.amount_minor;
            findings.note(WRONG, is_wrong, || format!("{taken:?} is {refund:?}"));
        } else {
            let order = attempts.get(&taken.number).and_then(|order_id| orders.get(order_id));
            let Some(order) = order else {
                findings.note(UNEXPLAINED, true, || format!("nobody's payment: {taken:?}"));
                continue;
            };
            *paid.entry(order.order_id).or_default() += 1;
            let is_wrong = order.status != Succeeded || order.amount_minor != taken.amount_minor;
            findings.note(WRONG, is_wrong, || format!("{taken:?} is {order:?}"));
        }
    }
    for order in end.orders.values() {
        let times = paid.get(&order.order_id).copied().unwrap_or(0);
        findings.note(DOUBLED, times > 1, || format!("paid {times} times: {order:?}"));
        let is_missing = order.status == Succeeded && times == 0;
        findings.note(MISSING, is_missing, || format!("no network took {order:?}"));
    }
    for refund in &end.refunds {
        let times = repaid.get(&refund.refund_id).copied().unwrap_or(0);
        findings.note(DOUBLED, times > 1, || format!("repaid {times} times: {refund:?}"));
        let is_missing = refund.status == "Succeeded" && times == 0;
        findings.note(MISSING, is_missing, || format!("no network repaid {refund:?}"));
    }
    refunds_within_payments(end, &orders, findings);
    numbers_are_used_once(&end.taken, findings);
}

fn refunds_within_payments(end: &End, orders: &HashMap<Uuid, &Order>, findings: &mut Findings) {
    let (mut done, mut held): (HashMap<Uuid, i64>, HashMap<Uuid, i64>) = Default::default();
    for refund in &end.refunds {
        let of =
            |sums: &mut HashMap<Uuid, i64>| *sums.entry(refund.order_id).or_default() += refund.amount_minor;
        if refund.status == "Succeeded" {
            of(&mut done);
        }
        if refund.status != "Failed" {
            of(&mut held);
        }
    }
    for (order_id, order) in orders {
        let sum = |of: &HashMap<Uuid, i64>| of.get(order_id).copied().unwrap_or(0);
        let same = (sum(&done), sum(&held)) == (order.refunded_minor, order.refund_reserved_minor);
        let is_within = sum(&held) <= order.amount_minor;
        findings.note(WRONG, !(same && is_within), || format!("its refunds do not add up: {order:?}"));
    }
}

/// A number means one request of one network, which is sent once.
fn numbers_are_used_once(taken: &[Taken], findings: &mut Findings) {
    let mut numbers: HashMap<Uuid, u32> = HashMap::new();
    for one in taken {
        *numbers.entry(one.number).or_default() += 1;
        // One that comes after its number was closed is not sent again.
        let is_again = one.repeated > 0 && one.kind != "Close";
        findings.note(DOUBLED, is_again, || format!("sent more than once: {one:?}"));
    }
    for (number, times) in numbers.into_iter().filter(|(_, times)| *times > 1) {
        findings.note(DOUBLED, true, || format!("number {number} was used {times} times"));
    }
}
