//! Amounts: whole minor units with a currency, checked arithmetic, no floats.
#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

use serde::{Deserialize, Serialize};
use snafu::Snafu;

use crate::currency::Currency;

/// The largest amount: 2^53-1 minor units, which every JSON reader keeps exact.
pub const AMOUNT_MINOR_MAX: i64 = (1 << 53) - 1;
/// Basis points in a whole.
pub const BASIS_POINTS: i64 = 10_000;

#[derive(Debug, Snafu, PartialEq, Eq)]
pub enum MoneyError {
    #[snafu(display("{minor} minor units lie outside 0 to {AMOUNT_MINOR_MAX}"))]
    OutOfRange { minor: i128 },
    #[snafu(display("amounts in {left} and {right} cannot be combined"))]
    CurrencyMismatch { left: Currency, right: Currency },
}

/// An amount of 0 to 2^53-1 minor units of one currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", try_from = "RawMoney")]
pub struct Money {
    amount_minor: i64,
    currency: Currency,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawMoney {
    amount_minor: i64,
    currency: Currency,
}

impl TryFrom<RawMoney> for Money {
    type Error = MoneyError;

    fn try_from(raw: RawMoney) -> Result<Self, MoneyError> {
        Self::new(raw.amount_minor, raw.currency)
    }
}

impl Money {
    pub fn new(amount_minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        if !(0..=AMOUNT_MINOR_MAX).contains(&amount_minor) {
            return Err(MoneyError::OutOfRange { minor: amount_minor.into() });
        }
        Ok(Self { amount_minor, currency })
    }

    #[must_use]
    pub fn minor(self) -> i64 {
        self.amount_minor
    }

    #[must_use]
    pub fn currency(self) -> Currency {
        self.currency
    }

    pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        narrow(i128::from(self.amount_minor).checked_add(other.amount_minor.into()), self.currency)
    }

    pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
        self.same_currency(other)?;
        narrow(i128::from(self.amount_minor).checked_sub(other.amount_minor.into()), self.currency)
    }

    fn same_currency(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            return Ok(());
        }
        Err(MoneyError::CurrencyMismatch { left: self.currency, right: other.currency })
    }
}

fn narrow(minor: Option<i128>, currency: Currency) -> Result<Money, MoneyError> {
    let minor = minor.unwrap_or(i128::MAX);
    match i64::try_from(minor) {
        Ok(small) => Money::new(small, currency),
        Err(_) => Err(MoneyError::OutOfRange { minor }),
    }
}

/// The fee on an amount: basis points of it, rounded half up to a minor unit,
/// plus a fixed part, never above `max_minor` nor the amount itself.
///
/// # Errors
/// Only where a part of the rule is negative.
pub fn fee(
    amount: Money,
    basis_points: i64,
    fixed_minor: i64,
    max_minor: Option<i64>,
) -> Result<Money, MoneyError> {
    let max_minor = max_minor.unwrap_or(AMOUNT_MINOR_MAX);
    if let Some(minor) = [basis_points, fixed_minor, max_minor].into_iter().find(|minor| *minor < 0) {
        return Err(MoneyError::OutOfRange { minor: minor.into() });
    }
    let whole = i128::from(BASIS_POINTS);
    let half = whole.checked_div(2).unwrap_or(0);
    let share = i128::from(amount.amount_minor)
        .checked_mul(basis_points.into())
        .and_then(|product| product.checked_add(half))
        .and_then(|product| product.checked_div(whole))
        .and_then(|share| share.checked_add(fixed_minor.into()))
        .unwrap_or(i128::MAX);
    narrow(Some(share.min(max_minor.into()).min(amount.amount_minor.into())), amount.currency)
}

/// Writes an amount as people do: `12.34 CNY`.
impl std::fmt::Display for Money {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digits = usize::from(self.currency.exponent());
        let text = format!("{:0width$}", self.amount_minor, width = digits.saturating_add(1));
        let (whole, part) = text.split_at(text.len().saturating_sub(digits));
        if part.is_empty() {
            return write!(f, "{whole} {}", self.currency);
        }
        write!(f, "{whole}.{part} {}", self.currency)
    }
}

#[cfg(test)]
#[expect(clippy::arithmetic_side_effects, reason = "the exact result that ours is compared with")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cny(minor: i64) -> Money {
        Money::new(minor, Currency::parse("CNY").unwrap()).unwrap()
    }

    #[test]
    fn fees_round_half_up_and_never_exceed_the_amount() {
        for (amount, basis_points, fixed, max, expected) in [
            (10_000, 60, 0, None, 60),
            (83, 60, 0, None, 0),
            (84, 60, 0, None, 1),
            (25, 200, 0, None, 1),
            (1, 0, 30, None, 1),
            (0, 60, 5, None, 0),
            (10_000, 60, 5, Some(65), 65),
            (10_000, 60, 5, Some(64), 64),
            (10_000, 60, 5, Some(0), 0),
            (3, 10_000, 5, Some(4), 3),
        ] {
            assert_eq!(
                fee(cny(amount), basis_points, fixed, max).unwrap(),
                cny(expected),
                "{amount} at {basis_points}"
            );
        }
    }

    #[test]
    fn a_rule_without_sense_is_refused() {
        for (basis_points, fixed, max) in [(-1, 0, None), (0, -1, None), (0, 0, Some(-1))] {
            assert!(fee(cny(1), basis_points, fixed, max).is_err());
        }
        assert!(fee(cny(AMOUNT_MINOR_MAX), i64::MAX, i64::MAX, None).is_ok());
    }

    #[test]
    fn currencies_do_not_mix() {
        let yen = Money::new(1, Currency::parse("JPY").unwrap()).unwrap();
        assert!(cny(1).checked_add(yen).is_err());
    }

    #[test]
    fn amounts_read_as_people_write_them() {
        assert_eq!(cny(5).to_string(), "0.05 CNY");
        assert_eq!(cny(123_456).to_string(), "1234.56 CNY");
        assert_eq!(Money::new(7, Currency::parse("JPY").unwrap()).unwrap().to_string(), "7 JPY");
    }

    proptest! {
        #[test]
        fn a_fee_is_within_one_unit_of_the_exact_share(
            amount in 0..=AMOUNT_MINOR_MAX, basis_points in 0..=10_000i64, max in 0..=AMOUNT_MINOR_MAX
        ) {
            let of = |max| i128::from(fee(cny(amount), basis_points, 0, max).unwrap().minor());
            let (free, bound) = (of(None), of(Some(max)));
            let exact = i128::from(amount) * i128::from(basis_points);
            prop_assert!((free * 10_000 - exact).abs() <= 5_000);
            prop_assert!(free <= i128::from(amount));
            prop_assert_eq!(bound, free.min(max.into()));
        }

        #[test]
        fn sums_are_exact_or_refused(a in 0..=AMOUNT_MINOR_MAX, b in 0..=AMOUNT_MINOR_MAX) {
            match cny(a).checked_add(cny(b)) {
                Ok(sum) => prop_assert_eq!(sum.minor(), a + b),
                Err(_) => prop_assert!(a + b > AMOUNT_MINOR_MAX),
            }
        }

        #[test]
        fn json_amounts_outside_the_range_are_refused(minor in any::<i64>()) {
            let text = format!(r#"{{"amountMinor":{minor},"currency":"CNY"}}"#);
            let read: Result<Money, _> = serde_json::from_str(&text);
            prop_assert_eq!(read.is_ok(), (0..=AMOUNT_MINOR_MAX).contains(&minor));
        }
    }
}
