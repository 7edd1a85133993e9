//! A run's payments, counted: one counts only when success was said, it stands in the
//! books, and its notification reached the merchant and verified.

use std::collections::HashMap;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::plan::number;
use super::slots::{Run, Said};
use crate::pace::{self, histogram};
use crate::report::{figure, precise, say};

/// A notification that comes later is late.
const NOTIFIED_US: u64 = 5_000_000;
/// Within which the slowest of a hundred is answered.
pub(super) const P99_MS: f64 = 200.0;
/// Seconds that are told of.
const SLOWEST: usize = 8;
/// What stands for an answer that never came, in microseconds.
const NEVER: u64 = 60_000_000;

pub(super) struct Outcome {
    pub(super) sent: u64,
    pub(super) completed: u64,
    pub(super) refused: u64,
    /// Refused, and yet in the books: the merchant was told to come again.
    pub(super) refused_yet_paid: u64,
    pub(super) late_notifications: u64,
    /// From the intended moment, of all that were not refused.
    pub(super) accepted_us: Histogram<u64>,
    pub(super) refusal_us: Histogram<u64>,
    /// By how much the client itself was late.
    pub(super) sending_us: Histogram<u64>,
    pub(super) notify_us: Histogram<u64>,
    /// `accepted_us` by the second in which a payment was to be sent.
    by_second: Vec<Histogram<u64>>,
}

impl Outcome {
    pub(super) fn count(run: &Run, posted: &HashMap<String, i64>) -> Result<Self> {
        let [accepted_us, refusal_us, sending_us, notify_us] =
            [histogram()?, histogram()?, histogram()?, histogram()?];
        let [sent, completed, refused, refused_yet_paid, late_notifications] = [0; 5];
        let mut all = Self {
            sent,
            completed,
            refused,
            refused_yet_paid,
            late_notifications,
            accepted_us,
            refusal_us,
            sending_us,
            notify_us,
            by_second: vec![],
        };
        for (n, slot) in run.slots.iter().enumerate() {
            let (due, is_posted) = (run.due_us(n), posted.contains_key(&number(&run.name, n)));
            let since = |at: Option<u64>| at.map_or(NEVER, |at| at.saturating_sub(due).max(1));
            all.sent += u64::from(slot.sent_us().is_some());
            all.sending_us.saturating_record(since(slot.sent_us()));
            if slot.notified_us().is_some() {
                all.notify_us.saturating_record(slot.lag_us().max(1));
                all.late_notifications += u64::from(slot.lag_us() > NOTIFIED_US);
            }
            if slot.said() == Said::Refused {
                all.refused += 1;
                all.refused_yet_paid += u64::from(is_posted);
                all.refusal_us.saturating_record(since(slot.answered_us()));
                continue;
            }
            all.accepted_us.saturating_record(since(slot.succeeded_us()));
            let second = usize::try_from(due / 1_000_000)?;
            while all.by_second.len() <= second {
                all.by_second.push(histogram()?);
            }
            all.by_second[second].saturating_record(since(slot.succeeded_us()));
            let complete = slot.succeeded_us().is_some() && slot.notified_us().is_some() && is_posted;
            all.completed += u64::from(complete);
        }
        Ok(all)
    }

    /// Those seconds in which the slowest were, to be laid beside logs.
    fn print_slowest(&self, what: &str) {
        let p99 = |of: &Histogram<u64>| pace::ms(of, 0.99).round();
        let mut seconds: Vec<_> = self.by_second.iter().map(p99).enumerate().collect();
        seconds.sort_by(|one, other| other.1.total_cmp(&one.1));
        seconds.truncate(SLOWEST);
        seconds.sort_by_key(|(second, _)| *second);
        let told = seconds.iter().map(|(second, ms)| format!("{second} s: {ms} ms"));
        say(&format!("{what}: slowest by second, p99: {}", told.collect::<Vec<_>>().join(", ")));
    }

    /// Neither completed nor refused.
    pub(super) fn failed(&self) -> u64 {
        self.sent - self.completed - self.refused
    }

    pub(super) fn p99_ms(&self) -> f64 {
        pace::ms(&self.accepted_us, 0.99)
    }

    /// Completed in a second of the load.
    pub(super) fn tps(&self, seconds: u64) -> f64 {
        precise(self.completed) / precise(seconds.max(1))
    }

    /// No payment was refused or failed, and the answers were in time.
    pub(super) fn is_good(&self) -> bool {
        self.completed == self.sent && self.p99_ms() <= P99_MS && self.late_notifications == 0
    }

    pub(super) fn print(&self, what: &str, run: &Run) {
        say(&format!(
            "{what} at {}/s for {} s: sent {}, completed {}, refused {}, failed {}, {:?}",
            run.load.rate,
            run.load.seconds,
            self.sent,
            self.completed,
            self.refused,
            self.failed(),
            run.words()
        ));
        self.print_slowest(what);
        for (name, of) in [
            ("latency", &self.accepted_us),
            ("refusal", &self.refusal_us),
            ("client_late", &self.sending_us),
            ("notify_lag", &self.notify_us),
        ] {
            if of.is_empty() {
                continue;
            }
            for (quantile, label) in [(0.5, "p50"), (0.99, "p99"), (1.0, "max")] {
                figure(&format!("gateway_{name}_{label}({what})"), pace::ms(of, quantile), "ms");
            }
        }
    }
}
