//! How many payments each channel's network has taken lately. Each replica goes by what it
//! saw itself: it moves a payment's first choice, and nothing else depends on it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use payplane_api::money::BASIS_POINTS;

use crate::channel::Outcome;

/// The present span and the one before count: what is older is forgotten, so a channel that
/// got nothing for its bad rate is tried again.
const SPAN: Duration = Duration::from_secs(300);
/// Fewer say nothing.
const PAYMENTS_MIN: i64 = 20;

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    good: i64,
    all: i64,
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    since: Instant,
    now: Counts,
    before: Counts,
}

impl Rate {
    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        if passed < SPAN {
            return;
        }
        self.before = if passed < SPAN.saturating_mul(2) { self.now } else { Counts::default() };
        (self.now, self.since) = (Counts::default(), now);
    }
}

/// By the channel's name.
#[derive(Default)]
pub struct Rates(Mutex<HashMap<String, Rate>>);

impl Rates {
    /// Succeeded, or waits for its payer: good. Declined, unknown, not sent: not.
    pub fn note(&self, channel: &str, outcome: &Outcome, now: Instant) {
        let good = match outcome {
            Outcome::Succeeded { .. } | Outcome::Processing { .. } => 1,
            Outcome::Declined { .. } | Outcome::Unknown { .. } | Outcome::NotSent { .. } => 0,
            // Somebody asked for that.
            Outcome::Closed => return,
        };
        let fresh = Rate { since: now, now: Counts::default(), before: Counts::default() };
        let mut rates = self.rates();
        let rate = rates.entry(channel.to_owned()).or_insert(fresh);
        rate.turn(now);
        rate.now.good = rate.now.good.saturating_add(good);
        rate.now.all = rate.now.all.saturating_add(1);
    }

    /// In basis points; all, as long as there were too few to say.
    #[must_use]
    pub fn success_basis_points(&self, channel: &str, now: Instant) -> i64 {
        let mut rates = self.rates();
        let Some(rate) = rates.get_mut(channel) else { return BASIS_POINTS };
        rate.turn(now);
        let all = rate.now.all.saturating_add(rate.before.all);
        let good = rate.now.good.saturating_add(rate.before.good);
        if all < PAYMENTS_MIN {
            return BASIS_POINTS;
        }
        good.saturating_mul(BASIS_POINTS).checked_div(all).unwrap_or(BASIS_POINTS)
    }

    /// Forgets channels that are gone.
    pub fn forget(&self, is_there: impl Fn(&str) -> bool) {
        self.rates().retain(|name, _| is_there(name));
    }

    fn rates(&self) -> MutexGuard<'_, HashMap<String, Rate>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_last_minutes_and_says_nothing_of_few() {
        let (rates, now) = (Rates::default(), Instant::now());
        let bad = || Outcome::Unknown { why: String::new() };
        let good = || Outcome::Processing { network_id: None, action: None };
        assert_eq!(rates.success_basis_points("a", now), 10_000, "nothing is known");
        for n in 1..20 {
            rates.note("a", &bad(), now);
            assert_eq!(rates.success_basis_points("a", now), 10_000, "{n} are too few");
        }
        rates.note("a", &Outcome::Closed, now);
        assert_eq!(rates.success_basis_points("a", now), 10_000, "a closed one does not count");
        rates.note("a", &good(), now);
        assert_eq!(rates.success_basis_points("a", now), 500);
        assert_eq!(rates.success_basis_points("b", now), 10_000, "another channel's");
        let later = now + SPAN;
        assert_eq!(rates.success_basis_points("a", later), 500, "the span before counts");
        rates.note("a", &good(), later);
        assert_eq!(rates.success_basis_points("a", later), 952);
        assert_eq!(rates.success_basis_points("a", later + SPAN * 2), 10_000, "forgotten");
        rates.forget(|_| false);
        assert!(rates.rates().is_empty());
    }
}
