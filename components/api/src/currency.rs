//! ISO 4217 currencies.

use serde::{Deserialize, Serialize};
use snafu::Snafu;

/// A currency of ISO 4217 that has a minor unit, or XTS (its code for testing).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency([u8; 3]);

#[derive(Debug, Snafu)]
#[snafu(display("{code:?} is not an ISO 4217 currency that amounts can be kept in"))]
pub struct UnknownCurrency {
    code: String,
}

impl Currency {
    /// The code for testing. Its exponent here is 0.
    pub const XTS: Self = Self(*b"XTS");

    /// Reads an alphabetic code, upper case as ISO 4217 writes it.
    pub fn parse(code: &str) -> Result<Self, UnknownCurrency> {
        let known = code == "XTS" || iso(code).is_some_and(|c| c.exponent().is_some());
        match <[u8; 3]>::try_from(code.as_bytes()) {
            Ok(bytes) if known => Ok(Self(bytes)),
            _ => Err(UnknownCurrency { code: code.chars().take(16).collect() }),
        }
    }

    /// How many decimal digits the minor unit has: 2 for CNY, 0 for JPY.
    #[must_use]
    pub fn exponent(self) -> u8 {
        let digits = iso(self.as_str()).and_then(|c| c.exponent());
        digits.and_then(|d| u8::try_from(d).ok()).unwrap_or(0)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        // The bytes were checked to be ASCII when the value was made.
        std::str::from_utf8(&self.0).unwrap_or("XTS")
    }
}

fn iso(code: &str) -> Option<iso_currency::Currency> {
    iso_currency::Currency::from_code(code)
}

impl std::fmt::Display for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for Currency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Currency {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let code = String::deserialize(d)?;
        Self::parse(&code).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Currency;

    #[test]
    fn exponents_are_iso_4217s() {
        for (code, digits) in [("CNY", 2), ("USD", 2), ("JPY", 0), ("KWD", 3), ("XTS", 0)] {
            assert_eq!(Currency::parse(code).unwrap().exponent(), digits, "{code}");
        }
    }

    #[test]
    fn what_is_no_currency_is_refused() {
        for code in ["", "cny", "CN", "CNYX", "XAU", "ZZZ", "¥¥"] {
            assert!(Currency::parse(code).is_err(), "{code}");
        }
    }
}
