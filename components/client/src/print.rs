//! Standard output. A reader that went away (`kubectl exec` cut off) must not
//! end a load run, so failures to print are ignored.

use std::io::Write;

use serde::Serialize;

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// For people
    #[default]
    Text,
    /// The answer as it came
    Json,
}

/// Prints a line.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// Prints a line beside the output.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// Prints a value as JSON.
pub fn json(value: &impl Serialize) {
    line(&serde_json::to_string_pretty(value).unwrap_or_default());
}

mod receipt;
mod table;

pub use receipt::{payment, payout, refund};
pub use table::trial_balance;

/// Writes minor units as people do: `12.34`. An unknown currency is written in
/// whole minor units.
#[must_use]
pub fn amount(minor: i64, currency: &str) -> String {
    let digits = payplane_api::currency::Currency::parse(currency).map_or(0, |c| usize::from(c.exponent()));
    let sign = if minor < 0 { "-" } else { "" };
    let text = format!("{:0width$}", minor.unsigned_abs(), width = digits.saturating_add(1));
    let (whole, part) = text.split_at(text.len().saturating_sub(digits));
    if part.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{part}") }
}

#[cfg(test)]
mod tests {
    use super::amount;

    #[test]
    fn amounts_follow_the_currency() {
        for (minor, currency, text) in [
            (1234, "CNY", "12.34"),
            (5, "CNY", "0.05"),
            (-5, "CNY", "-0.05"),
            (7, "JPY", "7"),
            (7, "???", "7"),
        ] {
            assert_eq!(amount(minor, currency), text);
        }
    }
}
