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

pub mod agreement;
pub mod alipay;
pub mod bank;
pub mod china;
pub mod connection;
pub mod credentials;
pub mod endpoint;
pub mod notification;
pub mod record;
pub mod resolver;
pub mod rsa;
pub mod simulator;
pub mod unionpay;
pub mod wechat;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use payplane_api::money::{AMOUNT_MINOR_MAX, Money};
use serde_json::Value;
use snafu::Snafu;

use payplane_common::trace::Trace;

use self::agreement::{Agreements, WrongCode};
use self::notification::{Notification, Receipt, Unproven};

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
    /// What the payer is shown.
    pub description: &'a str,
    /// Who pays, by the network's name for the payer; where the method needs one.
    pub payer: Option<&'a str>,
    /// It cannot be paid any more from here on.
    pub expires_at: Timestamp,
}

/// A payment, a refund or a payout that a network was asked for.
#[derive(Clone, Debug)]
pub struct Sent {
    pub number: String,
    pub amount: Money,
    /// The time that the request's signature bears.
    pub signed_at: Timestamp,
    pub network_id: Option<String>,
    pub kind: Kind,
}

#[derive(Clone, Debug)]
pub enum Kind {
    Payment { expires_at: Timestamp },
    Refund { original_number: String },
    Payout,
}

/// A refund as a network is asked for it.
#[derive(Clone, Debug)]
pub struct Repay<'a> {
    pub number: &'a str,
    pub amount: Money,
    /// The payment; its amount is the whole that was paid.
    pub original: Sent,
}

/// A payout as a network is asked for it. It has no Debug: whose account it is, no log tells.
pub struct Payout<'a> {
    pub number: &'a str,
    pub amount: Money,
    pub account: &'a str,
    pub name: &'a str,
    /// What the payee is shown.
    pub description: &'a str,
}

/// A signed request that has not been sent. It can be sent once.
pub struct Prepared {
    pub number: String,
    pub amount: Money,
    /// The time that the signature bears.
    pub signed_at: Timestamp,
    pub request: reqwest::Request,
    /// What the channel needs to read the answer.
    pub context: String,
}

/// What is older than this when it is to be sent was frozen, and is not sent.
const SEND_MAX: SignedDuration = SignedDuration::from_mins(1);

impl Prepared {
    /// Why it is not sent any more: for networks that would take it, however old it is.
    #[must_use]
    pub fn too_old(&self) -> Option<Outcome> {
        let is_old = Timestamp::now().duration_since(self.signed_at) > SEND_MAX;
        is_old.then(|| Outcome::NotSent { why: "it was signed too long ago".to_owned() })
    }
}

/// What a network says of a success besides, where it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// What the payer paid: less than the amount by a discount.
    pub payer_minor: Option<i64>,
    /// What the network settles.
    pub settled_minor: Option<i64>,
    /// The network's own.
    pub settlement_date: Option<Date>,
}

/// What a network says of what it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    Succeeded {
        network_id: String,
        network_time: Timestamp,
        /// The amount in minor units, where the network says one.
        amount_minor: Option<i64>,
        details: Details,
    },
    Declined {
        code: String,
        network_id: Option<String>,
    },
    /// The network will decide later; a query or its notification tells.
    Processing {
        network_id: Option<String>,
        /// What the payer does to pay: `{"type": "QrCode", "qrCode": ...}` and the like.
        action: Option<Value>,
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
#[derive(Clone, Debug, PartialEq)]
pub enum Found {
    Outcome(Outcome),
    /// It does not know the number; it looked not before `at`.
    NotFound {
        at: Timestamp,
    },
}

/// A payment network.
pub trait Channel: Send + Sync {
    fn prepare_pay(&self, pay: &Pay<'_>) -> Result<Prepared, PrepareError>;
    fn prepare_refund(&self, repay: &Repay<'_>) -> Result<Prepared, PrepareError>;
    fn send(&self, prepared: Prepared, trace: Trace) -> BoxFuture<'_, Outcome>;
    /// Asks for a payment, a refund or a payout by what was sent.
    fn query<'a>(&'a self, sent: &'a Sent, trace: Trace) -> BoxFuture<'a, Found>;
    /// Asks the network to take no money for a payment any more. `Closed` only where it
    /// confirms that, also for a request that may still be under way to it.
    fn close<'a>(&'a self, sent: &'a Sent, trace: Trace) -> BoxFuture<'a, Outcome>;
    /// Once a "not found" bears a later time than this, the network looked when it
    /// could no longer accept the request.
    fn closed_at(&self, sent: &Sent) -> Timestamp;
    /// Does a payment by this method name its payer?
    fn needs_payer(&self, _method: &str) -> bool {
        false
    }
    /// Does it pay money out to accounts? One that does has [`Channel::prepare_payout`], and
    /// answers a query of [`Kind::Payout`]; no other is asked for one.
    fn pays_out(&self) -> bool {
        false
    }
    fn prepare_payout(&self, _payout: &Payout<'_>) -> Result<Prepared, PrepareError> {
        Err(PrepareError { why: "this network pays nothing out".to_owned() })
    }
    /// Does it take payments that fill a customer's wallet?
    fn takes_top_ups(&self) -> bool {
        false
    }
    /// Its agreements that an account be debited, where its kind has some.
    fn agreements(&self) -> Option<&dyn Agreements> {
        None
    }
    /// Does it take new ones for this method, and payments by them? It is so configured.
    fn signs(&self, _method: &str) -> bool {
        false
    }
    /// Is this method paid by agreements, and in no other way?
    fn is_agreed_alone(&self, _method: &str) -> bool {
        false
    }
    /// Sends the one-time code that the payer of a payment was sent, once: where the network
    /// answered `Processing` with the action `OneTimeCode`, which others never do.
    fn confirm<'a>(
        &'a self,
        _sent: &'a Sent,
        _code: &'a str,
        _trace: Trace,
    ) -> BoxFuture<'a, Result<Outcome, WrongCode>> {
        async { Ok(Outcome::NotSent { why: "this network asks for no code".to_owned() }) }.boxed()
    }
    /// Reads what the network sent by itself. Nothing of it is believed before its
    /// signature verified, and it must be meant for this merchant.
    fn read_notification(&self, _headers: &HeaderMap, _body: &[u8]) -> Result<Notification, Unproven> {
        Err(Unproven::none_expected())
    }
    /// How the network is told that its notification was taken, or that it was not.
    fn receipt(&self, taken: bool) -> Receipt {
        Receipt::bare(taken)
    }
}

/// How far a network's clock may be ahead of ours.
const AHEAD_MAX: SignedDuration = SignedDuration::from_hours(1);
const TEXT_MAX: usize = 128;

impl Outcome {
    /// A success whose id and time can be booked, whatever the network sent: the
    /// money has moved, so the answer is never refused for them.
    #[must_use]
    pub fn succeeded(network_id: &str, network_time: Timestamp, amount_minor: Option<i64>) -> Self {
        let now = Timestamp::now();
        let network_time = if network_time.duration_since(now) > AHEAD_MAX { now } else { network_time };
        let details = Details::default();
        Self::Succeeded { network_id: storable(network_id), network_time, amount_minor, details }
    }

    /// A success with these; an amount that is none is left out.
    #[must_use]
    pub fn detailed(mut self, said: Details) -> Self {
        if let Self::Succeeded { details, .. } = &mut self {
            let amount = |minor: Option<i64>| minor.filter(|minor| (0..=AMOUNT_MINOR_MAX).contains(minor));
            let (payer_minor, settled_minor) = (amount(said.payer_minor), amount(said.settled_minor));
            *details = Details { payer_minor, settled_minor, ..said };
        }
        self
    }

    /// The outcome of what was asked for this amount: a success over another one is none.
    #[must_use]
    pub fn of(self, amount: Money) -> Self {
        match self {
            Self::Succeeded { amount_minor: Some(minor), network_id, .. } if minor != amount.minor() => {
                let asked = amount.minor();
                tracing::error!(network_id, asked, said = minor, "the network says another amount");
                Self::Unknown { why: format!("the network says {minor} minor units, not {asked}") }
            }
            other => other,
        }
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
    /// Does it say more of money that goes out than that it is under way, where that is known?
    #[must_use]
    pub fn is_news(&self, known_id: Option<&str>) -> bool {
        match self {
            Self::Outcome(Outcome::Succeeded { .. } | Outcome::Declined { .. } | Outcome::Closed) => true,
            Self::Outcome(Outcome::Processing { .. }) => known_id.is_none(),
            Self::Outcome(Outcome::Unknown { .. } | Outcome::NotSent { .. }) | Self::NotFound { .. } => false,
        }
    }

    /// Is it certain that the request has had no effect and never will?
    #[must_use]
    pub fn is_never(&self, channel: &dyn Channel, sent: &Sent) -> bool {
        matches!(self, Self::NotFound { at } if *at > channel.closed_at(sent))
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
        let Outcome::Succeeded { network_time, .. } = Outcome::succeeded("N-1", late, None) else {
            unreachable!()
        };
        assert!(network_time < late);
        let early = now.saturating_sub(SignedDuration::from_hours(48)).unwrap();
        let told = Outcome::Succeeded {
            network_id: "N-1".into(),
            network_time: early,
            amount_minor: Some(7),
            details: Details::default(),
        };
        assert_eq!(Outcome::succeeded("N-1", early, Some(7)), told);
    }

    #[test]
    fn a_success_over_another_amount_is_none() {
        let cny = payplane_api::currency::Currency::parse("CNY").unwrap();
        let (asked, at) = (Money::new(100, cny).unwrap(), Timestamp::UNIX_EPOCH);
        for (said, holds) in [(None, true), (Some(100), true), (Some(99), false), (Some(-100), false)] {
            let told = Outcome::succeeded("N-1", at, said);
            assert_eq!(told.clone().of(asked) == told, holds, "{said:?}");
        }
    }
}
