//! Work that a replica takes from the database by itself: bounded in all, and for each
//! of those whom it waits for, so that one who is silent leaves the others their places.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt;
use payplane_common::shutdown::Shutdown;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use uuid::Uuid;

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Work on one thing ends within its lease.
pub const ONE_MAX: Duration = Duration::from_secs(15);

/// What is worked on, and whom it waits for.
pub struct Works {
    all_max: usize,
    each_max: usize,
    tasks: JoinSet<()>,
    whom: HashMap<tokio::task::Id, String>,
}

impl Works {
    #[must_use]
    pub fn new(all_max: usize, each_max: usize) -> Self {
        Self { all_max, each_max, tasks: JoinSet::new(), whom: HashMap::new() }
    }

    pub fn start(&mut self, whom: String, work: impl Future<Output = ()> + Send + 'static) {
        let task = self.tasks.spawn(async move {
            // What is cut off is taken again when its lease has ended.
            let _ = tokio::time::timeout(ONE_MAX, work).await;
        });
        self.whom.insert(task.id(), whom);
    }

    #[must_use]
    pub fn room(&self) -> usize {
        self.all_max.saturating_sub(self.tasks.len())
    }

    /// Those who have their share.
    #[must_use]
    pub fn busy(&self) -> Vec<String> {
        let mut counts = HashMap::<&String, usize>::new();
        for whom in self.whom.values() {
            let count = counts.entry(whom).or_default();
            *count = count.saturating_add(1);
        }
        counts
            .into_iter()
            .filter(|(_, count)| *count >= self.each_max)
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// Waits until it is worth looking for work again: at once where there is more and
    /// room for it.
    pub async fn pause(&mut self, more: bool, wake: &Notify, shutdown: &Shutdown) {
        while self.one_ends().now_or_never() == Some(true) {}
        if more && self.room() > 0 {
            return;
        }
        // One who has his share may have more waiting.
        let on_end = more || !self.busy().is_empty();
        // Jitter, so that replicas do not look at the same moment.
        let jitter = Duration::from_millis(u64::from(Uuid::new_v4().as_bytes()[0]));
        tokio::select! {
            () = shutdown.closing.cancelled() => {}
            () = wake.notified(), if !more => {}
            () = tokio::time::sleep(LOOK_EVERY.saturating_add(jitter)), if !more => {}
            _ = self.one_ends(), if on_end => {}
        }
    }

    /// Waits for what was begun.
    pub async fn end(mut self) {
        while self.one_ends().await {}
    }

    /// False where nothing is worked on.
    async fn one_ends(&mut self) -> bool {
        let Some(ended) = self.tasks.join_next_with_id().await else { return false };
        self.whom.remove(&ended.map_or_else(|error| error.id(), |(id, ())| id));
        true
    }
}
