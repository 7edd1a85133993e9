//! UnionPay's times: China's, without an offset, in whole seconds.

use jiff::civil::{Date, DateTime};
use jiff::{SignedDuration, Timestamp};

use crate::channel::china::zone;

/// How far the network's clock may be behind the one that a request was signed by.
const BEHIND_MAX: SignedDuration = SignedDuration::from_hours(24);

/// `yyyyMMddHHmmss`.
pub(super) fn in_china(at: Timestamp) -> String {
    at.to_zoned(zone()).strftime("%Y%m%d%H%M%S").to_string()
}

pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let (year, rest) = (text.get(..4)?, text.get(4..)?);
    with_year(number(year)?, rest)
}

/// `traceTime`, `MMddHHmmss`: when the network passed the payment or the refund on. Its
/// year is that in which it follows the request.
pub(super) fn of_trace(text: &str, requested_at: Timestamp) -> Option<Timestamp> {
    let year = requested_at.to_zoned(zone()).year();
    let least = requested_at.saturating_sub(BEHIND_MAX).unwrap_or(Timestamp::MIN);
    let years = [year.saturating_sub(1), year, year.saturating_add(1)];
    years.into_iter().filter_map(|year| with_year(year, text)).find(|at| *at >= least)
}

/// `settleDate`, `MMdd`: its year is that in which it follows the request.
pub(super) fn of_settlement(text: &str, requested_at: Timestamp) -> Option<Date> {
    let least = requested_at.saturating_sub(BEHIND_MAX).ok()?.to_zoned(zone()).date();
    let two = |from: usize| text.get(from..from.saturating_add(2)).and_then(number);
    let (month, day) = (i8::try_from(two(0)?).ok()?, i8::try_from(two(2)?).ok()?);
    let years = [least.year(), least.year().saturating_add(1)];
    let dates = years.into_iter().filter_map(|year| Date::new(year, month, day).ok());
    dates.filter(|_| text.len() == 4).find(|date| *date >= least)
}

fn with_year(year: i16, text: &str) -> Option<Timestamp> {
    if text.len() != 10 {
        return None;
    }
    let two =
        |from: usize| number(text.get(from..from.saturating_add(2))?).and_then(|n| i8::try_from(n).ok());
    let time = DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?, 0).ok()?;
    time.to_zoned(zone()).ok().map(|at| at.timestamp())
}

fn number(digits: &str) -> Option<i16> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}
