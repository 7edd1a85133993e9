//! What went by in a window of time. It is counted in slices, of which it has twelve and
//! the one that is under way: never less than the window, at most a twelfth of it more.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::limits::Used;

const SLICES: i64 = 12;

/// Which slices a window has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The latest seconds.
    Rolling { seconds: i64 },
    /// One, whose key says when it is.
    Whole,
}

/// Where something is counted at a moment, and from which slice on it is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub start: i64,
    pub from: i64,
}

impl Span {
    #[must_use]
    pub fn at(self, now_seconds: i64) -> Place {
        match self {
            Self::Rolling { seconds } => {
                let width = seconds.checked_div(SLICES).unwrap_or(1).max(1);
                let into = now_seconds.checked_rem_euclid(width).unwrap_or(0);
                // A slice that ends within the window is looked at.
                let from = now_seconds.saturating_sub(seconds).saturating_sub(width).saturating_add(1);
                Place { start: now_seconds.saturating_sub(into), from }
            }
            Self::Whole => Place { start: 0, from: 0 },
        }
    }
}

/// What was counted, by the slices' starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slices(BTreeMap<i64, Used>);

impl Slices {
    /// As it is stored: `[[start, payments, sum], ..]`.
    #[must_use]
    pub fn read(stored: Value) -> Option<Self> {
        let all: Vec<(i64, i64, i64)> = serde_json::from_value(stored).ok()?;
        let used =
            |(start, payments, amount_minor): (i64, i64, i64)| (start, Used { amount_minor, payments });
        Some(Self(all.into_iter().map(used).collect()))
    }

    #[must_use]
    pub fn stored(&self) -> Value {
        self.0.iter().map(|(start, used)| json!([start, used.payments, used.amount_minor])).collect()
    }

    #[must_use]
    pub fn used(&self, place: Place) -> Used {
        self.0.range(place.from..).fold(Used::default(), |sum, (_, slice)| plus(sum, *slice))
    }

    /// Counts, and forgets what nobody looks at any more.
    pub fn count(&mut self, place: Place, adds: Used) {
        self.0.retain(|start, _| *start >= place.from);
        let slice = self.0.entry(place.start).or_default();
        *slice = plus(*slice, adds);
    }
}

fn plus(one: Used, other: Used) -> Used {
    Used {
        amount_minor: one.amount_minor.saturating_add(other.amount_minor),
        payments: one.payments.saturating_add(other.payments),
    }
}

/// What a window may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Most {
    Payments(i64),
    AmountMinor(i64),
    /// So many payments are not above the amount together.
    Parts {
        payments_min: i64,
        amount_minor_max: i64,
    },
}

impl Most {
    /// What was seen before, where one payment more is too much.
    #[must_use]
    pub fn exceeded(self, before: Used, adds: Used) -> Option<Value> {
        let after = plus(before, adds);
        match self {
            Self::Payments(max) => {
                (after.payments > max).then(|| json!({"paymentsBefore": before.payments, "paymentsMax": max}))
            }
            Self::AmountMinor(max) => (after.amount_minor > max)
                .then(|| json!({"amountMinorBefore": before.amount_minor, "amountMinorMax": max})),
            Self::Parts { payments_min, amount_minor_max } => {
                (after.payments >= payments_min && after.amount_minor > amount_minor_max).then(|| {
                    json!({"paymentsBefore": before.payments, "paymentsMin": payments_min,
                        "amountMinorBefore": before.amount_minor, "amountMinorMax": amount_minor_max})
                })
            }
        }
    }
}
