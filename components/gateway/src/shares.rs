//! How many requests are worked on: while work gets done, so many that those who are taken
//! do not wait long, and of one app so many that others have room. While the database is
//! away, and until what waited for it is done, many more wait; those who wait for a network
//! or the ledger are not counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::counts::Counts;

/// Requests of a replica that are worked on, beside those that wait for others.
const BUSY_MAX: usize = 256;
/// Of one app.
const APP_MAX: usize = 160;
/// Work gets done where some was done so long ago.
const LATELY: Duration = Duration::from_millis(250);
/// So long those who came while nothing got done are worked off.
const WORKED_OFF: Duration = Duration::from_secs(5);

/// Verified requests that are worked on.
#[derive(Clone, Default)]
pub struct Shares(Arc<Shared>);

#[derive(Default)]
struct Shared {
    held: Mutex<Held>,
    waiting: AtomicUsize,
}

#[derive(Default)]
struct Held {
    requests: Counts,
    done_at: Option<Instant>,
    /// Until then nobody is refused.
    worked_off_at: Option<Instant>,
}

/// One of an app's places, until it is dropped.
pub struct Share {
    shares: Shares,
    app: String,
}

/// A request that waits for a network or the ledger, until it is dropped.
pub struct Waits<'a>(&'a Shared);

impl std::fmt::Debug for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Share")
    }
}

impl Shares {
    /// None where as much is worked on as may be, of all or of the app. Whether work gets
    /// done counts as of the request's arrival: who has waited is not refused for it.
    #[must_use]
    pub fn take(&self, app: &str, gets_done: bool) -> Option<Share> {
        let waiting = self.0.waiting.load(Ordering::Relaxed);
        let most = if gets_done {
            (BUSY_MAX.saturating_add(waiting), APP_MAX.saturating_add(waiting))
        } else {
            (usize::MAX, usize::MAX)
        };
        let is_taken = self.held().requests.take(app, most);
        is_taken.then(|| Share { shares: self.clone(), app: app.to_owned() })
    }

    #[must_use]
    pub fn gets_done(&self, now: Instant) -> bool {
        let held = self.held();
        let lately = held.done_at.is_some_and(|at| now.saturating_duration_since(at) < LATELY);
        lately && held.worked_off_at.is_none_or(|until| now >= until)
    }

    /// A payment was brought as far as it goes.
    pub fn note_done(&self, now: Instant) {
        let mut held = self.held();
        let stood_still = held.done_at.is_some_and(|at| now.saturating_duration_since(at) >= LATELY);
        // So many of one app are enough: the next of it would be refused for what was no fault
        // of its own.
        if stood_still && held.requests.all() > APP_MAX {
            held.worked_off_at = now.checked_add(WORKED_OFF);
        }
        held.done_at = Some(now);
    }

    #[must_use]
    pub fn waits(&self) -> Waits<'_> {
        self.0.waiting.fetch_add(1, Ordering::Relaxed);
        Waits(&self.0)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shares.held().requests.give_back(&self.app);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn while_work_gets_done_an_app_has_its_share_and_gives_it_back() {
        let shares = Shares::default();
        let held: Vec<_> = (0..APP_MAX).map(|_| shares.take("a", true)).collect();
        assert!(held.iter().all(Option::is_some) && shares.take("a", true).is_none());
        let others: Vec<_> = (APP_MAX..BUSY_MAX).map(|_| shares.take("b", true)).collect();
        assert!(others.iter().all(Option::is_some), "another app's are its own");
        assert!(shares.take("c", true).is_none(), "all are as many as may be");
        let waits = shares.waits();
        assert!(shares.take("c", true).is_some(), "one of them waits for a network");
        drop(waits);
        assert!(shares.take("a", false).is_some(), "while nothing gets done nobody is refused");
        drop((held, others));
        assert_eq!(shares.held().requests.all(), 0, "nothing is kept of who has none");
    }

    #[test]
    fn those_who_waited_for_the_database_are_worked_off_before_others_are_refused() {
        let (shares, start) = (Shares::default(), Instant::now());
        assert!(!shares.gets_done(start));
        shares.note_done(start);
        assert!(shares.gets_done(start) && !shares.gets_done(start + LATELY));
        let held: Vec<_> = (0..=APP_MAX).map(|_| shares.take("a", false)).collect();
        let back = start + Duration::from_secs(9);
        shares.note_done(back);
        assert!(!shares.gets_done(back), "one more of the app is not refused");
        let later = back + WORKED_OFF;
        for tenth in 0..50 {
            shares.note_done(back + Duration::from_millis(100) * tenth);
        }
        assert!(shares.gets_done(later), "{}", held.len());
        // Nobody came meanwhile: it was idle.
        drop(held);
        shares.note_done(later + WORKED_OFF);
        assert!(shares.gets_done(later + WORKED_OFF));
    }
}
