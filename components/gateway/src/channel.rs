//! What the gateway asks of a payment network. One folder per network: a new
//! one implements this trait and is named in `settings::build`.
//!
//! Rules that every implementation keeps:
//! - A request is signed by `prepare_*`, before its attempt is committed, and
//!   the network refuses it from [`Channel::closed_at`] on. However long a
//!   process is frozen, what it sends afterwards is stale.
//! - Only a verified answer is an outcome; everything else is `Unknown`.
//! - `NotSent` means that no byte of the request can have left.
//! - Nothing is sent twice by itself: no redirects, no retries.

pub mod endpoint;
pub mod resolver;
pub mod simulator;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use payplane_api::money::Money;
use snafu::Snafu;

use payplane_common::trace::Trace;

#[derive(Debug, Snafu)]
#[snafu(display("cannot prepare a request to the network: {why}"))]
pub struct PrepareError {
    pub why: String,
}

/// A payment as a network is asked for it.
#[derive(Clone, Debug)]
pub struct Pay<'a> {
    pub number: &'a str,
    pub amount: Money,
    pub method: &'a str,
}

/// A refund as a network is asked for it.
#[derive(Clone, Debug)]
pub struct Repay<'a> {
    pub number: &'a str,
    pub original_number: &'a str,
    pub amount: Money,
}

/// A signed request that has not been sent. It can be sent once.
pub struct Prepared {
    pub number: String,
    /// The time that the signature bears.
    pub signed_at: Timestamp,
    pub request: reqwest::Request,
    /// What the answer must echo.
    pub nonce: String,
}

/// What a network says of a payment or a refund.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Succeeded {
        network_id: String,
        network_time: Timestamp,
    },
    Declined {
        code: String,
        network_id: Option<String>,
    },
    /// The network will decide later; a query tells.
    Processing {
        network_id: Option<String>,
    },
    /// It may or may not have had an effect.
    Unknown {
        why: String,
    },
    NotSent {
        why: String,
    },
}

/// What a network says when it is asked for a number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    Outcome(Outcome),
    /// It does not know the number; `at` is its own, signed time.
    NotFound {
        at: Timestamp,
    },
}

/// A payment network.
pub trait Channel: Send + Sync {
    fn prepare_pay(&self, pay: &Pay<'_>) -> Result<Prepared, PrepareError>;
    fn prepare_refund(&self, repay: &Repay<'_>) -> Result<Prepared, PrepareError>;
    fn send(&self, prepared: Prepared, trace: Trace) -> BoxFuture<'_, Outcome>;
    /// Asks for a payment or a refund by the number that was sent.
    fn query<'a>(&'a self, number: &'a str, trace: Trace) -> BoxFuture<'a, Found>;
    /// When the network's clock has passed this, it can no longer accept a
    /// request that was signed at `signed_at`.
    fn closed_at(&self, signed_at: Timestamp) -> Timestamp;
}

impl Found {
    /// Is it certain that the request has had no effect and never will?
    #[must_use]
    pub fn is_never(&self, channel: &dyn Channel, signed_at: Timestamp) -> bool {
        matches!(self, Self::NotFound { at } if *at > channel.closed_at(signed_at))
    }
}
