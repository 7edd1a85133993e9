//! What a setting may be, read as PostgreSQL reads it. A value that PostgreSQL
//! refuses would keep every instance from starting again.

use super::{ALLOWED, Parameter};

pub(super) const KB: f64 = 1024.0;
pub(super) const MB: f64 = 1024.0 * KB;
pub(super) const GB: f64 = 1024.0 * MB;
pub(super) const SECOND: f64 = 1000.0;
const MINUTE: f64 = 60.0 * SECOND;
pub(super) const HOUR: f64 = 60.0 * MINUTE;
const BYTES: [(&str, f64); 5] = [("B", 1.0), ("kB", KB), ("MB", MB), ("GB", GB), ("TB", 1024.0 * GB)];
const MILLIS: [(&str, f64); 6] =
    [("us", 0.001), ("ms", 1.0), ("s", SECOND), ("min", MINUTE), ("h", HOUR), ("d", 24.0 * HOUR)];

/// Which values a setting takes. A number without a unit counts in `bare`, which
/// is bytes or milliseconds, as the limits are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Values {
    /// One of these, from the least to the most.
    Words(&'static [&'static str]),
    Number {
        least: f64,
        most: f64,
    },
    Time {
        bare: f64,
        least: f64,
        most: f64,
    },
    Size {
        bare: f64,
        least: f64,
        most: f64,
    },
    /// Memory of the instance: at most half of it.
    Memory {
        bare: f64,
        least: f64,
    },
}

/// Says what is wrong with a setting's value, where something is. `memory` is the
/// instance's, in bytes.
pub fn check(name: &str, text: &str, memory: f64) -> Result<(), String> {
    let Some(parameter) = ALLOWED.iter().find(|known| known.name == name) else {
        return Err("is not allowed".to_owned());
    };
    if parameter.minus_one && text == "-1" {
        return Ok(());
    }
    let (value, least, most) = match parameter.values {
        Values::Words(words) if words.contains(&text) => return Ok(()),
        Values::Words(_) => return Err(format!("is {text}, not {}", describe(parameter))),
        Values::Number { least, most } => (text.parse().ok(), least, most),
        Values::Time { bare, least, most } => (read(text, bare, &MILLIS), least, most),
        Values::Size { bare, least, most } => (read(text, bare, &BYTES), least, most),
        Values::Memory { bare, least } => (read(text, bare, &BYTES), least, memory / 2.0),
    };
    match value {
        None => Err(format!("is {text}, which is no value of it ({})", describe(parameter))),
        Some(value) if value < least || value > most => {
            Err(format!("is {text}, which is out of range ({})", describe(parameter)))
        }
        Some(_) => Ok(()),
    }
}

/// The range in words: `64kB to half of the memory limit`.
#[must_use]
pub fn describe(parameter: &Parameter) -> String {
    let words = match parameter.values {
        Values::Words(words) => words.join(" or "),
        Values::Number { least, most } => format!("{least} to {most}"),
        Values::Time { least, most, .. } => format!("{} to {}", write(least, &MILLIS), write(most, &MILLIS)),
        Values::Size { least, most, .. } => format!("{} to {}", write(least, &BYTES), write(most, &BYTES)),
        Values::Memory { least, .. } => format!("{} to half of the memory limit", write(least, &BYTES)),
    };
    if parameter.minus_one { format!("-1, or {words}") } else { words }
}

fn read(text: &str, bare: f64, units: &[(&str, f64)]) -> Option<f64> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor = match unit {
        "" => bare,
        unit => units.iter().find(|(name, _)| *name == unit)?.1,
    };
    number.parse::<f64>().ok().map(|number| number * factor)
}

/// In the largest unit that makes a whole number of it.
fn write(value: f64, units: &[(&str, f64)]) -> String {
    let whole = units.iter().rev().find(|(_, factor)| value >= *factor && (value / factor).fract() == 0.0);
    whole.map_or_else(|| value.to_string(), |(unit, factor)| format!("{}{unit}", value / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_with_and_without_their_unit() {
        let memory = 512.0 * MB;
        for (name, text) in [
            ("shared_buffers", "256MB"),
            ("shared_buffers", "32768"),
            ("work_mem", "64"),
            ("checkpoint_timeout", "30"),
            ("checkpoint_timeout", "1.5h"),
            ("wal_buffers", "-1"),
            ("checkpoint_completion_target", "0.9"),
            ("track_io_timing", "on"),
        ] {
            assert_eq!(check(name, text, memory), Ok(()), "{name}");
        }
        for (name, text) in [
            ("shared_buffers", "257MB"),
            ("shared_buffers", "64ms"),
            ("shared_buffers", "-1"),
            ("work_mem", "63"),
            ("checkpoint_timeout", "29s"),
            ("checkpoint_timeout", "1GB"),
            ("max_connections", "3"),
            ("max_connections", "300MB"),
            ("track_io_timing", "1"),
            ("fsync", "off"),
        ] {
            assert!(check(name, text, memory).is_err(), "{name} {text}");
        }
        let said = check("min_wal_size", "1MB", memory).expect_err("too small");
        assert_eq!(said, "is 1MB, which is out of range (32MB to 1TB)");
    }
}
