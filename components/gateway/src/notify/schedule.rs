//! When a notification that was not taken is sent again.

use std::time::Duration;

use uuid::Uuid;

/// Seconds from one try to the next; the last one stands for all later ones.
const INTERVALS: [u32; 14] =
    [2, 8, 30, 120, 300, 600, 1200, 1800, 3600, 7200, 10_800, 14_400, 18_000, 21_600];

/// The time to the try behind this one, longer by up to a quarter, so that what failed
/// together does not come again together.
#[must_use]
pub fn after(number: i32, dice: u8) -> Duration {
    let index = usize::try_from(number.saturating_sub(1)).unwrap_or(0).min(INTERVALS.len().saturating_sub(1));
    let seconds = INTERVALS.get(index).copied().unwrap_or(u32::MAX);
    let jitter = u64::from(seconds).saturating_mul(1000).saturating_mul(u64::from(dice)) / 1024;
    Duration::from_secs(u64::from(seconds)).saturating_add(Duration::from_millis(jitter))
}

/// A number from 0 to 255.
#[must_use]
pub fn dice() -> u8 {
    Uuid::new_v4().as_bytes()[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_grow_apart_and_last_for_more_than_a_day() {
        let (mut total, mut last) = (Duration::ZERO, Duration::ZERO);
        for number in 1..=15 {
            let (least, most) = (after(number, 0), after(number, 255));
            assert!(least >= last && most > least && most <= least.mul_f64(1.25), "{number}");
            (total, last) = (total + least, least);
            // Ten tries within two hours and a half.
            assert!(number > 9 || total < Duration::from_secs(9_000), "{number}");
        }
        assert!(total > Duration::from_secs(86_400));
        for odd in [i32::MIN, 0, 1] {
            assert_eq!(after(odd, 0), Duration::from_secs(2), "{odd}");
        }
        assert_eq!(after(i32::MAX, 0), after(14, 0));
    }
}
