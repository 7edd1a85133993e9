//! The record of a run: JSON lines, one when a request leaves, one at its
//! outcome, one more where an open outcome was settled by asking. It is the
//! outside truth that books are compared with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use snafu::{OptionExt, ResultExt, Snafu};

use crate::print;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Pay,
    Refund,
}

/// What became of a request, as far as the client knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Outcome {
    Succeeded,
    Failed,
    /// Taken, not decided yet.
    Processing,
    /// Refused: nothing happened.
    Refused,
    /// No answer, or none that decides.
    Unknown,
    /// Asked afterwards, again and again: the gateway knows no such order.
    Absent,
}

impl Outcome {
    /// Must it still be asked for?
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Processing | Self::Unknown)
    }
}

/// The head of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    pub seed: u64,
    pub rate: u64,
    pub started_at: Timestamp,
    pub gateways: Vec<String>,
}

/// Written, and on disk, before the request leaves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sent {
    pub id: u64,
    pub kind: Kind,
    pub order_date: Date,
    pub order_number: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_number: Option<String>,
    pub merchant_id: String,
    pub method: String,
    pub amount_minor: i64,
    pub currency: String,
    pub intended_at: Timestamp,
    pub sent_at: Timestamp,
}

/// Written, and on disk, before the outcome counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    pub id: u64,
    pub answered_at: Timestamp,
    /// From the intended time on.
    pub latency_micros: u64,
    pub outcome: Outcome,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// The gateway's id of the order or refund.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fee_minor: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_epoch: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_hash: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ledger_transaction_id: Option<String>,
}

/// A line of the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event")]
pub enum Line {
    Run(Run),
    Sent(Sent),
    Answered(Answered),
    Settled(Answered),
}

/// One request, from leaving to its last known outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub sent: Sent,
    pub answered: Option<Answered>,
    pub settled: Option<Answered>,
}

impl Entry {
    /// The last word on it.
    #[must_use]
    pub fn last(&self) -> Option<&Answered> {
        self.settled.as_ref().or(self.answered.as_ref())
    }

    /// The last known outcome; a request that was cut off is unknown.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.last().map_or(Outcome::Unknown, |answered| answered.outcome)
    }

    /// Was success told at once? What was acknowledged must be in the books.
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.answered.as_ref().is_some_and(|answered| answered.outcome == Outcome::Succeeded)
    }
}

/// A whole record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    pub run: Option<Run>,
    /// By id, which is the order of the intended times.
    pub entries: BTreeMap<u64, Entry>,
}

#[derive(Debug, Snafu)]
pub enum RecordError {
    #[snafu(display("cannot read record {}", path.display()))]
    Read { path: PathBuf, source: std::io::Error },
    #[snafu(display("line {number} of the record cannot be read"))]
    Line { number: usize, source: serde_json::Error },
    #[snafu(display("line {number} of the record speaks of request {id}, which was never sent"))]
    Order { number: usize, id: u64 },
}

impl Record {
    /// Reads a record. A last line without its end was cut by a crash and is
    /// left out: nothing rests on it.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        let mut record = Self::default();
        for (at, line) in text.split_inclusive('\n').enumerate() {
            let number = at.saturating_add(1);
            let Some(line) = line.strip_suffix('\n') else { break };
            record.take(serde_json::from_str(line).context(LineSnafu { number })?, number)?;
        }
        Ok(record)
    }

    fn take(&mut self, line: Line, number: usize) -> Result<(), RecordError> {
        match line {
            Line::Run(run) => self.run = Some(run),
            Line::Sent(sent) => {
                self.entries.insert(sent.id, Entry { sent, answered: None, settled: None });
            }
            Line::Answered(answered) => {
                let entry = self.entry(answered.id, number)?;
                entry.answered = Some(answered);
            }
            Line::Settled(settled) => {
                let entry = self.entry(settled.id, number)?;
                entry.settled = Some(settled);
            }
        }
        Ok(())
    }

    fn entry(&mut self, id: u64, number: usize) -> Result<&mut Entry, RecordError> {
        self.entries.get_mut(&id).context(OrderSnafu { number, id })
    }
}

/// Prints a record's file as it is.
pub(super) fn dump(path: &Path) -> Result<(), RecordError> {
    let text = std::fs::read_to_string(path).context(ReadSnafu { path })?;
    print::line(text.trim_end());
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sent(id: u64) -> Line {
        let at = Timestamp::UNIX_EPOCH;
        Line::Sent(Sent {
            id,
            kind: Kind::Pay,
            order_date: Date::constant(2026, 11, 24),
            order_number: format!("o{id}"),
            refund_number: None,
            merchant_id: "M1".into(),
            method: "card".into(),
            amount_minor: 100,
            currency: "CNY".into(),
            intended_at: at,
            sent_at: at,
        })
    }

    fn answered(id: u64, outcome: Outcome) -> Answered {
        Answered {
            id,
            answered_at: Timestamp::UNIX_EPOCH,
            latency_micros: 1,
            outcome,
            why: None,
            gateway_id: None,
            fee_minor: Some(1),
            config_epoch: Some(2),
            config_hash: None,
            ledger_transaction_id: Some("t".into()),
        }
    }

    fn text(lines: &[Line]) -> String {
        lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
    }

    #[test]
    fn the_last_word_counts_and_the_first_tells_what_was_acknowledged() {
        let lines = [
            sent(0),
            sent(1),
            sent(2),
            Line::Answered(answered(1, Outcome::Unknown)),
            Line::Answered(answered(0, Outcome::Succeeded)),
            Line::Settled(answered(1, Outcome::Succeeded)),
        ];
        let record = Record::parse(&text(&lines)).unwrap();
        let outcomes: Vec<_> = record.entries.values().map(Entry::outcome).collect();
        assert_eq!(outcomes, [Outcome::Succeeded, Outcome::Succeeded, Outcome::Unknown]);
        assert!(record.entries[&0].is_acknowledged() && !record.entries[&1].is_acknowledged());
        let orphan = text(&[Line::Answered(answered(9, Outcome::Failed))]);
        assert!(matches!(Record::parse(&orphan), Err(RecordError::Order { id: 9, number: 1 })));
    }

    proptest! {
        #[test]
        fn a_record_cut_anywhere_reads_up_to_its_last_whole_line(share in 0.0..=1.0f64) {
            let lines = [sent(0), Line::Answered(answered(0, Outcome::Succeeded)), sent(1)];
            let whole = text(&lines);
            let cut = &whole[..(whole.len() as f64 * share) as usize];
            let record = Record::parse(cut).unwrap();
            prop_assert_eq!(record.entries.len(), match cut.matches('\n').count() { 0 => 0, 1 | 2 => 1, _ => 2 });
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,200}\n?") {
            let _ = Record::parse(&text);
        }
    }
}
