//! What the gateway asks of a payment network. One folder per network: a new
//! one implements this trait and is named in `settings::build`.
//!
//! Rules that every implementation keeps:
//! - A request is signed by `prepare_*`, before its attempt is committed, and
//!   the network refuses it from [`Channel::closed_at`] on. However long a
//!   process is frozen, what it sends afterwards is stale.
//! - Only a verified answer is an outcome; everything else is `Unknown`.
//! - `NotSent` means that no byte of the request can have left, or that the network
//!   proved that it refused it unread.
//! - Nothing is sent twice by itself: no redirects, no retries.

pub mod endpoint;
pub mod resolver;
pub mod simulator;

use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
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
    /// The network confirmed that it takes no money for it any more.
    Closed,
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
    /// Asks the network to take no money for a payment any more. `Closed` only where it
    /// confirms that, also for a request that may still be under way to it.
    fn close<'a>(&'a self, number: &'a str, trace: Trace) -> BoxFuture<'a, Outcome>;
    /// Once a "not found" bears a later time than this, the network looked when it
    /// could no longer accept a request that was signed at `signed_at`.
    fn closed_at(&self, signed_at: Timestamp) -> Timestamp;
}

/// How far a network's clock may be ahead of ours.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(1);
const TEXT_MAX: usize = 128;

impl Outcome {
    /// A success whose id and time can be booked, whatever the network sent: the
    /// money has moved, so the answer is never refused for them.
    #[must_use]
    pub fn succeeded(network_id: &str, network_time: Timestamp) -> Self {
        let now = Timestamp::now();
        let network_time = if network_time.duration_since(now) > AHEAD_MAX { now } else { network_time };
        Self::Succeeded { network_id: storable(network_id), network_time }
    }
}

/// A network's text as books and database take it: 1 to 128 printable ASCII
/// characters, else its digest, by which it is found again.
#[must_use]
pub fn storable(text: &str) -> String {
    if (1..=TEXT_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return text.to_owned();
    }
    format!("sha256:{}", payplane_api::config::hash(text.as_bytes()))
}

impl Outcome {
    /// Did the network say it, in an answer that verifies?
    #[must_use]
    pub fn is_said(&self) -> bool {
        !matches!(self, Self::Unknown { .. } | Self::NotSent { .. })
    }
}

impl Found {
    /// Is it certain that the request has had no effect and never will?
    #[must_use]
    pub fn is_never(&self, channel: &dyn Channel, signed_at: Timestamp) -> bool {
        matches!(self, Self::NotFound { at } if *at > channel.closed_at(signed_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_network_says_can_always_be_booked() {
        assert_eq!(storable("N-1"), "N-1");
        let long = "9".repeat(129);
        for odd in ["", "a b", "\0", "\u{7ea2}", &long] {
            let text = storable(odd);
            assert!(text.starts_with("sha256:") && text.len() <= TEXT_MAX && text.is_ascii(), "{text}");
        }
        let now = Timestamp::now();
        let late = now.saturating_add(SignedDuration::from_hours(48)).unwrap();
        let Outcome::Succeeded { network_time, .. } = Outcome::succeeded("N-1", late) else { unreachable!() };
        assert!(network_time < late);
        let early = now.saturating_sub(SignedDuration::from_hours(48)).unwrap();
        let told = Outcome::Succeeded { network_id: "N-1".into(), network_time: early };
        assert_eq!(Outcome::succeeded("N-1", early), told);
    }
}
