//! What happened so far.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// How a request ended that had ended unknown before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unknown {
    /// It had been booked.
    Booked,
    NotBooked,
    /// Refusals are kept: nobody can tell which of the calls it was.
    Refused,
}

/// Of all callers together.
#[derive(Debug)]
pub struct Counts {
    since: Instant,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    unknown_booked: AtomicU64,
    unknown_not: AtomicU64,
    /// By ledger.
    in_flight: Vec<AtomicU64>,
    seconds: Mutex<BTreeSet<u64>>,
}

impl Counts {
    pub(super) fn new(ledgers: usize) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            since: Instant::now(),
            acknowledged: zero(),
            refused: zero(),
            unknown_booked: zero(),
            unknown_not: zero(),
            in_flight: (0..ledgers).map(|_| zero()).collect(),
            seconds: Mutex::default(),
        }
    }

    pub(super) fn left(&self, ledger: usize) {
        self.in_flight[ledger].fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn ended(&self, ledger: usize) {
        self.in_flight[ledger].fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn answered(&self, refused: bool, unknown: Option<Unknown>) {
        self.acknowledged.fetch_add(1, Ordering::AcqRel);
        self.refused.fetch_add(u64::from(refused), Ordering::AcqRel);
        let second = self.since.elapsed().as_secs();
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner).insert(second);
        match unknown {
            Some(Unknown::Booked) => self.unknown_booked.fetch_add(1, Ordering::AcqRel),
            Some(Unknown::NotBooked) => self.unknown_not.fetch_add(1, Ordering::AcqRel),
            Some(Unknown::Refused) | None => 0,
        };
    }

    /// Requests that were answered with a decision.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Acquire)
    }

    /// Those of them that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Acquire)
    }

    /// Requests that have left to one of the ledgers, or to any, and are not answered.
    #[must_use]
    pub fn in_flight(&self, ledger: Option<usize>) -> u64 {
        let of = |n: &AtomicU64| n.load(Ordering::Acquire);
        ledger.map_or_else(|| self.in_flight.iter().map(of).sum(), |n| of(&self.in_flight[n]))
    }

    /// Requests that ended unknown: those that had been booked, and those that had not.
    #[must_use]
    pub fn unknown(&self) -> (u64, u64) {
        (self.unknown_booked.load(Ordering::Acquire), self.unknown_not.load(Ordering::Acquire))
    }

    /// The share of all seconds so far in which something was acknowledged.
    #[must_use]
    pub fn busy(&self) -> f64 {
        let seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        seconds.len() as f64 / self.since.elapsed().as_secs_f64().max(1.0)
    }
}
