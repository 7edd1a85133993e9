//! Where postings wait: two lanes, each fair between callers, all bounded.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::item::Waiting;
use crate::accounts::Lane;
use crate::books::BooksError;

/// A batch of this size leaves at once, and an older one of any size.
const SIZE_ENOUGH: usize = 256;
/// The age for each posting of the lane's batch before: who posts alone hardly waits for others,
/// and who is one of many does, up to [`AGE_BUSY`].
const AGE_ENOUGH: Duration = Duration::from_millis(2);
/// The age for each other batch that is under way: a batch costs the database some
/// milliseconds of its own, so fewer and larger ones are sooner done.
const AGE_BUSY: Duration = Duration::from_millis(20);
/// A batch that lowers leaves when the one before it has ended, or this much later:
/// two at once would wait for each other's rows.
const LOWERING_APART: Duration = Duration::from_millis(50);
const SIZE_MAX: usize = 1024;
/// Postings that wait. One more of a caller, or of all, is refused at once.
const CALLER_MAX: usize = 8_192;
const QUEUE_MAX: usize = 16_384;
/// The same in bytes, as postings of many entries are some 15 KiB each.
const CALLER_BYTES_MAX: usize = 16 << 20;
const QUEUE_BYTES_MAX: usize = 32 << 20;
/// A batch takes no more once it holds so much.
const BATCH_BYTES_ENOUGH: usize = 2 << 20;

#[derive(Default)]
pub(super) struct Queue {
    pub(super) rejected: AtomicU64,
    state: Mutex<State>,
    changed: Notify,
}

/// A batch, which is under way until this is dropped: when a panic ends it, too.
pub(super) struct UnderWay<'a> {
    queue: &'a Queue,
    /// It keeps others that lower waiting.
    lowers: bool,
    pub(super) items: Vec<Waiting>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.queue.ended(self.lowers);
    }
}

#[derive(Default)]
struct State {
    raising: Callers,
    lowering: Callers,
    under_way: usize,
    /// Of these, those that lower; and when the last one left.
    lowering_under_way: usize,
    lowered: Option<Instant>,
    closed: bool,
}

/// The callers of a lane in the order of their turns.
#[derive(Default)]
struct Callers {
    turns: VecDeque<(String, VecDeque<Waiting>)>,
    len: usize,
    bytes: usize,
    /// How many its last batch held.
    size_before: u32,
}

impl Queue {
    pub(super) fn push(&self, waiting: Waiting, lane: Lane) -> Result<(), BooksError> {
        let mut state = self.state();
        let bytes = state.raising.bytes.saturating_add(state.lowering.bytes);
        let full =
            state.raising.len.saturating_add(state.lowering.len) >= QUEUE_MAX || bytes >= QUEUE_BYTES_MAX;
        let (count, bytes) = state.of(&waiting.item.caller);
        if state.closed || full || count >= CALLER_MAX || bytes >= CALLER_BYTES_MAX {
            return Err(BooksError::Full);
        }
        if lane == Lane::Raising {
            state.raising.push(waiting)
        } else {
            state.lowering.push(waiting)
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Puts back what could not be decided now, before everything else of its
    /// caller. It waits from now on, or it would go before whatever else waits.
    pub(super) fn back(&self, mut waiting: Waiting) {
        let mut state = self.state();
        waiting.queued = Instant::now();
        state.lowering.push_front(waiting);
        drop(state);
        self.changed.notify_one();
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_waiters();
    }

    /// Waits for the next batch. None when there will be none any more.
    pub(super) async fn next(&self) -> Option<UnderWay<'_>> {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let due = {
                let mut state = self.state();
                match state.due() {
                    None if state.closed => return None,
                    Some(at) if state.closed || at <= Instant::now() => {
                        let (lowers, items) = state.take();
                        drop(state);
                        // Another writer looks at what is left.
                        self.changed.notify_one();
                        return Some(UnderWay { queue: self, lowers, items });
                    }
                    due => due,
                }
            };
            match due {
                Some(at) => {
                    let _ = tokio::time::timeout_at(at, changed).await;
                }
                None => changed.await,
            }
        }
    }

    fn ended(&self, lowers: bool) {
        let mut state = self.state();
        state.under_way = state.under_way.saturating_sub(1);
        if lowers {
            state.lowering_under_way = state.lowering_under_way.saturating_sub(1);
        }
        drop(state);
        self.changed.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How many of a caller wait, and how large they are.
    fn of(&self, caller: &str) -> (usize, usize) {
        let (raising, lowering) = (self.raising.of(caller), self.lowering.of(caller));
        (raising.0.saturating_add(lowering.0), raising.1.saturating_add(lowering.1))
    }

    /// When the next batch may leave.
    fn due(&self) -> Option<Instant> {
        let others = u32::try_from(self.under_way).unwrap_or(u32::MAX);
        let age = AGE_BUSY.saturating_mul(others);
        [self.raising.due(age), self.lowering_due(age)].into_iter().flatten().min()
    }

    fn lowering_due(&self, age: Duration) -> Option<Instant> {
        let due = self.lowering.due(age)?;
        let waits = self.lowering_under_way > 0 && !self.lowering.next_is_alone();
        let before = self.lowered.filter(|_| waits);
        Some(before.and_then(|at| at.checked_add(LOWERING_APART)).map_or(due, |apart| due.max(apart)))
    }

    /// The next batch, of the lane that has waited longest, and whether it keeps others
    /// that lower waiting.
    fn take(&mut self) -> (bool, Vec<Waiting>) {
        self.under_way = self.under_way.saturating_add(1);
        let raising_first = match (self.raising.due(AGE_ENOUGH), self.lowering_due(AGE_ENOUGH)) {
            (Some(raising), Some(lowering)) => raising <= lowering,
            (raising, _) => raising.is_some(),
        };
        // One that is sent alone may be of many, and raise: see `batch::fail`.
        let lowers = !raising_first && !self.lowering.next_is_alone();
        if lowers {
            self.lowering_under_way = self.lowering_under_way.saturating_add(1);
            self.lowered = Some(Instant::now());
        }
        let lane = if raising_first { &mut self.raising } else { &mut self.lowering };
        (lowers, lane.take(SIZE_MAX))
    }
}

impl Callers {
    /// Adding up is for when it is close: half of what a caller may have.
    fn of(&self, caller: &str) -> (usize, usize) {
        let queue = self.turns.iter().find(|(name, _)| name == caller).map(|(_, queue)| queue);
        let close = self.bytes >= CALLER_BYTES_MAX / 2;
        let bytes = queue.filter(|_| close).into_iter().flatten().map(|waiting| waiting.item.bytes);
        (queue.map_or(0, VecDeque::len), bytes.fold(0, usize::saturating_add))
    }

    fn queue(&mut self, caller: &str) -> &mut VecDeque<Waiting> {
        let known = self.turns.iter().position(|(name, _)| name == caller);
        let place = known.unwrap_or_else(|| {
            self.turns.push_back((caller.to_owned(), VecDeque::new()));
            self.turns.len().saturating_sub(1)
        });
        &mut self.turns[place].1
    }

    fn push(&mut self, waiting: Waiting) {
        let caller = waiting.item.caller.clone();
        self.count(&waiting);
        self.queue(&caller).push_back(waiting);
    }

    fn push_front(&mut self, waiting: Waiting) {
        let caller = waiting.item.caller.clone();
        self.count(&waiting);
        self.queue(&caller).push_front(waiting);
    }

    fn count(&mut self, waiting: &Waiting) {
        self.len = self.len.saturating_add(1);
        self.bytes = self.bytes.saturating_add(waiting.item.bytes);
    }

    fn next_is_alone(&self) -> bool {
        self.turns.front().and_then(|(_, queue)| queue.front()).is_some_and(|waiting| waiting.alone)
    }

    /// When its first batch may leave; none where nothing waits.
    fn due(&self, age: Duration) -> Option<Instant> {
        let first = self.turns.iter().filter_map(|(_, queue)| queue.front()).map(|w| w.queued).min()?;
        let enough = self.len >= SIZE_ENOUGH;
        let age = AGE_ENOUGH.saturating_mul(self.size_before.max(1)).min(AGE_BUSY).max(age);
        Some(if enough { first } else { first.checked_add(age).unwrap_or(first) })
    }

    /// One of each caller in turn. An identity that is in the batch already waits
    /// for the next one.
    fn take(&mut self, size: usize) -> Vec<Waiting> {
        let mut batch = Vec::with_capacity(self.len.min(size));
        let mut identities = HashSet::new();
        let mut later = vec![];
        let mut bytes = 0_usize;
        while batch.len() < size && bytes < BATCH_BYTES_ENOUGH {
            let Some((caller, mut queue)) = self.turns.pop_front() else { break };
            let Some(waiting) = queue.pop_front() else { continue };
            self.len = self.len.saturating_sub(1);
            self.bytes = self.bytes.saturating_sub(waiting.item.bytes);
            if waiting.alone && batch.is_empty() && later.is_empty() {
                self.put_back(caller, queue);
                return vec![waiting];
            }
            let identity = &waiting.item.posting.identity;
            let identity = (waiting.item.caller.clone(), identity.date, identity.key.clone());
            if !waiting.alone && identities.insert(identity) {
                bytes = bytes.saturating_add(waiting.item.bytes);
                batch.push(waiting);
            } else {
                later.push(waiting);
            }
            self.put_back(caller, queue);
        }
        later.into_iter().rev().for_each(|waiting| self.push_front(waiting));
        self.size_before = u32::try_from(batch.len()).unwrap_or(u32::MAX);
        batch
    }

    fn put_back(&mut self, caller: String, queue: VecDeque<Waiting>) {
        if !queue.is_empty() {
            self.turns.push_back((caller, queue));
        }
    }
}

#[cfg(test)]
mod tests;
