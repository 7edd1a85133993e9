//! The time zone of the Chinese networks, which has no summer time.

use jiff::tz::{Offset, TimeZone};

#[must_use]
pub fn zone() -> TimeZone {
    TimeZone::fixed(Offset::constant(8))
}
