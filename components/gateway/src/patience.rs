//! While the database changes its primary, or the ledger its pods, a request
//! waits rather than fails: as long as its caller may be expected to wait.

use std::time::Duration;

use tokio::time::Instant;

use crate::store::StoreError;

/// How long a request may take from its arrival. Callers give up after 30 s.
pub const REQUEST_MAX: Duration = Duration::from_secs(25);
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// How long somebody waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    until: Instant,
}

impl Patience {
    /// From now on.
    #[must_use]
    pub fn of(at_most: Duration) -> Self {
        let now = Instant::now();
        Self { until: now.checked_add(at_most).unwrap_or(now) }
    }

    /// The moment at which it is over.
    #[must_use]
    pub fn until(self) -> Instant {
        self.until
    }

    /// Is there time for another try after a pause?
    #[must_use]
    pub fn outlasts(self, pause: Duration) -> bool {
        self.until.saturating_duration_since(Instant::now()) > pause
    }

    /// Does it again while the database is away. Each piece of work must find
    /// out by itself that it was done before: a commit that was cut off may
    /// have happened.
    pub async fn keep<T, F>(self, work: impl Fn() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            match work().await {
                Err(error) if error.is_transient() && self.outlasts(AGAIN_AFTER) => {
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                done => return done,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    fn away() -> StoreError {
        StoreError::Pool { source: deadpool_postgres::PoolError::Closed }
    }

    #[tokio::test]
    async fn it_waits_for_a_database_and_not_for_a_mistake() {
        let tries = AtomicU32::new(0);
        let patience = Patience::of(Duration::from_millis(600));
        let third = patience
            .keep(|| async { if tries.fetch_add(1, Ordering::Relaxed) < 2 { Err(away()) } else { Ok(7) } });
        assert_eq!(third.await.unwrap(), 7);
        let missing = || async { Err::<(), _>(StoreError::Missing { what: "order", id: uuid::Uuid::nil() }) };
        assert!(patience.keep(missing).await.is_err());
        let began = Instant::now();
        assert!(patience.keep(|| async { Err::<(), _>(away()) }).await.is_err());
        assert!(began.elapsed() < Duration::from_millis(600), "within its time");
    }
}
