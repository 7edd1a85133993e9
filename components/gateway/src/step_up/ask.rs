//! Asks payers for their proof. Who pays is kept first, then a code's digest is committed, then the
//! code is sent: whoever dies in between has sent nothing that counts, and another one makes a new code.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use payplane_api::config::OnError;
use payplane_common::telemetry::chain;
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use uuid::Uuid;

use super::code::OneTimeCode;
use super::message::{Whom, message};
use super::sender::{Message, Sent};
use super::{FAILED, Payer, StepUp, Unsent, unsent};
use crate::gateway::Gateway;
use crate::outgoing::Times;
use crate::patience::Patience;
use crate::pay::{Asked, Called};
use crate::risk::question::Question;
use crate::route::Decision;
use crate::settings::Settings;
use crate::settle::SettleError;
use crate::state::step_up::StepUpState;
use crate::store::orders::Order;
use crate::vault::Secret;

/// Orders of one payer within 24 hours that ask for his proof: each sends him a message, and lets five
/// codes be guessed.
const PAYER_DAY_MAX: i64 = 20;
/// So long a place to send a code from is waited for, and so long it is looked for again later.
const PLACE_WAIT: Duration = Duration::from_secs(3);
/// Tries to send one code, the second at once.
const TRIES: u32 = 2;
const NO_PAYER: &str = "NoPayer";
const UNREACHABLE: &str = "Unreachable";
const NO_PLACE: &str = "NoPlace";
const AWAY: &str = "SenderAway";
const VAULT_AWAY: &str = "VaultAway";

/// What becomes of a payment that was to be proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Its order waits for a code, or has failed.
    Stored,
    GoesOn,
}

impl Gateway {
    /// One channel's turn; where risk policies want to hear from the payer first, he is asked.
    pub(crate) async fn turn(
        &self,
        settings: &Settings,
        (order, asked, question): (&Order, &Asked, &Option<Arc<Question>>),
        decision: &Decision,
        times: Times,
    ) -> Result<Called, SettleError> {
        let called = self.call_channel(settings, (order, asked, question), decision, times).await?;
        let Called::StepUp(on_error) = called else { return Ok(called) };
        match self.ask_payer(order, asked, on_error, times.1).await? {
            Step::Stored => Ok(Called::Stored),
            Step::GoesOn => self.call_channel(settings, (order, asked, question), decision, times).await,
        }
    }

    async fn ask_payer(
        &self,
        order: &Order,
        asked: &Asked,
        on_error: OnError,
        patience: Patience,
    ) -> Result<Step, SettleError> {
        let order_id = order.order_id;
        let Some(payer) = asked.payer.clone() else {
            // Nobody will be named later either.
            let on_error = if on_error == OnError::Hold { OnError::Block } else { on_error };
            return self.unsent(order_id, (on_error, 0), NO_PAYER, patience).await;
        };
        let payer = Payer { payer, device: asked.device.clone() };
        let written = serde_json::to_vec(&payer).unwrap_or_default();
        match self.keep((Secret::Payer, order_id), &written, patience).await {
            Ok(kept_at) => {
                let keys = self.data_keys.subject(&["step-up", &payer.payer]);
                match patience.keep(|| self.store.step_up_kept(order_id, kept_at, &keys)).await? {
                    Some(asked) if asked > PAYER_DAY_MAX => {
                        // Whatever its policies say of senders: this may be somebody who tries codes.
                        tracing::info!(%order_id, "its payer was asked for too many codes within a day");
                        self.fail_step_up(order_id, FAILED, patience).await?;
                        return Ok(Step::Stored);
                    }
                    Some(_) => {}
                    None => {
                        self.forget(Secret::Payer, order_id);
                        return Ok(Step::Stored);
                    }
                }
            }
            Err(away) if away.is_transient() && on_error != OnError::Hold => {
                tracing::info!(%order_id, error = chain(&away), "who pays cannot be kept: no code is sent");
                return self.unsent(order_id, (on_error, 0), VAULT_AWAY, patience).await;
            }
            // It cannot wait for what nobody keeps: the resolver fails it.
            Err(away) => return Err(away.into()),
        }
        self.send_code(order, &payer, patience).await
    }

    /// Makes a code and sends it.
    pub(super) async fn send_code(
        &self,
        order: &Order,
        payer: &Payer,
        patience: Patience,
    ) -> Result<Step, SettleError> {
        let (order_id, store) = (order.order_id, &self.store);
        let found = patience.keep(|| store.step_up(order_id)).await?;
        let Some(row) = found.filter(|row| row.status == StepUpState::Sending) else {
            return Ok(Step::Stored);
        };
        if row.sends >= row.sends_max() {
            return self.no_more(&row, patience).await;
        }
        let agreement = match row.agreement_id {
            Some(id) => Some(patience.keep(|| store.agreement(id)).await?),
            None => None,
        };
        // Taken before a code is made: of what waits for a place of ours, no sender is to blame.
        let Some(_place) = self.code_place().await else {
            let why = (NO_PLACE, row.sends);
            patience.keep(|| store.note_unsent(order_id, why, Some(PLACE_WAIT))).await?;
            return Ok(Step::Stored);
        };
        let ordinal = row.sends.saturating_add(1);
        let whom = Whom::of(&payer.payer, agreement.as_ref());
        let (Some(whom), Some(code)) = (whom, OneTimeCode::draw()) else {
            return self.unsent(order_id, (row.on_error, ordinal), NO_PAYER, patience).await;
        };
        let digest = code.digest(&self.data_keys, (order_id, ordinal));
        let made = || store.make_code(order_id, (ordinal, &digest));
        let Some(expires_at) = patience.keep(made).await? else { return Ok(Step::Stored) };
        let sent = self.post_code(&message(order, &whom, (&code, ordinal), expires_at)).await;
        tracing::info!(%order_id, ordinal, ?sent, "one-time code");
        let why = match sent {
            Sent::Taken => {
                self.count_step_up("Sent");
                patience.keep(|| store.code_sent(order_id, ordinal)).await?;
                return Ok(Step::Stored);
            }
            Sent::Unreachable => UNREACHABLE,
            Sent::Away => AWAY,
        };
        self.count_step_up("NotSent");
        self.unsent(order_id, (row.on_error, ordinal), why, patience).await
    }

    async fn code_place(&self) -> Option<SemaphorePermit<'_>> {
        let _waits = self.shares.waits();
        timeout(PLACE_WAIT, self.code_places.acquire()).await.ok()?.ok()
    }

    /// Sends a code to whoever brings codes now. One who says nothing is asked twice. While he is
    /// waited for, nobody's place is counted.
    async fn post_code(&self, message: &Message) -> Sent {
        let settings = self.settings();
        let Some(sender) = &settings.value.code_sender else { return Sent::Away };
        let _waits = self.shares.waits();
        let key = self.notify_key.now();
        for nth in 1..=TRIES {
            match sender.send(message, &key, nth).await {
                Sent::Away => {}
                said => return said,
            }
        }
        Sent::Away
    }

    /// What policies say of a payment whose code is not sent.
    async fn unsent(
        &self,
        order_id: Uuid,
        (on_error, sends): (OnError, i16),
        why: &'static str,
        patience: Patience,
    ) -> Result<Step, SettleError> {
        let store = &self.store;
        match unsent(on_error, sends) {
            Unsent::Allow => {
                let moved_by = Uuid::now_v7();
                if !patience.keep(|| store.go_on_unproven(order_id, (why, moved_by))).await? {
                    return Ok(Step::Stored);
                }
                self.count_step_up("Allowed");
                tracing::info!(%order_id, why, "the payment goes on without a code");
                self.forget(Secret::Payer, order_id);
                Ok(Step::GoesOn)
            }
            Unsent::Fail => {
                if patience.keep(|| store.note_unsent(order_id, (why, sends), None)).await? {
                    self.fail_step_up(order_id, FAILED, patience).await?;
                }
                Ok(Step::Stored)
            }
            Unsent::Again(after) => {
                patience.keep(|| store.note_unsent(order_id, (why, sends), Some(after))).await?;
                Ok(Step::Stored)
            }
        }
    }

    /// All codes that it may have were made, and processes died over them, or it was held for so long.
    async fn no_more(&self, row: &StepUp, patience: Patience) -> Result<Step, SettleError> {
        if row.on_error == OnError::Hold {
            patience.keep(|| self.store.look_at_expiry(row.order_id)).await?;
            return Ok(Step::Stored);
        }
        self.unsent(row.order_id, (row.on_error, row.sends), AWAY, patience).await
    }

    pub(super) async fn fail_step_up(
        &self,
        order_id: Uuid,
        code: &str,
        patience: Patience,
    ) -> Result<(), SettleError> {
        if code == FAILED {
            self.count_step_up("Failed");
        }
        self.give_up(order_id, code, patience).await?;
        self.forget(Secret::Payer, order_id);
        Ok(())
    }

    /// An order whose payer was asked for his proof, and that nobody works on.
    pub(crate) async fn resolve_step_up(
        &self,
        (order, row): (Order, StepUp),
        times: Times,
    ) -> Result<(), SettleError> {
        let (order_id, patience) = (order.order_id, times.1);
        let has_expired = order.expires_at <= Timestamp::now();
        match row.status {
            StepUpState::Sending | StepUpState::AwaitingCode if has_expired => {
                self.fail_step_up(order_id, "Closed", patience).await
            }
            StepUpState::Sending | StepUpState::AwaitingCode if row.is_over() => {
                self.fail_step_up(order_id, FAILED, patience).await
            }
            StepUpState::Sending => {
                // Read before the row may say that it goes on.
                let ready = self.ready(&row, patience).await?;
                if ready.is_over {
                    return self.fail_step_up(order_id, "AgreementEnded", patience).await;
                }
                match self.send_code(&order, &ready.payer, patience).await? {
                    Step::Stored => Ok(()),
                    Step::GoesOn => self.carry_on(order, ready, times).await,
                }
            }
            StepUpState::AwaitingCode => Ok(patience.keep(|| self.store.look_at_expiry(order_id)).await?),
            // Whoever was to go on with it died, and nothing was sent: a late attempt is excluded by
            // the lock on the order's row.
            StepUpState::Failed => self.fail_step_up(order_id, FAILED, patience).await,
            StepUpState::Asked | StepUpState::Confirmed | StepUpState::Allowed => {
                self.fail_step_up(order_id, "Interrupted", patience).await
            }
        }
    }
}
