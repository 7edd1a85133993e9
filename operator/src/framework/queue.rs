//! What is to be reconciled, and when. One name is never worked on twice at
//! once, many triggers of one name are one piece of work, and one that fails or
//! cannot be read delays no other.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Reconciles at once.
const WORKERS: usize = 8;

#[derive(Default)]
struct State {
    due: HashMap<String, Instant>,
    running: HashSet<String>,
}

/// Names and the times when they are due. Clones share it.
#[derive(Clone, Default)]
pub struct Queue {
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
}

impl Queue {
    /// Makes a name due after a delay, or earlier if it already was.
    pub fn add(&self, name: &str, after: Duration) {
        let at = Instant::now() + after;
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let due = state.due.entry(name.to_owned()).or_insert(at);
        *due = at.min(*due);
        drop(state);
        self.changed.notify_one();
    }

    /// Works for ever. `work` says when the name is due again, if at all.
    pub async fn run<F>(&self, work: impl Fn(String) -> F)
    where
        F: Future<Output = Option<Duration>> + Send + 'static,
    {
        loop {
            let wait = match self.next() {
                Ok(name) => {
                    let (queue, job) = (self.clone(), work(name.clone()));
                    tokio::spawn(async move {
                        let again = job.await;
                        queue.done(&name, again);
                    });
                    continue;
                }
                Err(wait) => wait,
            };
            let _ = tokio::time::timeout(wait, self.changed.notified()).await;
        }
    }

    /// A name that is due, or how long to wait for one.
    fn next(&self) -> Result<String, Duration> {
        const IDLE: Duration = Duration::from_secs(60);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.running.len() >= WORKERS {
            return Err(IDLE);
        }
        let State { due, running } = &mut *state;
        let first = due.iter().filter(|(name, _)| !running.contains(*name)).min_by_key(|(_, at)| **at);
        let Some((name, at)) = first.map(|(name, at)| (name.clone(), *at)) else { return Err(IDLE) };
        let now = Instant::now();
        if at > now {
            return Err(at - now);
        }
        due.remove(&name);
        running.insert(name.clone());
        Ok(name)
    }

    fn done(&self, name: &str, again: Option<Duration>) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).running.remove(name);
        match again {
            Some(after) => self.add(name, after),
            None => self.changed.notify_one(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_name_runs_alone_and_triggers_meanwhile_are_not_lost() {
        let queue = Queue::default();
        let (running, runs) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        queue.add("a", Duration::ZERO);
        let (inner, counted, seen) = (queue.clone(), runs.clone(), running.clone());
        let worker = tokio::spawn(async move {
            inner
                .run(move |_| {
                    let (counted, seen) = (counted.clone(), seen.clone());
                    async move {
                        assert_eq!(seen.fetch_add(1, Ordering::SeqCst), 0, "twice at once");
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        seen.fetch_sub(1, Ordering::SeqCst);
                        counted.fetch_add(1, Ordering::SeqCst);
                        None
                    }
                })
                .await;
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        queue.add("a", Duration::ZERO);
        queue.add("a", Duration::ZERO);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert_eq!(runs.load(Ordering::SeqCst), 2);
        worker.abort();
    }
}
