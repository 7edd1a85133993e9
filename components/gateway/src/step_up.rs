//! Step-up by a risk policy: before a network is called, its payer brings a one-time code that the
//! bank's own sender brought him. The rules are here; `ask` sends codes, `prove` takes them.

mod ask;
mod code;
mod message;
mod prove;
pub mod sender;

use std::time::Duration;

use jiff::Timestamp;
use payplane_api::config::OnError;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::gateway::Gateway;
use crate::patience::Patience;
use crate::settle::SettleError;
use crate::state::step_up::StepUpState;
use crate::vault::Secret;

/// The code of a payment whose payer did not prove himself, or could not be asked to.
pub const FAILED: &str = "StepUpFailed";
/// Wrong codes of one order, whichever code they were meant for.
pub const TRIES_MAX: i16 = 5;
/// Codes of one order; of one that is held, of which more are made while their sender is away.
pub const SENDS_MAX: i16 = 3;
pub const HELD_SENDS_MAX: i16 = 16;
/// A code is good for so long, and no longer than its order.
pub const CODE_SECONDS: f64 = 300.0;
/// The first pause of one that is held, and the longest.
const HELD_FIRST: Duration = Duration::from_secs(5);
const HELD_LONGEST: Duration = Duration::from_secs(1_200);

/// A step-up as it is stored. The time at which it was read is the database's.
#[derive(Clone, Debug)]
pub struct StepUp {
    pub order_id: Uuid,
    pub status: StepUpState,
    pub on_error: OnError,
    pub agreement_id: Option<Uuid>,
    pub code_digest: Option<Vec<u8>>,
    pub code_expires_at: Option<Timestamp>,
    pub sends: i16,
    pub tries: i16,
    pub why: Option<String>,
    pub moved_by: Option<Uuid>,
    pub created_at: Timestamp,
    pub ended_at: Option<Timestamp>,
    pub read_at: Timestamp,
}

/// What a code that is brought comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tried {
    /// It is right, and whoever brought it carries the payment on.
    Confirmed,
    Wrong,
    /// It is wrong, and was the last that is taken.
    Last,
    /// No code is taken any more: too many were wrong, or it is too late.
    Over,
    /// Another one was right before, or none is needed.
    Taken,
    NotAwaited,
}

/// What becomes of a payment whose code was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    Allow,
    Fail,
    Again(Duration),
}

impl StepUp {
    /// Is there a code that its payer may have?
    #[must_use]
    pub fn takes_codes(&self) -> bool {
        matches!(self.status, StepUpState::Sending | StepUpState::AwaitingCode) && self.code_digest.is_some()
    }

    fn has_run_out(&self) -> bool {
        self.code_expires_at.is_some_and(|until| until <= self.read_at)
    }

    /// Can its payer prove himself no more?
    #[must_use]
    pub fn is_over(&self) -> bool {
        // Where none was taken yet another code is made.
        self.tries >= TRIES_MAX || (self.status == StepUpState::AwaitingCode && self.has_run_out())
    }

    /// Judges a code, which is looked at only where one is taken.
    #[must_use]
    pub fn judge(&self, is_right: impl FnOnce(&Self) -> bool) -> Tried {
        match self.status {
            StepUpState::Confirmed | StepUpState::Allowed | StepUpState::Failed => Tried::Taken,
            _ if self.is_over() => Tried::Over,
            _ if !self.takes_codes() || self.has_run_out() => Tried::NotAwaited,
            _ if is_right(self) => Tried::Confirmed,
            _ if self.tries.saturating_add(1) >= TRIES_MAX => Tried::Last,
            _ => Tried::Wrong,
        }
    }

    /// What was said to the request that moved it last, and did not hear it.
    #[must_use]
    pub fn said(&self) -> Tried {
        match self.status {
            StepUpState::Confirmed => Tried::Confirmed,
            _ if self.tries >= TRIES_MAX => Tried::Last,
            _ => Tried::Wrong,
        }
    }

    #[must_use]
    pub fn sends_max(&self) -> i16 {
        if self.on_error == OnError::Hold { HELD_SENDS_MAX } else { SENDS_MAX }
    }
}

/// What becomes of it after so many codes of which none arrived.
#[must_use]
pub fn unsent(on_error: OnError, sends: i16) -> Unsent {
    match on_error {
        OnError::Allow => Unsent::Allow,
        OnError::Block => Unsent::Fail,
        OnError::Hold => {
            let doublings = u32::try_from(sends.saturating_sub(1)).unwrap_or_default().min(16);
            Unsent::Again(HELD_FIRST.saturating_mul(2_u32.saturating_pow(doublings)).min(HELD_LONGEST))
        }
    }
}

/// Who pays, kept in the vault until the payment goes on. It has no Debug.
#[derive(Serialize, Deserialize)]
pub struct Payer {
    pub payer: String,
    pub device: Option<String>,
}

impl Gateway {
    /// Who pays an order that waits for its code.
    async fn payer_of(&self, order_id: Uuid, patience: Patience) -> Result<Payer, SettleError> {
        let kept = self.kept((Secret::Payer, order_id), None, patience).await?;
        let kept = kept.map_err(|lost| SettleError::Payer { id: order_id, lost })?;
        serde_json::from_slice(&kept)
            .map_err(|_| SettleError::Payer { id: order_id, lost: crate::vault::Lost::Broken })
    }

    fn count_step_up(&self, outcome: &'static str) {
        self.metrics.step_ups.get_or_create(&crate::metrics::SteppedUp { outcome }).inc();
    }
}

#[cfg(test)]
mod trials;
