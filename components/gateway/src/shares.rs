//! How many requests are worked on: while work gets done, so many that those who are taken
//! do not wait long, and of one app so many that others have room; while the database is
//! away, or behind a network that says nothing, many more may wait.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Requests of a replica that are worked on, beside those that wait for a network.
const BUSY_MAX: usize = 256;
/// Of one app.
const APP_MAX: usize = 160;
/// Work gets done where some was done so long ago.
const LATELY: Duration = Duration::from_millis(250);

/// How many requests of each app are worked on.
#[derive(Clone)]
pub struct Shares(Arc<Counts>);

struct Counts {
    apps: Mutex<HashMap<String, usize>>,
    at_networks: AtomicUsize,
    done_at: Mutex<Instant>,
}

/// One of an app's places, until it is dropped.
#[derive(Debug)]
pub struct Share {
    shares: Shares,
    app: String,
}

/// A request that waits for a network, until it is dropped.
pub struct AtNetwork<'a>(&'a Counts);

impl Default for Shares {
    fn default() -> Self {
        let (apps, done_at) = (Mutex::default(), Mutex::new(Instant::now()));
        Self(Arc::new(Counts { apps, at_networks: AtomicUsize::new(0), done_at }))
    }
}

impl std::fmt::Debug for Shares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shares")
    }
}

impl Shares {
    /// Is there room for another request beside so many?
    #[must_use]
    pub fn has_room(&self, in_flight: usize, now: Instant) -> bool {
        !self.gets_done(now) || in_flight.saturating_sub(self.at_networks()) < BUSY_MAX
    }

    /// None where the app has as many as it may.
    #[must_use]
    pub fn take(&self, app: &str, now: Instant) -> Option<Share> {
        let most = if self.gets_done(now) { APP_MAX.saturating_add(self.at_networks()) } else { usize::MAX };
        let mut apps = self.apps();
        let count = apps.entry(app.to_owned()).or_default();
        if *count >= most {
            return None;
        }
        *count = count.saturating_add(1);
        Some(Share { shares: self.clone(), app: app.to_owned() })
    }

    /// A payment was brought as far as it goes.
    pub fn note_done(&self, now: Instant) {
        *self.0.done_at.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    #[must_use]
    pub fn at_network(&self) -> AtNetwork<'_> {
        self.0.at_networks.fetch_add(1, Ordering::Relaxed);
        AtNetwork(&self.0)
    }

    fn at_networks(&self) -> usize {
        self.0.at_networks.load(Ordering::Relaxed)
    }

    fn gets_done(&self, now: Instant) -> bool {
        let done_at = *self.0.done_at.lock().unwrap_or_else(PoisonError::into_inner);
        now.saturating_duration_since(done_at) < LATELY
    }

    fn apps(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.0.apps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AtNetwork<'_> {
    fn drop(&mut self) {
        self.0.at_networks.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut apps = self.shares.apps();
        let left = apps.get(&self.app).copied().unwrap_or_default().saturating_sub(1);
        if left == 0 {
            apps.remove(&self.app);
        } else if let Some(count) = apps.get_mut(&self.app) {
            *count = left;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_work_gets_done_an_app_has_its_share_and_gives_it_back() {
        let (shares, now) = (Shares::default(), Instant::now());
        shares.note_done(now);
        let held: Vec<_> = (0..APP_MAX).map(|_| shares.take("a", now)).collect();
        assert!(held.iter().all(Option::is_some) && shares.take("a", now).is_none());
        assert!(shares.take("b", now).is_some(), "another app's are its own");
        assert!(shares.has_room(BUSY_MAX - 1, now) && !shares.has_room(BUSY_MAX, now));
        let waits = shares.at_network();
        assert!(shares.take("a", now).is_some() && shares.has_room(BUSY_MAX, now), "it waits for a network");
        drop(waits);
        let later = now + LATELY;
        assert!(shares.take("a", later).is_some() && shares.has_room(BUSY_MAX, later), "nothing gets done");
        drop(held);
        assert!(shares.apps().is_empty(), "nothing is kept of who has none");
    }
}
