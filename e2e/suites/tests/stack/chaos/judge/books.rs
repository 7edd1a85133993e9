//! What the books have beside orders and refunds, to the cent.

use std::collections::{BTreeMap, HashMap};

use payplane_client::message::PaymentStatus::Succeeded;
use uuid::Uuid;

use super::super::config::BASIS_POINTS;
use super::super::end::{Booked, End, Lines};
use super::super::stage::MERCHANT;
use super::{DOUBLED, Findings, MISSING, UNEXPLAINED, WRONG};

const FEE: &str = "income:fee";
const SUSPENSE: &str = "suspense:long";

pub(super) fn judge(end: &End, findings: &mut Findings) {
    let due = due(end);
    let mut found: HashMap<&str, Vec<&Booked>> = HashMap::new();
    for booked in &end.booked {
        found.entry(booked.key.as_str()).or_default().push(booked);
    }
    let mut sums = Lines::new();
    for (key, (lines, id)) in &due {
        let booked = found.remove(key.as_str()).unwrap_or_default();
        findings.note(MISSING, booked.is_empty(), || format!("not booked: {key} {lines:?}"));
        findings.note(DOUBLED, booked.len() > 1, || format!("booked more than once: {booked:?}"));
        for one in booked {
            let is_other = one.lines != *lines || id.is_some_and(|id| id != one.transaction_id);
            findings.note(WRONG, is_other, || format!("{one:?} should be {lines:?} as {id:?}"));
        }
        for (account, minor) in lines {
            *sums.entry(account.clone()).or_default() += minor;
        }
    }
    for booked in found.into_values().flatten() {
        findings.note(UNEXPLAINED, true, || format!("for nothing: {booked:?}"));
    }
    balances(end, &sums, findings);
}

/// Every transaction that there must be: its key, its lines, and its id where one is stored.
fn due(end: &End) -> BTreeMap<String, (Lines, Option<Uuid>)> {
    let merchant = format!("merchant:{MERCHANT}:pending");
    let mut due = BTreeMap::new();
    for order in end.orders.values().filter(|order| order.status == Succeeded) {
        let channel = order.channel.as_deref().unwrap_or_default();
        // Half a cent and more is rounded up.
        let fee = (order.amount_minor * BASIS_POINTS + 5_000) / 10_000;
        let lines = [
            (receivable(channel), order.amount_minor),
            (merchant.clone(), fee - order.amount_minor),
            (FEE.to_owned(), -fee),
        ];
        let lines = lines.into_iter().filter(|(_, minor)| *minor != 0).collect();
        due.insert(format!("sale:{}", order.order_id), (lines, order.ledger_transaction_id));
    }
    for refund in &end.refunds {
        // Refused by the books, or not asked of them yet.
        let Some(id) = refund.ledger_transaction_id else { continue };
        let amount = refund.amount_minor;
        let lines =
            |minor: i64| Lines::from([(receivable(&refund.channel), -minor), (merchant.clone(), minor)]);
        due.insert(format!("refund:{}", refund.refund_id), (lines(amount), Some(id)));
        if refund.status == "Failed" {
            due.insert(format!("refund-reversal:{}", refund.refund_id), (lines(-amount), None));
        }
    }
    for surplus in &end.surpluses {
        let lines =
            |minor: i64| Lines::from([(receivable(&surplus.channel), minor), (SUSPENSE.to_owned(), -minor)]);
        let mut must = |event: &str, minor: i64, id: Option<Uuid>| {
            if id.is_some() {
                due.insert(format!("{event}:{}", surplus.attempt_id), (lines(minor), id));
            }
        };
        must("surplus", surplus.amount_minor, surplus.suspense_transaction_id);
        must("surplus-refund", -surplus.amount_minor, surplus.refund_transaction_id);
    }
    due
}

fn receivable(channel: &str) -> String {
    format!("channel:{channel}:receivable")
}

/// Debits equal credits, and each account has what was posted to it.
fn balances(end: &End, sums: &Lines, findings: &mut Findings) {
    findings.note(WRONG, end.balance["balanced"] != true, || format!("{}", end.balance));
    let lines = end.balance["lines"].as_array().cloned().unwrap_or_default();
    let minor = |line: &serde_json::Value, side: &str| line[side].as_i64().unwrap_or(0);
    let mut said = Lines::new();
    for line in &lines {
        let account = line["account"].as_str().unwrap_or_default().to_owned();
        *said.entry(account).or_default() += minor(line, "debitMinor") - minor(line, "creditMinor");
    }
    for (account, sum) in sums {
        let has = said.get(account).copied().unwrap_or(0);
        findings.note(WRONG, has != *sum, || format!("{account} has {has}, and should have {sum}"));
    }
    let more = said.keys().find(|account| !sums.contains_key(*account) && said.get(*account) != Some(&0));
    findings.note(UNEXPLAINED, more.is_some(), || format!("an account that nobody posted to: {more:?}"));
}
