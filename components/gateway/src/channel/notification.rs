//! What a network sends by itself: the outcome of a payment, a refund or a payout, or that an agreement
//! stands otherwise.

use payplane_api::currency::Currency;
use snafu::Snafu;

use super::Outcome;

/// What a notification is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About {
    Payment,
    Refund,
    Payout,
    /// The network is asked how it stands.
    Agreement,
}

/// A notification that verified.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// The number that was sent to the network.
    pub number: String,
    pub about: About,
    /// The currency of its amount, where the network has more than one.
    pub currency: Option<Currency>,
    pub outcome: Outcome,
}

/// A notification that is not believed.
#[derive(Debug, Snafu)]
#[snafu(display("{why}"))]
pub struct Unproven {
    pub why: String,
}

impl Unproven {
    #[must_use]
    pub fn because(why: impl Into<String>) -> Self {
        Self { why: why.into() }
    }

    #[must_use]
    pub fn none_expected() -> Self {
        Self::because("this network sends no notifications")
    }
}

/// What a network is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    pub status: u16,
    pub content_type: &'static str,
    pub body: String,
}

impl Receipt {
    #[must_use]
    pub fn bare(taken: bool) -> Self {
        Self { status: if taken { 200 } else { 500 }, content_type: "text/plain", body: String::new() }
    }
}
