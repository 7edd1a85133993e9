//! What happened so far.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::stage::REPLICAS;

/// Of the whole merchant.
pub(super) struct Counts {
    since: Instant,
    in_flight: [AtomicI64; REPLICAS],
    answered: AtomicU64,
    payments: AtomicU64,
    seconds: Mutex<BTreeSet<u64>>,
    /// Requests that ended unknown, and were asked again until it was known.
    unknown: Mutex<BTreeMap<&'static str, u64>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Counts {
    pub(super) fn new() -> Self {
        Self {
            since: Instant::now(),
            in_flight: Default::default(),
            answered: AtomicU64::new(0),
            payments: AtomicU64::new(0),
            seconds: Mutex::default(),
            unknown: Mutex::default(),
        }
    }

    pub(super) fn left(&self, gateway: usize) {
        self.in_flight[gateway].fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn ended(&self, gateway: usize, is_answer: bool) {
        self.in_flight[gateway].fetch_sub(1, Ordering::AcqRel);
        if is_answer {
            self.answered.fetch_add(1, Ordering::AcqRel);
            lock(&self.seconds).insert(self.since.elapsed().as_secs());
        }
    }

    pub(super) fn new_payment(&self) {
        self.payments.fetch_add(1, Ordering::AcqRel);
    }

    /// A request had ended unknown; the one after it says whether it was new.
    pub(super) fn resolved(&self, had_effect: bool) {
        *lock(&self.unknown).entry(if had_effect { "with" } else { "without" }).or_default() += 1;
    }

    /// Orders that were asked for.
    pub(super) fn payments(&self) -> u64 {
        self.payments.load(Ordering::Acquire)
    }

    pub(super) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Acquire)
    }

    /// Requests that have left to one of the gateways, or to any, and are not answered.
    pub(super) fn in_flight(&self, gateway: Option<usize>) -> i64 {
        let of = |n: &AtomicI64| n.load(Ordering::Acquire);
        gateway.map_or_else(|| self.in_flight.iter().map(of).sum(), |n| of(&self.in_flight[n]))
    }

    /// Requests that ended unknown: those that had taken effect, and those that had not.
    pub(super) fn unknown(&self) -> (u64, u64) {
        let unknown = lock(&self.unknown);
        let of = |what| unknown.get(what).copied().unwrap_or(0);
        (of("with"), of("without"))
    }

    /// Seconds so far, and those of them in which something was answered.
    pub(super) fn seconds(&self) -> (u64, u64) {
        (self.since.elapsed().as_secs().max(1), lock(&self.seconds).len() as u64)
    }
}
