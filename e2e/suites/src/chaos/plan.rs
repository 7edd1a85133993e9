//! What a caller asks for next.

use payplane_api::ledger::v1::{AccountSpec, Direction, Entry, Identity, PostRequest};

use super::record::{Answered, Sent};
use crate::random::Random;

/// So few that callers meet at the same floor.
pub(super) const MERCHANTS: usize = 8;
const CLEARING: &str = "channel:chaos:receivable";
const CURRENCY: &str = "CNY";
/// Sales and holds that are remembered, to be refunded, captured, voided.
const KEPT: usize = 64;

/// A caller's own sales and holds, with what may still be taken of them.
#[derive(Default)]
pub(super) struct Plan {
    sales: Vec<Sent>,
    holds: Vec<Sent>,
}

impl Plan {
    pub(super) fn next(&mut self, key: String, random: &mut Random) -> Sent {
        let (sale, hold) = (!self.sales.is_empty(), !self.holds.is_empty());
        let merchant = usize::try_from(random.between(0, MERCHANTS as u64 - 1)).unwrap_or(0);
        let amount = |random: &mut Random, most: i64| {
            i64::try_from(random.between(1, most.unsigned_abs().max(1))).unwrap_or(1)
        };
        match random.between(0, 99) {
            // Large enough that the floor is met.
            0..15 => sent(key, "payout", merchant, amount(random, 3_000), None),
            15..30 => sent(key, "hold", merchant, amount(random, 300), None),
            30..40 if hold => {
                let hold = &self.holds[self.holds.len() - 1];
                let part = amount(random, hold.amount_minor);
                sent(key, "capture", hold.merchant, part, Some(&hold.key))
            }
            40..45 if hold => {
                let hold = &self.holds[self.holds.len() - 1];
                sent(key, "void", hold.merchant, hold.amount_minor, Some(&hold.key))
            }
            45..60 if sale => {
                let sale = &self.sales[self.sales.len() - 1];
                sent(key, "refund", sale.merchant, amount(random, sale.amount_minor), Some(&sale.key))
            }
            _ => sent(key, "sale", merchant, amount(random, 1_000), None),
        }
    }

    /// What an answer leaves to be taken.
    pub(super) fn learn(&mut self, sent: &Sent, answered: &Answered) {
        if answered.refusal.is_some() {
            return;
        }
        let lists = [("sale", &mut self.sales), ("hold", &mut self.holds)];
        for (kind, list) in lists {
            if sent.kind == kind {
                list.push(sent.clone());
                list.drain(..list.len().saturating_sub(KEPT));
            }
            for one in list.iter_mut().filter(|one| Some(&one.key) == sent.original.as_ref()) {
                one.amount_minor -= sent.amount_minor;
            }
            list.retain(|one| one.amount_minor > 0);
        }
    }
}

fn sent(key: String, kind: &str, merchant: usize, amount_minor: i64, original: Option<&String>) -> Sent {
    Sent { key, kind: kind.to_owned(), merchant, amount_minor, original: original.cloned() }
}

pub(super) fn account(merchant: usize) -> String {
    format!("merchant:chaos{merchant}:pending")
}

/// Every account that is posted to.
pub(super) fn accounts() -> Vec<AccountSpec> {
    let spec = |code: String, side: Direction, has_floor| AccountSpec {
        code,
        currency: CURRENCY.into(),
        normal_side: side.into(),
        has_floor,
        ..AccountSpec::default()
    };
    let merchants = (0..MERCHANTS).map(|n| spec(account(n), Direction::Credit, true));
    merchants.chain([spec(CLEARING.into(), Direction::Debit, false)]).collect()
}

/// The same request each time: only the config epoch may rise.
pub(super) fn request(sent: &Sent, date: &str, config_epoch: u64) -> PostRequest {
    let entry = |account: &str, direction: Direction| Entry {
        account: account.to_owned(),
        direction: direction.into(),
        amount_minor: sent.amount_minor,
        currency: CURRENCY.into(),
    };
    let merchant = account(sent.merchant);
    let entries = match sent.kind.as_str() {
        "sale" => vec![entry(CLEARING, Direction::Debit), entry(&merchant, Direction::Credit)],
        "hold" => vec![entry(&merchant, Direction::Debit)],
        "void" => vec![],
        _ => vec![entry(&merchant, Direction::Debit), entry(CLEARING, Direction::Credit)],
    };
    let identity = |key: &String| Identity { key_date: date.to_owned(), key: key.clone() };
    PostRequest {
        identity: Some(identity(&sent.key)),
        kind: sent.kind.clone(),
        entries,
        effective_time: format!("{date}T04:00:00Z"),
        original: sent.original.as_ref().map(identity),
        config_epoch,
        ..PostRequest::default()
    }
}
