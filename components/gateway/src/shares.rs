//! How many requests are worked on: while work gets done, so many that those who are taken
//! do not wait long, and of one app so many that others have room. While the database is
//! away, until what waited for it is done, and where few come, many more wait; those who wait
//! for a network or the ledger are not counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::counts::Counts;
use crate::pressure::Pressure;

/// Places beside those of one app, however few these are at that moment.
const OTHERS_MIN: usize = 96;
/// Work gets done where some was done so long ago.
const LATELY: Duration = Duration::from_millis(250);
/// So long those who came while nothing got done are worked off.
const WORKED_OFF: Duration = Duration::from_secs(5);
/// A replica that is asked less than 250 times a second, a second's worth at once, has no
/// more callers than it can bear: what slows it, a pod that starts beside it, passes.
const FEW_APART: Duration = Duration::from_millis(4);
const FEW_AT_ONCE: Duration = Duration::from_secs(1);
/// For so long twice as many are worked on before others are refused: a short pause is no
/// overload. It is over once there are so few again.
const CROWDED_MAX: Duration = Duration::from_millis(300);

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
    pressure: Pressure,
    done_at: Option<Instant>,
    /// Until then nobody is refused.
    worked_off_at: Option<Instant>,
    /// When as few as count as few would have come.
    few_until: Option<Instant>,
    /// Since when more come than usual are worked on.
    crowded_since: Option<Instant>,
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
    /// None where as much is worked on as may be, of all or of the app. Whether that counts
    /// is known since the request's arrival: who has waited is not refused for it.
    #[must_use]
    pub fn take(&self, app: &str, is_bounded: bool, now: Instant) -> Option<Share> {
        let mut held = self.held();
        let usual = held.pressure.most();
        let is_taken = if is_bounded {
            held.requests.take(app, self.most(usual))
                || (held.is_crowded_lately(now)
                    && held.requests.take(app, self.most(usual.saturating_mul(2))))
        } else {
            held.requests.take(app, (usize::MAX, usize::MAX))
        };
        is_taken.then(|| Share { shares: self.clone(), app: app.to_owned() })
    }

    /// Is there no room for one of the app, and has there been none for long? To be asked
    /// before a signature is verified, which costs more than a refusal. Nothing is kept of it:
    /// anybody may take an app's name in vain.
    #[must_use]
    pub fn is_full(&self, app: &str, now: Instant) -> bool {
        let held = self.held();
        let for_long = |since| now.saturating_duration_since(since) >= CROWDED_MAX;
        held.crowded_since.is_some_and(for_long)
            && !held.requests.has_room(app, self.most(held.pressure.most()))
    }

    /// Of all, and of one app, so many beside those who wait for others.
    fn most(&self, of_app: usize) -> (usize, usize) {
        let waiting = self.0.waiting.load(Ordering::Relaxed);
        let of_app = waiting.saturating_add(of_app);
        (of_app.saturating_add(OTHERS_MIN), of_app)
    }

    /// What was to be done first for a payment took so long.
    pub fn note_stored(&self, took: Duration, now: Instant) {
        let mut held = self.held();
        let is_calm = held.crowded_since.is_none();
        held.pressure.note(took, is_calm, now);
    }

    /// A request came. Whether it may be refused: work gets done, and too many come for it.
    #[must_use]
    pub fn bounds_one_more(&self, now: Instant) -> bool {
        let mut held = self.held();
        let are_few = held.are_few(now);
        let lately = held.done_at.is_some_and(|at| now.saturating_duration_since(at) < LATELY);
        lately && !are_few && held.worked_off_at.is_none_or(|until| now >= until)
    }

    /// A payment was brought as far as it goes.
    pub fn note_done(&self, now: Instant) {
        let mut held = self.held();
        let stood_still = held.done_at.is_some_and(|at| now.saturating_duration_since(at) >= LATELY);
        // So many of one app are enough: the next of it would be refused for what was no fault
        // of its own.
        if stood_still && held.requests.all() > held.pressure.most() {
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

impl Held {
    /// One comes for whom there is no place. Is it the first for long?
    fn is_crowded_lately(&mut self, now: Instant) -> bool {
        let since = *self.crowded_since.get_or_insert(now);
        now.saturating_duration_since(since) < CROWDED_MAX
    }

    fn are_few(&mut self, now: Instant) -> bool {
        let until = self.few_until.map_or(now, |until| until.max(now));
        let are_few = until.saturating_duration_since(now) < FEW_AT_ONCE;
        if are_few {
            self.few_until = until.checked_add(FEW_APART);
        }
        are_few
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let waiting = self.shares.0.waiting.load(Ordering::Relaxed);
        let mut held = self.shares.held();
        held.requests.give_back(&self.app);
        if held.requests.all().saturating_sub(waiting) < held.pressure.most().div_ceil(2) {
            held.crowded_since = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pressure::APP_MAX;

    const BUSY_MAX: usize = APP_MAX + OTHERS_MIN;
    const CALM: usize = APP_MAX / 2;

    /// More than few have come just now.
    fn crowded(now: Instant) -> Shares {
        let shares = Shares::default();
        shares.held().few_until = now.checked_add(FEW_AT_ONCE);
        shares
    }

    /// The pause that a crowd is allowed is over.
    fn crowd(shares: &Shares) -> Instant {
        let now = Instant::now();
        shares.held().crowded_since = Some(now);
        now + CROWDED_MAX
    }

    #[test]
    fn while_work_gets_done_an_app_has_its_share_and_gives_it_back() {
        let shares = Shares::default();
        let now = crowd(&shares);
        let held: Vec<_> = (0..APP_MAX).map(|_| shares.take("a", true, now)).collect();
        assert!(held.iter().all(Option::is_some) && shares.take("a", true, now).is_none());
        assert!(shares.is_full("a", now) && !shares.is_full("b", now));
        let others: Vec<_> = (APP_MAX..BUSY_MAX).map(|_| shares.take("b", true, now)).collect();
        assert!(others.iter().all(Option::is_some), "another app's are its own");
        assert!(shares.take("c", true, now).is_none(), "all are as many as may be");
        let waits = shares.waits();
        assert!(shares.take("c", true, now).is_some(), "one of them waits for a network");
        drop(waits);
        assert!(shares.take("a", false, now).is_some(), "while nothing gets done nobody is refused");
        drop((held, others));
        assert_eq!(shares.held().requests.all(), 0, "nothing is kept of who has none");
    }

    #[test]
    fn a_crowd_is_worked_off_and_one_that_stays_is_refused() {
        let (shares, now) = (Shares::default(), Instant::now());
        let mut held: Vec<_> = (0..2 * APP_MAX).map(|_| shares.take("a", true, now)).collect();
        assert!(held.iter().all(Option::is_some) && shares.take("a", true, now).is_none(), "twice as many");
        assert!(!shares.is_full("a", now), "not for long");
        held.truncate(APP_MAX + 1);
        let later = now + CROWDED_MAX;
        assert!(shares.take("a", true, later).is_none(), "it lasts");
        held.truncate(CALM);
        held.extend((CALM..APP_MAX).map(|_| shares.take("a", true, later)));
        assert!(shares.take("a", true, later).is_none(), "it was never calm");
        held.truncate(CALM - 1);
        held.extend((CALM..=APP_MAX).map(|_| shares.take("a", true, later)));
        held.push(shares.take("a", true, later));
        assert!(held.iter().all(Option::is_some), "it was");
    }

    #[test]
    fn those_who_waited_for_the_database_are_worked_off_before_others_are_refused() {
        let start = Instant::now();
        let shares = crowded(start + Duration::from_secs(60));
        assert!(!shares.bounds_one_more(start));
        shares.note_done(start);
        assert!(shares.bounds_one_more(start) && !shares.bounds_one_more(start + LATELY));
        let held: Vec<_> = (0..=APP_MAX).map(|_| shares.take("a", false, start)).collect();
        let back = start + Duration::from_secs(9);
        shares.note_done(back);
        assert!(!shares.bounds_one_more(back), "one more of the app is not refused");
        let later = back + WORKED_OFF;
        for tenth in 0..50 {
            shares.note_done(back + Duration::from_millis(100) * tenth);
        }
        assert!(shares.bounds_one_more(later), "{}", held.len());
        // Nobody came meanwhile: it was idle.
        drop(held);
        shares.note_done(later + WORKED_OFF);
        assert!(shares.bounds_one_more(later + WORKED_OFF));
    }

    #[test]
    fn of_few_nobody_is_refused_however_slowly_they_are_worked_on() {
        let (shares, start) = (Shares::default(), Instant::now());
        let refused = |from: Instant, apart: u32| {
            let came = (0..2_500).map(|number| {
                let now = from + Duration::from_micros(1) * apart * number;
                shares.note_done(now);
                shares.bounds_one_more(now)
            });
            came.filter(|is_refused| *is_refused).count()
        };
        assert_eq!(refused(start, 4_000), 0, "250 a second for 10 s");
        assert_eq!(refused(start + Duration::from_secs(20), 1_000), 2_500 - 250 - 625, "1,000 a second");
    }
}
