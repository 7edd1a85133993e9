//! Takes the codes that payers bring, and carries their payments on: policies are asked again in the
//! transaction that begins the attempt, so what blocks by then blocks.

use uuid::Uuid;

use super::code::is_right;
use super::{FAILED, Payer, StepUp, Tried};
use crate::agreement::payer::ByAgreement;
use crate::confirm::Coded;
use crate::gateway::Gateway;
use crate::outgoing::Times;
use crate::patience::Patience;
use crate::pay::Asked;
use crate::settle::{self, SettleError};
use crate::state::agreement::AgreementState;
use crate::state::step_up::StepUpState;
use crate::store::orders::Order;
use crate::vault::{Lost, Secret};

/// So long a code that was right is taken for the same request that comes again.
const AGAIN_SECONDS: i64 = 60;

/// What it takes to go on with a payment. It has no Debug: a token is a secret.
pub(super) struct Ready {
    pub(super) payer: Payer,
    agreed: Option<ByAgreement>,
    /// It was by an agreement that has ended meanwhile.
    pub(super) is_over: bool,
}

impl Gateway {
    /// Brings a code for an order of which nothing was sent. None where nobody asked for one.
    pub(crate) async fn confirm_step_up(
        &self,
        order: &Order,
        code: &str,
        times: Times,
    ) -> Result<Option<Coded>, SettleError> {
        let (order_id, patience) = (order.order_id, times.1);
        let Some(row) = patience.keep(|| self.store.step_up(order_id)).await? else { return Ok(None) };
        if !row.takes_codes() {
            return Ok(Some(self.answer(order_id, row.judge(|_| false), patience).await?));
        }
        // What the payment needs is read before the code counts: while the vault is away none is used up.
        let ready = self.ready(&row, patience).await?;
        let moved_by = Uuid::now_v7();
        let judged = |row: &StepUp| row.judge(|row| is_right(&self.data_keys, row, code));
        let tried = patience.keep(|| self.store.try_code(order_id, moved_by, &judged)).await?;
        if tried == Tried::Confirmed {
            self.count_step_up("Confirmed");
            tracing::info!(%order_id, "the payer has proven himself");
            self.carry_on(order.clone(), ready, times).await?;
        }
        self.answer(order_id, tried, patience).await.map(Some)
    }

    /// Is it the code that its payer has proven himself by just now? A request that comes twice must
    /// not go to the network as a guess of another code.
    pub(crate) async fn is_code_again(
        &self,
        order_id: Uuid,
        code: &str,
        patience: Patience,
    ) -> Result<bool, SettleError> {
        let row = patience.keep(|| self.store.step_up(order_id)).await?;
        let row = row.filter(|row| row.status == StepUpState::Confirmed);
        let is_recent = |row: &StepUp| {
            row.ended_at.is_some_and(|at| row.read_at.duration_since(at).as_secs() < AGAIN_SECONDS)
        };
        Ok(row.is_some_and(|row| is_recent(&row) && is_right(&self.data_keys, &row, code)))
    }

    async fn answer(&self, order_id: Uuid, tried: Tried, patience: Patience) -> Result<Coded, SettleError> {
        Ok(match tried {
            Tried::Confirmed | Tried::Taken => Coded::Taken,
            Tried::NotAwaited => Coded::NotAwaited,
            Tried::Wrong => {
                self.count_step_up("Wrong");
                Coded::Wrong
            }
            Tried::Last | Tried::Over => {
                self.fail_step_up(order_id, FAILED, patience).await?;
                Coded::Taken
            }
        })
    }

    /// Who pays, and by what, as it stands now.
    pub(super) async fn ready(&self, row: &StepUp, patience: Patience) -> Result<Ready, SettleError> {
        let payer = self.payer_of(row.order_id, patience).await?;
        let agreed = match row.agreement_id {
            Some(id) => self.by_agreement(id, patience).await?,
            None => None,
        };
        let is_over = row.agreement_id.is_some() && agreed.is_none();
        Ok(Ready { payer, agreed, is_over })
    }

    /// None where it has ended.
    async fn by_agreement(&self, id: Uuid, patience: Patience) -> Result<Option<ByAgreement>, SettleError> {
        let agreement = patience.keep(|| self.store.agreement(id)).await?;
        if agreement.status != AgreementState::Active {
            return Ok(None);
        }
        let kept = self.kept((Secret::Token, id), agreement.token_sealed.as_deref(), patience).await?;
        let token = match kept.map(String::from_utf8) {
            Ok(Ok(token)) => token,
            lost => return Err(SettleError::Payer { id, lost: lost.err().unwrap_or(Lost::Broken) }),
        };
        Ok(Some(ByAgreement { agreement_id: id, channel: agreement.channel, token, payer: agreement.payer }))
    }

    /// Makes the payment, as it was asked for. One that dies here has sent nothing: the resolver fails
    /// the order.
    pub(super) async fn carry_on(
        &self,
        order: Order,
        Ready { payer: Payer { payer, device }, agreed, is_over }: Ready,
        (trace, patience): Times,
    ) -> Result<(), SettleError> {
        let (settings, order_id) = (self.settings(), order.order_id);
        if is_over {
            patience.keep(|| self.store.fail_order(order_id, "AgreementEnded")).await?;
            self.forget(Secret::Payer, order_id);
            return Ok(());
        }
        let terms = patience.keep(|| self.store.terms_on(&order.merchant_id, order.stored_date)).await?;
        let channel = agreed.as_ref().map(|agreed| agreed.channel.as_str());
        let routes = self.routes(&settings.value, &order, channel);
        let amount = settle::amount(&order)?;
        let asked = Asked { amount, payer: Some(payer), device, agreed, terms, is_proven: false };
        self.carry_out(&settings, order, &asked, &routes, (trace, patience)).await?;
        self.forget(Secret::Payer, order_id);
        Ok(())
    }
}
