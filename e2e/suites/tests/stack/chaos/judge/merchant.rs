//! The merchant's record beside the orders, and what it was notified of.

use std::collections::{BTreeMap, HashMap, HashSet};

use payplane_client::message::{Payment, PaymentStatus, Refund};
use uuid::Uuid;

use super::super::end::{End, Order};
use super::super::record::{Call, Exchange, Said};
use super::{DOUBLED, Findings, MISSING, UNEXPLAINED, WRONG};

pub(super) fn judge(record: &[Exchange], end: &End, findings: &mut Findings) {
    let asked: HashMap<&str, &Exchange> =
        (record.iter().filter(|x| x.sent.call == Call::Pay)).map(|x| (x.sent.number.as_str(), x)).collect();
    for number in asked.keys() {
        findings.note(MISSING, !end.orders.contains_key(*number), || format!("no order {number}"));
    }
    for order in end.orders.values() {
        let sent = asked.get(order.order_number.as_str());
        findings.note(UNEXPLAINED, sent.is_none(), || format!("nobody asked for {order:?}"));
        let same = sent.is_none_or(|x| x.sent.amount_minor == order.amount_minor);
        findings.note(WRONG, !same, || format!("another amount was asked for than {order:?}"));
    }
    for exchange in record {
        answer(exchange, end, findings);
    }
    nothing_is_taken_back(record, findings);
    notifications(end, findings);
}

/// What was answered is what is stored.
fn answer(exchange: &Exchange, end: &End, findings: &mut Findings) {
    let (sent, Some((_, said))) = (&exchange.sent, &exchange.said) else { return };
    let order = end.orders.get(&sent.number);
    match said {
        Said::Payment { payment, .. } => {
            let is_odd = matches!(sent.call, Call::PayOtherwise | Call::PayAnew);
            findings.note(WRONG, is_odd, || format!("taken, and should not be: {exchange:?}"));
            let Some(order) = order else {
                return findings.note(MISSING, true, || format!("no order for {payment:?}"));
            };
            let kind = if payment.status == PaymentStatus::Succeeded { MISSING } else { WRONG };
            let is_kept = is_kept(payment, order);
            findings.note(kind, !is_kept, || format!("told {payment:?}, stored {order:?}"));
        }
        Said::Refund { refund, .. } => {
            let stored = order.and_then(|order| {
                let mut all = end.refunds.iter().filter(|stored| stored.order_id == order.order_id);
                all.find(|stored| stored.refund_number == refund.refund_number)
            });
            let is_kept = stored.is_some_and(|stored| is_refund_kept(refund, stored));
            let kind = if refund.status == PaymentStatus::Succeeded { MISSING } else { WRONG };
            findings.note(kind, !is_kept, || format!("told {refund:?}, stored {stored:?}"));
        }
        Said::Refused { status, code } => {
            let is_expected = match (sent.call, *status, code.as_str()) {
                (_, 503, "Overloaded") => true,
                (Call::PayOtherwise, 409, "OrderConflict") | (Call::PayAnew, 401, "ReplayedNonce") => true,
                (Call::Refund, 422, "RefundExceedsPayment" | "InsufficientBalance") => true,
                // What ended unknown may not be there.
                (Call::Query | Call::Close | Call::QueryRefund, 404, "NotFound") => true,
                _ => false,
            };
            findings.note(WRONG, !is_expected, || format!("refused: {exchange:?}"));
        }
        Said::NotSent | Said::Unknown { .. } => {}
    }
}

/// An end that was told is the one that is stored, and what it was told with.
fn is_kept(payment: &Payment, order: &Order) -> bool {
    let id = |text: &str| text.parse::<Uuid>().ok();
    let same = id(&payment.order_id) == Some(order.order_id) && payment.amount_minor == order.amount_minor;
    same && match payment.status {
        PaymentStatus::Processing => true,
        ended => {
            ended == order.status
                && payment.ledger_transaction_id.as_deref().and_then(id) == order.ledger_transaction_id
                && (&payment.channel, payment.fee_minor) == (&order.channel, order.fee_minor)
                && payment.failure_code == order.failure_code
        }
    }
}

fn is_refund_kept(refund: &Refund, stored: &super::super::end::Refund) -> bool {
    let id = |text: &str| text.parse::<Uuid>().ok();
    let same = id(&refund.refund_id) == Some(stored.refund_id) && refund.amount_minor == stored.amount_minor;
    same && match refund.status {
        PaymentStatus::Processing => true,
        PaymentStatus::Succeeded => stored.status == "Succeeded",
        PaymentStatus::Failed => stored.status == "Failed" && refund.failure_code == stored.failure_code,
    }
}

/// Whoever asks after an end was told is told the same end.
fn nothing_is_taken_back(record: &[Exchange], findings: &mut Findings) {
    let mut ends: BTreeMap<(&str, Option<&str>), (usize, PaymentStatus)> = BTreeMap::new();
    let name = |x: &Exchange| (x.sent.number.clone(), x.sent.refund.clone());
    for exchange in record {
        if let Some((at, said)) = exchange.said.as_ref().filter(|(_, said)| said.is_final())
            && let Some(status) = said.status()
        {
            let end =
                ends.entry((&exchange.sent.number, exchange.sent.refund.as_deref())).or_insert((*at, status));
            end.0 = end.0.min(*at);
        }
    }
    for exchange in record {
        let Some((_, said)) = &exchange.said else { continue };
        let (number, refund) = name(exchange);
        let end = ends.get(&(number.as_str(), refund.as_deref()));
        if let (Some((at, end)), Some(status)) = (end, said.status()) {
            let is_wrong = exchange.sent_at > *at && status != *end;
            findings.note(WRONG, is_wrong, || format!("{end:?} was told before {exchange:?}"));
        }
    }
}

/// Each end is told by one event, and nothing else is.
fn notifications(end: &End, findings: &mut Findings) {
    findings.note(WRONG, end.forged > 0, || format!("{} notifications did not verify", end.forged));
    let mut told = HashSet::new();
    for event in end.told.values() {
        let data = |name: &str| event.data[name].to_string();
        let names = [data("orderNumber"), data("refundNumber"), data("amountMinor"), data("status")];
        let said = format!("{} {}", event.kind, names.join(" "));
        let is_new = told.insert(said.clone());
        findings.note(DOUBLED, !is_new, || format!("two events tell {said}"));
    }
    let due = due(end);
    for missing in due.difference(&told) {
        findings.note(MISSING, true, || format!("nobody was told {missing}"));
    }
    for more in told.difference(&due) {
        findings.note(WRONG, true, || format!("told, and not so: {more}"));
    }
}

/// What the merchant must have been told.
fn due(end: &End) -> HashSet<String> {
    let mut due = HashSet::new();
    for Order { order_number, amount_minor, status, .. } in end.orders.values() {
        let kind = match status {
            PaymentStatus::Processing => continue,
            PaymentStatus::Succeeded => "payment.succeeded",
            PaymentStatus::Failed => "payment.failed",
        };
        due.insert(format!("{kind} \"{order_number}\" null {amount_minor} \"{status:?}\""));
    }
    let numbers: HashMap<Uuid, &String> =
        end.orders.values().map(|o| (o.order_id, &o.order_number)).collect();
    for surplus in end.surpluses.iter().filter(|surplus| surplus.status == "Refunded") {
        let (number, minor) = (&numbers[&surplus.order_id], surplus.amount_minor);
        due.insert(format!("payment.returned \"{number}\" null {minor} null"));
    }
    for refund in end.refunds.iter().filter(|refund| refund.is_final()) {
        let kind = if refund.status == "Succeeded" { "refund.succeeded" } else { "refund.failed" };
        let order = numbers.get(&refund.order_id).map_or("", |number| number.as_str());
        let (number, minor, status) = (&refund.refund_number, refund.amount_minor, &refund.status);
        due.insert(format!("{kind} \"{order}\" \"{number}\" {minor} \"{status}\""));
    }
    due
}
