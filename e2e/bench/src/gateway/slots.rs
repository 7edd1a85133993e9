//! What happened to each payment of a run, and when: written by whoever sees it, without
//! locks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::plan::Load;

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Said {
    Nothing,
    Succeeded,
    /// Another state of the order.
    Accepted,
    /// 429 or 503, with Retry-After.
    Refused,
    /// Anything else: another status, or no answer.
    Wrong,
}

const ALL: [Said; 5] = [Said::Nothing, Said::Succeeded, Said::Accepted, Said::Refused, Said::Wrong];

/// Microseconds from the beginning of the run; 0: it has not happened.
#[derive(Default)]
pub(super) struct Slot {
    sent: AtomicU64,
    answered: AtomicU64,
    said: AtomicU8,
    notified: AtomicU64,
    /// From the event to its notification, by the clock of this machine.
    lag: AtomicU64,
}

/// A run, and its payments.
pub(super) struct Run {
    pub(super) name: String,
    pub(super) load: Load,
    pub(super) start: Instant,
    pub(super) slots: Vec<Slot>,
    /// What was answered that is not success, by its text.
    words: Mutex<BTreeMap<String, u64>>,
}

impl Run {
    pub(super) fn new(name: String, load: Load, start: Instant) -> Self {
        let slots = (0..load.count()).map(|_| Slot::default()).collect();
        Self { name, load, start, slots, words: Mutex::default() }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    pub(super) fn is_sent(&self, n: usize) {
        self.slots[n].sent.store(self.now(), Ordering::Relaxed);
    }

    pub(super) fn is_answered(&self, n: usize, said: Said, word: Option<String>) {
        self.slots[n].answered.store(self.now(), Ordering::Relaxed);
        self.slots[n].said.store(said as u8, Ordering::Release);
        if let Some(word) = word {
            *self.words.lock().unwrap_or_else(PoisonError::into_inner).entry(word).or_default() += 1;
        }
    }

    /// False where it was known already, or is of no payment.
    pub(super) fn is_notified(&self, n: usize, lag_us: u64) -> bool {
        let Some(slot) = self.slots.get(n) else { return false };
        slot.lag.store(lag_us, Ordering::Relaxed);
        slot.notified.compare_exchange(0, self.now(), Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    pub(super) fn words(&self) -> BTreeMap<String, u64> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn due_us(&self, n: usize) -> u64 {
        u64::try_from(self.load.due(n).as_micros()).unwrap_or(u64::MAX)
    }
}

impl Slot {
    pub(super) fn said(&self) -> Said {
        ALL[usize::from(self.said.load(Ordering::Acquire)) % ALL.len()]
    }

    pub(super) fn sent_us(&self) -> Option<u64> {
        happened(&self.sent)
    }

    pub(super) fn answered_us(&self) -> Option<u64> {
        happened(&self.answered)
    }

    pub(super) fn notified_us(&self) -> Option<u64> {
        happened(&self.notified)
    }

    pub(super) fn lag_us(&self) -> u64 {
        self.lag.load(Ordering::Relaxed)
    }

    /// When success was first said, by the answer or by the notification.
    pub(super) fn succeeded_us(&self) -> Option<u64> {
        let answered = (self.said() == Said::Succeeded).then(|| self.answered_us()).flatten();
        [answered, self.notified_us()].into_iter().flatten().min()
    }
}

fn happened(at: &AtomicU64) -> Option<u64> {
    Some(at.load(Ordering::Relaxed)).filter(|at| *at > 0)
}
