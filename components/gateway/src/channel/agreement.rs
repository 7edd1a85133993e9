//! Agreements of account holders that they be debited: what the gateway asks of a network
//! that has them, and what it says.

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use payplane_common::trace::Trace;
use serde::{Deserialize, Serialize};

use super::PrepareError;

/// Whose account it is. It has no Debug: no log tells.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub account: String,
    pub name: String,
    /// Where he is sent the one-time code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
}

/// An agreement as a network is asked for it.
pub struct Sign<'a> {
    pub number: &'a str,
    pub owner: &'a Owner,
    /// What it is for, as its holder is shown it.
    pub description: &'a str,
}

/// A signed request that has not been sent. It can be sent once.
pub struct PreparedSign {
    pub number: String,
    /// The time that the signature bears.
    pub signed_at: Timestamp,
    pub request: reqwest::Request,
    /// What the channel needs to read the answer.
    pub context: String,
}

/// One that a network was asked for.
pub struct Signed<'a> {
    pub number: &'a str,
    /// The time that the request's signature bears.
    pub signed_at: Timestamp,
    pub kept: Kept,
}

/// What is kept of it, for a network that [needs its owner](Agreements::needs_owner): he, until
/// the network gives a token in his place. It has no Debug.
pub enum Kept {
    Nothing,
    Owner(Owner),
    Token(String),
}

/// What a network says of an agreement. It has no Debug: a token is a secret.
#[derive(Clone, PartialEq)]
pub enum Standing {
    /// The holder was sent a one-time code.
    AwaitsCode {
        network_id: Option<String>,
    },
    /// From now on payments name the account by this token.
    Active {
        network_id: String,
        token: String,
    },
    Declined {
        code: String,
    },
    /// It never holds again, and takes no payment any more.
    Ended,
    /// It does not know the number; it looked not before `at`.
    NotFound {
        at: Timestamp,
    },
    /// It may or may not have had an effect.
    Unknown {
        why: String,
    },
    /// The request surely had no effect.
    NotSent {
        why: String,
    },
}

pub(super) fn unknown(why: impl Into<String>) -> Standing {
    Standing::Unknown { why: why.into() }
}

/// The network says that the one-time code is not the one that it sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongCode;

/// A network that has agreements. The rules of [`super::Channel`] hold.
pub trait Agreements: Send + Sync {
    /// Is it told whose account it is, with his phone number, again with the one-time code? He is
    /// kept until then, and so is the token as long as it holds.
    fn needs_owner(&self) -> bool {
        false
    }
    fn prepare_sign(&self, sign: &Sign<'_>) -> Result<PreparedSign, PrepareError>;
    fn send_sign(&self, prepared: PreparedSign, trace: Trace) -> BoxFuture<'_, Standing>;
    /// Asks how an agreement stands.
    fn ask<'a>(&'a self, signed: &'a Signed<'_>, trace: Trace) -> BoxFuture<'a, Standing>;
    /// Sends the one-time code, once.
    fn confirm<'a>(
        &'a self,
        signed: &'a Signed<'_>,
        code: &'a str,
        trace: Trace,
    ) -> BoxFuture<'a, Result<Standing, WrongCode>>;
    /// Ends an agreement, also one whose request may still be under way. It may be repeated.
    fn unsign<'a>(&'a self, signed: &'a Signed<'_>, trace: Trace) -> BoxFuture<'a, Standing>;
    /// A "not found" that bears a later time proves that the request has no effect, ever.
    fn sign_closed_at(&self, signed_at: Timestamp) -> Timestamp;
}
