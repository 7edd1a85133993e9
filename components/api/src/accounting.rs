//! The posting table: for each event of acquiring, what it debits and credits.
//! Whoever books an event takes its entries from here, and `docs/accounting.md`
//! is written from here, so that what is said is what is booked.
#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

mod chart;
pub mod document;
pub mod events;

use snafu::{OptionExt, Snafu};

use crate::ledger::v1::{Direction, Entry};
pub use chart::{Account, Who};

/// An event of the business, and how it is booked.
#[derive(Debug)]
pub struct Event {
    pub name: &'static str,
    pub what: &'static str,
    /// The posting's kind: `refund`, `reversal`, `capture` and the like have rules in the ledger.
    pub kind: &'static str,
    pub lines: &'static [Line],
    /// The event that it is linked to, whose amount bounds it.
    pub original: Option<&'static str>,
    /// Which moment the money moved at: it gives the accounting date.
    pub effective: &'static str,
    /// The identity's key; what the caller stored first gives the key date.
    pub key: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub struct Line {
    pub side: Direction,
    pub account: Account,
    pub part: Part,
}

/// Which part of an event's amount a line moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Amount,
    /// Our fee, without tax.
    Fee,
    /// The value-added tax on our fee.
    Vat,
    /// Fee and tax together.
    FeeAndVat,
    /// What is left without both.
    Net,
}

/// In minor units of one currency.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Amounts {
    pub amount: i64,
    pub fee: i64,
    pub vat: i64,
}

#[derive(Debug, PartialEq, Eq, Snafu)]
#[snafu(display("the amounts of a {event} do not add up: {amounts:?}"))]
pub struct AmountsError {
    event: &'static str,
    amounts: Amounts,
}

impl Amounts {
    fn part(self, part: Part) -> Option<i64> {
        let both = self.fee.checked_add(self.vat)?;
        let minor = match part {
            Part::Amount => self.amount,
            Part::Fee => self.fee,
            Part::Vat => self.vat,
            Part::FeeAndVat => both,
            Part::Net => self.amount.checked_sub(both)?,
        };
        (minor >= 0).then_some(minor)
    }
}

impl Event {
    /// The entries of the event; a line that moves nothing is left out.
    pub fn entries(
        &'static self,
        who: Who<'_>,
        amounts: Amounts,
        currency: &str,
    ) -> Result<Vec<Entry>, AmountsError> {
        let mut entries = Vec::with_capacity(self.lines.len());
        for line in self.lines {
            let amount_minor = amounts.part(line.part).context(AmountsSnafu { event: self.name, amounts })?;
            let (account, direction) = (line.account.code(who), line.side.into());
            if amount_minor > 0 {
                entries.push(Entry { account, direction, amount_minor, currency: currency.to_owned() });
            }
        }
        snafu::ensure!(entries.len() >= 2, AmountsSnafu { event: self.name, amounts });
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHO: Who<'_> = Who { merchant: "m", channel: "c", customer: "u" };

    proptest! {
        #[test]
        fn every_event_balances_or_is_refused(amount in 0..1i64 << 53, fee in -5..1i64 << 53, vat in -5..1000i64) {
            for event in events::ALL {
                let Ok(entries) = event.entries(WHO, Amounts { amount, fee, vat }, "CNY") else { continue };
                let sum: i128 = entries.iter().map(|entry| match entry.direction() {
                    Direction::Debit => i128::from(entry.amount_minor),
                    _ => i128::from(entry.amount_minor).saturating_neg(),
                }).sum();
                prop_assert_eq!(sum, 0, "{}", event.name);
                prop_assert!(entries.iter().all(|entry| entry.amount_minor > 0));
            }
        }
    }

    #[test]
    fn what_does_not_add_up_is_refused() {
        let sale = |amount, fee, vat| events::SALE.entries(WHO, Amounts { amount, fee, vat }, "CNY");
        assert_eq!(sale(100, 60, 4).unwrap().len(), 4);
        assert_eq!(sale(100, 0, 0).unwrap().len(), 2, "lines of nothing are left out");
        for (amount, fee, vat) in
            [(0, 0, 0), (100, 101, 0), (100, 97, 4), (100, -1, 0), (-1, 0, 0), (100, i64::MAX, 1)]
        {
            assert!(sale(amount, fee, vat).is_err(), "{amount} {fee} {vat}");
        }
    }

    #[test]
    fn events_are_linked_to_events_that_are_there() {
        let mut names = std::collections::BTreeSet::new();
        for event in events::ALL {
            assert!(names.insert(event.name), "{} is there twice", event.name);
            let linked = matches!(event.kind, "refund" | "reversal");
            assert!(!linked || event.original.is_some(), "{} has no original", event.name);
            if let Some(original) = event.original {
                assert!(events::ALL.iter().any(|other| other.name == original), "{}: {original}", event.name);
            }
        }
    }
}
