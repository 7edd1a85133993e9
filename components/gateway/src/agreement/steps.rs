//! What the bank says of an agreement, stored: by the request that asked, or by the resolver.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use crate::channel::agreement::{Agreements, Kept, PreparedSign, Signed, Standing, WrongCode};
use crate::gateway::Gateway;
use crate::message::Subject;
use crate::outgoing::Times;
use crate::patience::Patience;
use crate::settings::Settings;
use crate::settle::{self, SettleError};
use crate::state::agreement::AgreementState;
use crate::store::agreements::{Agreement, Said, Token};
use crate::store::due::Table;
use crate::store::{Store, StoreError};
use crate::vault::Secret;

/// An agreement that ends waits in steps of this for payments that are on their way.
const WAIT: Duration = Duration::from_millis(50);
/// What a network does not say to have ended it is told again after this.
const UNSIGN_AGAIN: Duration = Duration::from_secs(1);

/// What a one-time code came to.
pub enum Coded {
    /// The bank did not call it wrong.
    Taken,
    Wrong,
}

/// What its messages are about.
fn about(agreement: &Agreement) -> (Subject, &str) {
    (Subject::Agreement(agreement.agreement_id), &agreement.channel)
}

/// What its network is told of it.
fn signed<'a>(number: &'a str, agreement: &Agreement, kept: Kept) -> Signed<'a> {
    Signed { number, signed_at: agreement.signed_at, kept }
}

fn agreements<'a>(settings: &'a Settings, channel: &str) -> Result<&'a dyn Agreements, SettleError> {
    let missing = || SettleError::Channel { why: format!("channel {channel} has no agreements") };
    settle::channel(settings, channel)?.client.agreements().ok_or_else(missing)
}

impl Gateway {
    /// Sends the request that was signed before the agreement was stored.
    pub(crate) async fn send_sign(
        &self,
        agreement: &Agreement,
        prepared: PreparedSign,
        (trace, patience): Times,
    ) -> Result<(), SettleError> {
        let settings = self.settings();
        let standing = match settings.value.channel(&agreement.channel).filter(|now| now.enabled) {
            Some(_) => {
                let _waits = self.shares.waits();
                let sending = agreements(&settings.value, &agreement.channel)?.send_sign(prepared, trace);
                self.keeping(about(agreement), sending).await
            }
            None => Standing::NotSent { why: "the channel takes nothing any more".to_owned() },
        };
        self.take_standing(agreement, standing, (trace, patience)).await
    }

    /// Sends a one-time code, once. What became of it where no answer says so, a query does.
    pub(crate) async fn confirm_agreement(
        &self,
        agreement: &Agreement,
        code: &str,
        (trace, patience): Times,
    ) -> Result<Coded, SettleError> {
        let settings = self.settings();
        let (bank, number) =
            (agreements(&settings.value, &agreement.channel)?, Store::number(agreement.agreement_id));
        let waits = self.shares.waits();
        let signed = signed(&number, agreement, self.kept_of(agreement, bank, patience).await?);
        let confirming = bank.confirm(&signed, code, trace);
        let standing = match self.keeping(about(agreement), confirming).await {
            Err(WrongCode) => return Ok(Coded::Wrong),
            Ok(Standing::Unknown { why }) => {
                tracing::info!(why, "not known what became of a code");
                let is_news = |said: &Standing| self.is_news(agreement, said);
                self.asking(about(agreement), bank.ask(&signed, trace), is_news).await
            }
            Ok(said) => said,
        };
        drop(waits);
        self.take_standing(agreement, standing, (trace, patience)).await?;
        Ok(Coded::Taken)
    }

    /// Asks the bank to end it, once no payment by it is on its way: none begins any more.
    pub(crate) async fn end_agreement(
        &self,
        agreement_id: Uuid,
        (trace, patience): Times,
    ) -> Result<(), SettleError> {
        let agreement = patience.keep(|| self.store.agreement(agreement_id)).await?;
        if agreement.status != AgreementState::Ending {
            return Ok(());
        }
        while patience.keep(|| self.store.sending_by(&agreement)).await? > 0 {
            if !patience.outlasts(WAIT) {
                return Ok(patience.keep(|| self.store.postpone(Table::Agreements, agreement_id)).await?);
            }
            tokio::time::sleep(WAIT).await;
        }
        let (settings, number) = (self.settings(), Store::number(agreement_id));
        if settings.value.channel(&agreement.channel).is_none() {
            // Nothing is paid by it any more, here: that is what an end is about.
            tracing::error!(id = %agreement_id, channel = agreement.channel,
                "an agreement ends whose Channel is gone: tell the bank");
            return self.take_standing(&agreement, Standing::Ended, (trace, patience)).await;
        }
        let waits = self.shares.waits();
        let bank = agreements(&settings.value, &agreement.channel)?;
        let signed = signed(&number, &agreement, self.kept_of(&agreement, bank, patience).await?);
        let ending = bank.unsign(&signed, trace);
        let is_news = |said: &Standing| self.is_news(&agreement, said);
        let standing = self.asking(about(&agreement), ending, is_news).await;
        drop(waits);
        self.take_standing(&agreement, standing, (trace, patience)).await
    }

    /// Asks the bank how it stands, or to end it.
    pub async fn resolve_agreement(&self, agreement: Agreement, times: Times) -> Result<(), SettleError> {
        if agreement.status == AgreementState::Ending {
            return self.end_agreement(agreement.agreement_id, times).await;
        }
        let (settings, number) = (self.settings(), Store::number(agreement.agreement_id));
        let bank = agreements(&settings.value, &agreement.channel)?;
        let kept = self.kept_of(&agreement, bank, times.1).await?;
        if let Kept::Token(token) = kept {
            // It was given, and whoever was to say so died before.
            let standing = Standing::Active { network_id: number, token };
            return self.take_standing(&agreement, standing, times).await;
        }
        let signed = signed(&number, &agreement, kept);
        let asking = bank.ask(&signed, times.0);
        let is_news = |said: &Standing| self.is_news(&agreement, said);
        let standing = match self.asking(about(&agreement), asking, is_news).await {
            // That the query was not sent says nothing.
            Standing::NotSent { why } => Standing::Unknown { why },
            said => said,
        };
        self.take_standing(&agreement, standing, times).await
    }

    /// Does it change how the agreement stands, or contradict it?
    fn is_news(&self, agreement: &Agreement, said: &Standing) -> bool {
        let stands = agreement.status;
        match said {
            Standing::AwaitsCode { .. } => stands == AgreementState::Processing,
            Standing::Active { .. } => {
                matches!(stands, AgreementState::Processing | AgreementState::AwaitingCode)
            }
            Standing::Declined { .. } | Standing::Ended => true,
            Standing::NotFound { at } => {
                stands != AgreementState::Processing || self.is_sign_closed(agreement, *at)
            }
            Standing::NotSent { .. } | Standing::Unknown { .. } => false,
        }
    }

    /// Had the bank to refuse the request to sign by then?
    fn is_sign_closed(&self, agreement: &Agreement, at: Timestamp) -> bool {
        let bank = self.settings().value.channel(&agreement.channel).map(|c| c.client.clone());
        bank.is_some_and(|c| c.agreements().is_some_and(|a| at > a.sign_closed_at(agreement.signed_at)))
    }

    /// Stores what the bank says of it.
    async fn take_standing(
        &self,
        agreement: &Agreement,
        standing: Standing,
        (trace, patience): Times,
    ) -> Result<(), SettleError> {
        let (id, store) = (agreement.agreement_id, &self.store);
        let (to, said) = match &standing {
            Standing::AwaitsCode { network_id } => {
                (AgreementState::AwaitingCode, Said { network_id: network_id.as_deref(), ..Said::default() })
            }
            Standing::Active { network_id, token: plain } => {
                let token = self.keep_token(agreement, plain, patience).await?;
                (AgreementState::Active, Said { network_id: Some(network_id), token, failure_code: None })
            }
            Standing::Declined { code } => {
                (AgreementState::Failed, Said { failure_code: Some(code), ..Said::default() })
            }
            Standing::NotSent { why } => {
                tracing::info!(%id, why, "not sent");
                let code = "ChannelUnavailable";
                (AgreementState::Failed, Said { failure_code: Some(code), ..Said::default() })
            }
            Standing::NotFound { at } if agreement.status != AgreementState::Processing => {
                tracing::error!(%id, %at, "the bank forgot an agreement that it knew");
                return Ok(patience.keep(|| store.postpone(Table::Agreements, id)).await?);
            }
            Standing::NotFound { at } if self.is_sign_closed(agreement, *at) => {
                (AgreementState::Failed, Said { failure_code: Some("NotReceived"), ..Said::default() })
            }
            Standing::Ended => (AgreementState::Ended, Said::default()),
            Standing::NotFound { .. } | Standing::Unknown { .. } => {
                if let Standing::Unknown { why } = &standing {
                    tracing::info!(%id, why, "not known how an agreement stands");
                }
                return Ok(patience.keep(|| store.postpone(Table::Agreements, id)).await?);
            }
        };
        // One that is to end has ended where it never held.
        let over = agreement.status == AgreementState::Ending && to == AgreementState::Failed;
        let (to, said) = if over { (AgreementState::Ended, Said::default()) } else { (to, said) };
        if !patience.keep(|| store.move_agreement(id, to, &said)).await? {
            patience.keep(|| store.postpone(Table::Agreements, id)).await?;
            if let Standing::Active { token, .. } = standing {
                self.end_late(agreement, token, (trace, patience)).await?;
            }
            return Ok(patience.keep(|| store.withdraw_agreement(id)).await?);
        }
        if to.is_final() {
            self.forget(Secret::Token, id);
        }
        let Some(order_id) = agreement.order_id else { return Ok(()) };
        let token = match standing {
            Standing::Active { token, .. } => Some(token),
            _ => None,
        };
        self.follow_agreement((agreement, order_id), (to, token), (trace, patience)).await
    }

    /// A code was taken while the agreement ended, or after: a network that knows of no end before
    /// it holds is told now, as whoever ends it may have been told that it never held.
    async fn end_late(
        &self,
        agreement: &Agreement,
        token: String,
        (trace, patience): Times,
    ) -> Result<(), SettleError> {
        let id = agreement.agreement_id;
        let now = patience.keep(|| self.store.agreement(id)).await?;
        let settings = self.settings();
        let bank = agreements(&settings.value, &agreement.channel)?;
        if !bank.needs_owner() || !(now.status.is_final() || now.status == AgreementState::Ending) {
            return Ok(());
        }
        let number = Store::number(id);
        let signed = signed(&number, agreement, Kept::Token(token));
        while self.keeping(about(agreement), bank.unsign(&signed, trace)).await != Standing::Ended {
            if !patience.outlasts(UNSIGN_AGAIN) {
                tracing::error!(%id, channel = agreement.channel,
                    "a code was taken after an agreement's end, and the network does not say that it ended: tell it");
                break;
            }
            tokio::time::sleep(UNSIGN_AGAIN).await;
        }
        if now.status.is_final() {
            self.forget(Secret::Token, id);
        }
        Ok(())
    }

    /// Where the token is found from now on.
    async fn keep_token(
        &self,
        agreement: &Agreement,
        plain: &str,
        patience: Patience,
    ) -> Result<Token, StoreError> {
        let id = agreement.agreement_id;
        // Where the owner was kept the token takes his place, which a release before the vault
        // has no use for: it pays over no such network.
        let takes_place =
            agreements(&self.settings().value, &agreement.channel).is_ok_and(|bank| bank.needs_owner());
        if !takes_place && patience.keep(|| self.store.has_former_release()).await? {
            // It looks for tokens nowhere else.
            let sealed = self.data_keys.seal(&Secret::Token.whose(id), plain.as_bytes());
            return Ok(Token::Here(sealed.ok_or(StoreError::Unsealed)?));
        }
        Ok(Token::Kept(self.keep((Secret::Token, id), plain.as_bytes(), patience).await?))
    }
}
