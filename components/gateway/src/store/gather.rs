//! Writes of many requests in one statement: what comes while one is under way, and for a
//! moment after it, goes with the next. A request that is alone waits for nobody; under
//! load a commit carries many, and costs the database little more than one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::StoreError;

/// Rows of one statement.
const ROWS_MAX: usize = 256;
/// Writes that wait; more are refused, and the caller told to come again.
const WAITING_MAX: usize = 2048;
/// One statement of a kind is under way, and then the next one waits for so long for each
/// that this one carried: who is alone hardly waits for others, and under load the database
/// has fewer and larger ones, which cost it less.
const PAUSE: Duration = Duration::from_millis(2);
const PAUSE_MAX: Duration = Duration::from_millis(20);

type Answer<O> = oneshot::Sender<Result<Option<O>, StoreError>>;

struct Waiting<I, O> {
    key: Uuid,
    item: I,
    answer: Answer<O>,
}

struct State<I, O> {
    waiting: VecDeque<Waiting<I, O>>,
    is_under_way: bool,
}

/// Gathers writes of one kind.
pub(super) struct Gather<I, O>(Arc<Mutex<State<I, O>>>);

impl<I, O> Clone for Gather<I, O> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<I, O> Default for Gather<I, O> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State { waiting: VecDeque::new(), is_under_way: false })))
    }
}

impl<I: Clone + Send + Sync + 'static, O: Send + 'static> Gather<I, O> {
    /// Writes an item, beside others or alone, by `write`, which returns what it wrote by
    /// the items' keys. None where it left this one alone. No statement has two items of
    /// one key. A write that has begun goes on when the caller goes away.
    pub(super) async fn put<F, W>(&self, key: Uuid, item: I, write: F) -> Result<Option<O>, StoreError>
    where
        F: Fn(Arc<Vec<I>>) -> W + Send + Sync + 'static,
        W: Future<Output = Result<Vec<(Uuid, O)>, StoreError>> + Send,
    {
        let (answer, answered) = oneshot::channel();
        let is_free = {
            let mut state = self.state();
            if state.waiting.len() >= WAITING_MAX {
                state.waiting.retain(|waiting| !waiting.answer.is_closed());
            }
            if state.waiting.len() >= WAITING_MAX {
                return Err(StoreError::Full);
            }
            state.waiting.push_back(Waiting { key, item, answer });
            !std::mem::replace(&mut state.is_under_way, true)
        };
        if is_free {
            let gather = self.clone();
            tokio::spawn(async move {
                while let Some(batch) = gather.take() {
                    let size = u32::try_from(batch.len()).unwrap_or(u32::MAX);
                    // One that panics answers nobody, and leaves the turn to the next.
                    let _ = AssertUnwindSafe(work(batch, &write)).catch_unwind().await;
                    tokio::time::sleep(PAUSE.saturating_mul(size).min(PAUSE_MAX)).await;
                }
            });
        }
        answered.await.unwrap_or(Err(StoreError::Lost))
    }

    /// What waits, as far as one statement takes it; none ends the work.
    fn take(&self) -> Option<Vec<Waiting<I, O>>> {
        let mut state = self.state();
        let (mut batch, mut keys, mut later) = (Vec::new(), HashSet::new(), VecDeque::new());
        while batch.len() < ROWS_MAX {
            let Some(next) = state.waiting.pop_front() else { break };
            // One whose caller has gone is not begun: it would come as a surprise.
            if next.answer.is_closed() {
                continue;
            }
            if keys.insert(next.key) {
                batch.push(next);
            } else {
                later.push_back(next);
            }
        }
        while let Some(next) = later.pop_back() {
            state.waiting.push_front(next);
        }
        if batch.is_empty() {
            // Under the lock: whoever comes next sees that it is free.
            state.is_under_way = false;
            return None;
        }
        Some(batch)
    }

    fn state(&self) -> MutexGuard<'_, State<I, O>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn work<I: Clone, O, F, W>(batch: Vec<Waiting<I, O>>, write: &F)
where
    F: Fn(Arc<Vec<I>>) -> W,
    W: Future<Output = Result<Vec<(Uuid, O)>, StoreError>>,
{
    let items: Arc<Vec<_>> = Arc::new(batch.iter().map(|waiting| waiting.item.clone()).collect());
    match write(items).await {
        Ok(written) => {
            let mut written: HashMap<_, _> = written.into_iter().collect();
            for Waiting { key, answer, .. } in batch {
                let _ = answer.send(Ok(written.remove(&key)));
            }
        }
        // One that the database refuses fails alone.
        Err(error) if batch.len() > 1 && !error.is_transient() => {
            let mut gone = None;
            for Waiting { key, item, answer } in batch {
                if answer.is_closed() {
                    continue;
                }
                // The database went away: the others need not wait for that, too.
                if let Some(source) = gone.clone() {
                    let _ = answer.send(Err(StoreError::Together { source }));
                    continue;
                }
                match write(Arc::new(vec![item])).await {
                    Err(error) if error.is_transient() => {
                        let source = Arc::new(error);
                        gone = Some(source.clone());
                        let _ = answer.send(Err(StoreError::Together { source }));
                    }
                    written => {
                        let own = |(of, output): (Uuid, O)| (of == key).then_some(output);
                        let _ = answer.send(written.map(|written| written.into_iter().find_map(own)));
                    }
                }
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for Waiting { answer, .. } in batch {
                let _ = answer.send(Err(StoreError::Together { source: error.clone() }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn id(n: u128) -> Uuid {
        Uuid::from_u128(n)
    }

    #[tokio::test]
    async fn what_comes_meanwhile_goes_together_and_a_bad_one_fails_alone() {
        let (gather, statements) = (Gather::<u128, u128>::default(), Arc::new(AtomicUsize::new(0)));
        let all = (0..200_u128).map(|n| {
            let statements = statements.clone();
            gather.put(id(n), n, move |items| {
                let statements = statements.clone();
                async move {
                    statements.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    assert!(items.len() <= ROWS_MAX);
                    if items.contains(&77) {
                        return Err(StoreError::Missing { what: "thing", id: id(77) });
                    }
                    // Seven is left alone.
                    Ok(items.iter().filter(|n| **n != 7).map(|n| (id(*n), n * 10)).collect())
                }
            })
        });
        for (n, answer) in (0_u128..).zip(join_all(all).await) {
            match n {
                7 => assert!(matches!(answer, Ok(None)), "{n}: {answer:?}"),
                77 => assert!(answer.is_err(), "{n}: {answer:?}"),
                n => assert!(matches!(answer, Ok(Some(ten)) if ten == n * 10), "{n}: {answer:?}"),
            }
        }
        // One at first, the rest, and the bad one's neighbours one by one.
        assert!(statements.load(Ordering::SeqCst) <= 2 + 200);
    }

    #[tokio::test]
    async fn two_of_one_key_never_share_a_statement() {
        let gather = Gather::<u128, usize>::default();
        let all = (0..9_u128).map(|n| {
            gather.put(id(1), n, |items| async move {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(vec![(id(1), items.len())])
            })
        });
        for answer in join_all(all).await {
            assert!(matches!(answer, Ok(Some(1))));
        }
    }
}
