//! Until when this process may write. A leader that was frozen wakes up believing
//! that it leads: each write asks its clock first, so two leaders never write.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedRwLockReadGuard, RwLock};

/// So long a claim counts for the one who made it: less than for others, so that
/// a request that was sent in time arrives in time.
pub const REIGN: Duration = Duration::from_secs(10);
/// So long what is being written may take before the lease is given back.
const LAST_WRITES_MAX: Duration = Duration::from_secs(5);

/// The end of the present claim, if there is one, and the writes that are under way.
#[derive(Clone, Debug, Default)]
pub struct Reign {
    until: Arc<Mutex<Option<Instant>>>,
    writes: Arc<RwLock<()>>,
}

impl Reign {
    /// It lasts until then.
    pub fn lasts(&self, until: Option<Instant>) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// How long it still lasts; None when it is over.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        until?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }

    /// Leave to write once; it is held while the write is under way.
    pub async fn turn(&self) -> Option<OwnedRwLockReadGuard<()>> {
        let turn = self.writes.clone().read_owned().await;
        self.left().map(|_| turn)
    }

    /// Ends it, and waits for what is being written; false where that takes too long.
    pub async fn end(&self) -> bool {
        self.lasts(None);
        tokio::time::timeout(LAST_WRITES_MAX, self.writes.write()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nobody_writes_before_it_begins_or_when_its_time_is_up() {
        let reign = Reign::default();
        assert!(reign.turn().await.is_none());
        reign.lasts(Instant::now().checked_add(REIGN));
        assert!(reign.left().is_some_and(|left| left <= REIGN));
        let turn = reign.turn().await.expect("it lasts");
        let ended = tokio::spawn({
            let reign = reign.clone();
            async move { reign.end().await }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!ended.is_finished(), "a write is under way");
        drop(turn);
        assert!(ended.await.unwrap());
        assert!(reign.turn().await.is_none());
    }
}
