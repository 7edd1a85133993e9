//! What callers asked for and were told, fsynced outside of the system under test.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use serde::{Deserialize, Serialize};

/// On disk before the first request of it leaves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sent {
    pub key: String,
    pub kind: String,
    pub merchant: usize,
    /// Of a void: what is still held.
    pub amount_minor: i64,
    /// The key of the sale that is refunded, or of the hold that is captured or voided.
    pub original: Option<String>,
}

/// On disk before the answer counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Answered {
    pub key: String,
    /// Unless it was refused.
    pub transaction_id: Option<String>,
    /// It had been booked by a request that ended unknown.
    pub replayed: bool,
    pub refusal: Option<String>,
    /// The answer lies before that place in the write-ahead log.
    pub timeline: u32,
    pub wal_position: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    Sent(Sent),
    Answered(Answered),
}

/// The whole record of a run.
pub struct Record {
    pub answered: BTreeMap<String, (Sent, Answered)>,
    /// Asked for, and not known to the end what became of it.
    pub open: Vec<Sent>,
}

impl Record {
    /// Reads it from its file.
    ///
    /// # Panics
    /// Where it is not whole: an answer without its request, a key asked for twice.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("the record is there");
        let (mut sent, mut answered) = (HashMap::new(), BTreeMap::new());
        for line in text.lines() {
            match serde_json::from_str(line).expect("the record's lines are whole") {
                Line::Sent(one) => {
                    assert!(sent.insert(one.key.clone(), one).is_none(), "asked for twice: {line}");
                }
                Line::Answered(one) => {
                    let asked = sent.remove(&one.key).expect("it was asked for, and answered once");
                    answered.insert(one.key.clone(), (asked, one));
                }
            }
        }
        Self { answered, open: sent.into_values().collect() }
    }

    /// What each merchant has, and how much of that is held, as the answers say.
    #[must_use]
    pub fn balances(&self) -> BTreeMap<usize, (i64, i64)> {
        let mut balances: BTreeMap<usize, (i64, i64)> = BTreeMap::new();
        for (sent, answered) in self.answered.values() {
            let (posted, held) = balances.entry(sent.merchant).or_default();
            if answered.refusal.is_some() {
                continue;
            }
            match sent.kind.as_str() {
                "sale" => *posted += sent.amount_minor,
                "hold" => *held += sent.amount_minor,
                "void" => *held -= sent.amount_minor,
                "capture" => {
                    *posted -= sent.amount_minor;
                    *held -= sent.amount_minor;
                }
                _ => *posted -= sent.amount_minor,
            }
        }
        balances
    }
}
