//! How many requests of one app a replica works on under load: as many as keep short what each
//! waits for the database. A write that takes much longer than in calm times stands in a queue,
//! and those who wait there gain nothing by being many.

use std::time::{Duration, Instant};

/// Of one app, at most and at least.
pub(crate) const APP_MAX: usize = 160;
const APP_MIN: usize = 40;
/// How long writes are looked at together, and how many at least.
const WINDOW: Duration = Duration::from_millis(100);
const WRITES_MIN: u32 = 8;
/// What a write may take: this, or so many times what it takes in calm times, on slow disks.
const WRITE: Duration = Duration::from_millis(30);
const CALM_TIMES: u32 = 3;
/// What it is taken for at first, at most: a process may start under load.
const CALM_FIRST: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Pressure {
    most: usize,
    since: Option<Instant>,
    took: Duration,
    writes: u32,
    /// What a write takes in calm times, once that is known.
    calm: Option<Duration>,
}

impl Default for Pressure {
    fn default() -> Self {
        Self { most: APP_MAX, since: None, took: Duration::ZERO, writes: 0, calm: None }
    }
}

impl Pressure {
    /// Of one app.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// A write took so long. Calm: there was room for all who came.
    pub(crate) fn note(&mut self, took: Duration, is_calm: bool, now: Instant) {
        let since = *self.since.get_or_insert(now);
        self.took = self.took.saturating_add(took);
        self.writes = self.writes.saturating_add(1);
        if self.writes < WRITES_MIN || now.saturating_duration_since(since) < WINDOW {
            return;
        }
        let mean = self.took.checked_div(self.writes).unwrap_or_default();
        (self.since, self.took, self.writes) = (Some(now), Duration::ZERO, 0);
        let mut calm = self.calm.unwrap_or(mean.min(CALM_FIRST));
        // Where as few as may be are worked on and it takes as long, no queue is why.
        if is_calm || self.most == APP_MIN {
            // Up by little, so that a pause is not taken for what is usual.
            let more = mean.saturating_sub(calm).min(WINDOW);
            let less = calm.saturating_sub(mean);
            calm = calm.saturating_add(more.checked_div(64).unwrap_or_default());
            calm = calm.saturating_sub(less.checked_div(4).unwrap_or_default());
        }
        self.calm = Some(calm);
        // Down slower than up: a pause is no overload.
        self.most = if mean > calm.saturating_mul(CALM_TIMES).max(WRITE) {
            self.most.saturating_sub(self.most.div_ceil(20)).max(APP_MIN)
        } else {
            self.most.saturating_add(self.most.div_ceil(10)).min(APP_MAX)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes of a second, each a millisecond after the one before.
    fn second(pressure: &mut Pressure, start: Instant, millis: u64, is_calm: bool) -> Instant {
        for write in 0..1000 {
            let took = Duration::from_millis(millis);
            pressure.note(took, is_calm, start + Duration::from_millis(write));
        }
        start + Duration::from_secs(1)
    }

    #[test]
    fn who_waits_for_long_has_fewer_beside_him_and_soon_as_many_as_before() {
        let (mut pressure, mut now) = (Pressure::default(), Instant::now());
        now = second(&mut pressure, now, 10, true);
        assert_eq!(pressure.most(), APP_MAX);
        // A queue: each waits for those who are there.
        for _ in 0..600 {
            let waits = u64::try_from(pressure.most()).unwrap() / 2;
            now = second(&mut pressure, now, waits, false);
            assert!((APP_MIN..APP_MAX).contains(&pressure.most()), "{}", pressure.most());
        }
        assert!(pressure.most() < APP_MAX / 2, "also after ten minutes of it: {}", pressure.most());
        for _ in 0..2 {
            now = second(&mut pressure, now, 10, false);
        }
        assert_eq!(pressure.most(), APP_MAX);
    }

    #[test]
    fn a_slow_disk_is_no_overload() {
        let (mut pressure, mut now) = (Pressure::default(), Instant::now());
        now = second(&mut pressure, now, 40, false);
        assert_eq!(pressure.most(), APP_MAX, "as it starts");
        // Slower than what may be: however few are worked on.
        for _ in 0..30 {
            now = second(&mut pressure, now, 90, false);
        }
        assert_eq!(pressure.most(), APP_MAX, "{:?}", pressure.calm);
        // What waited for a stall makes nothing usual.
        let mut pressure = Pressure::default();
        now = second(&mut pressure, now, 10, true);
        let calm = pressure.calm.unwrap_or_default();
        for minute in 1..=3 {
            (0..500).for_each(|_| pressure.note(Duration::from_secs(9), true, now + WINDOW * minute));
        }
        let now_calm = pressure.calm.unwrap_or_default();
        assert!(now_calm < calm + Duration::from_millis(6), "{now_calm:?}");
    }
}
