//! The networks' clock: Beijing time, eight hours ahead all year.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

fn zone() -> TimeZone {
    TimeZone::fixed(Offset::constant(8))
}

fn format(at: Timestamp, format: &str) -> String {
    at.to_zoned(zone()).strftime(format).to_string()
}

/// 2018-06-08T10:34:56+08:00
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    format(at, "%Y-%m-%dT%H:%M:%S%:z")
}

/// 2018-06-08 10:34:56
#[must_use]
pub fn spaced(at: Timestamp) -> String {
    format(at, "%Y-%m-%d %H:%M:%S")
}

/// 20180608103456
#[must_use]
pub fn compact(at: Timestamp) -> String {
    format(at, "%Y%m%d%H%M%S")
}

/// 20180608
#[must_use]
pub fn day(at: Timestamp) -> String {
    format(at, "%Y%m%d")
}

/// 0608103456
#[must_use]
pub fn month_to_second(at: Timestamp) -> String {
    format(at, "%m%d%H%M%S")
}

/// Reads what [`spaced`] writes, and nothing else.
#[must_use]
pub fn read_spaced(text: &str) -> Option<Timestamp> {
    read(text, "%Y-%m-%d %H:%M:%S", 19)
}

/// Reads what [`compact`] writes, and nothing else.
#[must_use]
pub fn read_compact(text: &str) -> Option<Timestamp> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| read(text, "%Y%m%d%H%M%S", 14))?
}

/// Reads a time of RFC 3339 with its zone.
#[must_use]
pub fn read_rfc3339(text: &str) -> Option<Timestamp> {
    let plain = text.is_ascii() && (20..=35).contains(&text.len()) && text.as_bytes().get(10) == Some(&b'T');
    plain.then(|| text.parse().ok())?
}

fn read(text: &str, format: &str, length: usize) -> Option<Timestamp> {
    if text.len() != length || !text.is_ascii() {
        return None;
    }
    let civil = DateTime::strptime(format, text).ok()?;
    Some(civil.to_zoned(zone()).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_written_and_read_in_beijing() {
        let at: Timestamp = "2018-06-08T02:34:56Z".parse().unwrap();
        assert_eq!(rfc3339(at), "2018-06-08T10:34:56+08:00");
        assert_eq!(spaced(at), "2018-06-08 10:34:56");
        assert_eq!((compact(at), day(at)), ("20180608103456".to_owned(), "20180608".to_owned()));
        assert_eq!(read_spaced("2018-06-08 10:34:56"), Some(at));
        assert_eq!(read_compact("20180608103456"), Some(at));
        assert_eq!(read_rfc3339("2018-06-08T10:34:56+08:00"), Some(at));
        for bad in ["", "2018-06-08", "2018-06-08 25:34:56", "2018-6-08 10:34:561"] {
            assert_eq!((read_spaced(bad), read_compact(bad), read_rfc3339(bad)), (None, None, None), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in ".{0,40}") {
            let _ = (read_spaced(&text), read_compact(&text), read_rfc3339(&text));
        }

        #[test]
        fn what_is_written_is_read_back(second in 0i64..4_000_000_000) {
            let at = Timestamp::from_second(second).unwrap();
            prop_assert_eq!(read_spaced(&spaced(at)), Some(at));
            prop_assert_eq!(read_compact(&compact(at)), Some(at));
            prop_assert_eq!(read_rfc3339(&rfc3339(at)), Some(at));
        }
    }
}
