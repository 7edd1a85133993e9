//! The record beside the books: what was told must be booked once and as told,
//! and nothing may be booked that the record does not know as a success.

use std::collections::{BTreeMap, BTreeSet};

use payplane_client::load::{Entry, Outcome, Record};

/// A transaction in the ledger, with the order and refund number that the
/// references lead to; empty where they lead nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    pub kind: String,
    pub order: String,
    pub refund: String,
    pub transaction_id: String,
    pub amount_minor: i64,
    pub fee_minor: i64,
    pub config_epoch: u64,
}

/// Everything that should not be; each names its requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Known as succeeded, and not in the books.
    pub missing: Vec<String>,
    /// Booked more than once.
    pub doubled: Vec<String>,
    /// Booked otherwise than told.
    pub wrong: Vec<String>,
    /// Booked, and not known as succeeded.
    pub unexplained: Vec<String>,
    /// Nobody knows what became of it.
    pub unresolved: Vec<String>,
}

type Key = (String, String);

fn key(entry: &Entry) -> Key {
    (entry.sent.order_number.clone(), entry.sent.refund_number.clone().unwrap_or_default())
}

/// Compares both ways. A refund that was reversed counts as not booked.
#[must_use]
pub fn compare(record: &Record, booked: &[Booked]) -> Differences {
    let mut found = Differences::default();
    let mut standing: BTreeMap<Key, Vec<&Booked>> = BTreeMap::new();
    for line in booked {
        let lines = standing.entry((line.order.clone(), line.refund.clone())).or_default();
        if line.kind == "reversal" {
            if lines.pop().is_none() {
                found.unexplained.push(format!("{line:?} reverses nothing"));
            }
        } else {
            lines.push(line);
        }
    }
    let mut known = BTreeSet::new();
    for entry in record.entries.values() {
        let key = key(entry);
        let lines = standing.get(&key).map_or(&[][..], Vec::as_slice);
        let name = format!("{}/{} {:?}", key.0, key.1, entry.outcome());
        match (entry.outcome(), lines) {
            (outcome, _) if outcome.is_open() => found.unresolved.push(name),
            (Outcome::Succeeded, []) => found.missing.push(name),
            (Outcome::Succeeded, [line]) => found.wrong.extend(wrong(entry, line, &name)),
            (_, []) => {}
            (_, [_]) => found.unexplained.push(name),
            (_, [_, _, ..]) => found.doubled.push(name),
        }
        known.insert(key);
    }
    for (key, lines) in standing.iter().filter(|(key, _)| !known.contains(*key)) {
        found.unexplained.extend(lines.iter().map(|line| format!("{}/{} {line:?}", key.0, key.1)));
    }
    found
}

fn wrong(entry: &Entry, line: &Booked, name: &str) -> Option<String> {
    let last = entry.last();
    let told = last.and_then(|last| last.ledger_transaction_id.as_deref());
    let fee = last.and_then(|last| last.fee_minor).unwrap_or_default();
    let kind = if entry.sent.refund_number.is_some() { "refund" } else { "sale" };
    let right = line.kind == kind
        && line.amount_minor == entry.sent.amount_minor
        && line.fee_minor == fee
        && told == Some(line.transaction_id.as_str());
    (!right).then(|| format!("{name}: told {told:?} {} fee {fee}, booked {line:?}", entry.sent.amount_minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(outcomes: &[(&str, Option<&str>)]) -> Record {
        let mut text = String::new();
        for (id, (outcome, settled)) in outcomes.iter().enumerate() {
            let answered = |event: &str, outcome: &str| {
                format!(
                    "{{\"event\":\"{event}\",\"id\":{id},\"answeredAt\":\"2026-11-24T00:00:01Z\",\"latencyMicros\":1,\
                     \"outcome\":\"{outcome}\",\"feeMinor\":1,\"ledgerTransactionId\":\"t{id}\"}}\n"
                )
            };
            text += &format!(
                "{{\"event\":\"Sent\",\"id\":{id},\"kind\":\"Pay\",\"orderDate\":\"2026-11-24\",\"orderNumber\":\"o{id}\",\
                 \"merchantId\":\"M1\",\"method\":\"card\",\"amountMinor\":100,\"currency\":\"CNY\",\
                 \"intendedAt\":\"2026-11-24T00:00:00Z\",\"sentAt\":\"2026-11-24T00:00:00Z\"}}\n"
            );
            text += &answered("Answered", outcome);
            text += &settled.map(|outcome| answered("Settled", outcome)).unwrap_or_default();
        }
        Record::parse(&text).unwrap()
    }

    fn sale(id: usize) -> Booked {
        Booked {
            kind: "sale".into(),
            order: format!("o{id}"),
            refund: String::new(),
            transaction_id: format!("t{id}"),
            amount_minor: 100,
            fee_minor: 1,
            config_epoch: 1,
        }
    }

    #[test]
    fn equal_is_equal() {
        let record =
            record(&[("Succeeded", None), ("Unknown", Some("Succeeded")), ("Unknown", Some("Absent"))]);
        assert_eq!(compare(&record, &[sale(0), sale(1)]), Differences::default());
    }

    #[test]
    fn every_planted_difference_is_found() {
        let record = record(&[("Succeeded", None), ("Failed", None), ("Unknown", None)]);
        let count = |booked: &[Booked]| {
            let f = compare(&record, booked);
            [&f.missing, &f.doubled, &f.wrong, &f.unexplained, &f.unresolved].map(Vec::len)
        };
        assert_eq!(count(&[sale(0)]), [0, 0, 0, 0, 1], "the last one is never resolved");
        assert_eq!(count(&[]), [1, 0, 0, 0, 1]);
        assert_eq!(count(&[sale(0), sale(0)]), [0, 1, 0, 0, 1]);
        assert_eq!(count(&[sale(0), sale(1)]), [0, 0, 0, 1, 1], "a failed payment that is booked");
        assert_eq!(count(&[sale(0), sale(7)]), [0, 0, 0, 1, 1], "one that was never sent");
        for bad in [
            Booked { amount_minor: 99, ..sale(0) },
            Booked { fee_minor: 2, ..sale(0) },
            Booked { transaction_id: "other".into(), ..sale(0) },
            Booked { kind: "refund".into(), ..sale(0) },
        ] {
            assert_eq!(count(&[bad]), [0, 0, 1, 0, 1]);
        }
        let back = Booked { kind: "reversal".into(), ..sale(0) };
        assert_eq!(count(&[sale(0), back.clone()]), [1, 0, 0, 0, 1], "reversed is not booked");
        assert_eq!(count(&[back, sale(0)]), [0, 0, 0, 1, 1], "a reversal of nothing");
    }
}
