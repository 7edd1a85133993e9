//! Sign-and-pay: a payment that asks for the agreement by which it is made. One one-time code
//! confirms both: the payment is made as soon as the agreement holds, and never without.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::agreement::payer::ByAgreement;
use crate::agreement::{self, Coded};
use crate::api::agreements::{AgreementRequest, PURPOSE_CHARS_MAX};
use crate::api::problem::{Code, Problem};
use crate::api::wire::PayRequest;
use crate::channel::agreement::Owner;
use crate::confirm::ONE_TIME_CODE;
use crate::gateway::{Caller, Gateway};
use crate::outgoing::Times;
use crate::patience::Patience;
use crate::pay::{Asked, Paid, nonce_used, refused, same_order};
use crate::route;
use crate::settings::{ChannelSettings, Settings};
use crate::settle::{self, SettleError};
use crate::state::agreement::AgreementState;
use crate::store::agreements::{Agreement, CreatedAgreement, PER_DAY_MAX};
use crate::store::orders::{Created, NewOrder, Order};
use crate::store::postpone::Awaited;

/// The code of an order whose agreement came to nothing.
const FAILED: &str = "AgreementFailed";

/// Takes a payment, and asks the bank for its agreement first.
pub async fn begin(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    (request, owner): (PayRequest, Owner),
    new: NewOrder,
) -> Result<Paid, Problem> {
    let (store, patience) = (&gateway.store, caller.patience);
    // What was accepted before stays accepted, whatever speaks against it now.
    let known = || store.find_order(&new.app_id, new.order_date, &new.order_number);
    if let Some(order) = patience.keep(known).await? {
        return same_order(order, &new);
    }
    let asked = agreement_of(request, owner)?;
    let settings = gateway.settings();
    let who = asked.routed();
    let no_channel = |why: String| Problem::new(Code::NoChannel, format!("no channel takes it: {why}"));
    let order = new.as_created(Some(new.stored_date));
    let takes =
        |channel: &ChannelSettings| !gateway.routes(&settings.value, &order, Some(&channel.name)).is_empty();
    let channel =
        route::agreement::choose(&settings.value, &gateway.breakers, who, takes).map_err(no_channel)?;
    let taken = || store.find_agreement(&new.app_id, asked.agreement_date, asked.agreement_number.as_str());
    if let Some(known) = patience.keep(taken).await? {
        let detail = format!(
            "is there already, and {}: name it without accountNumber and accountName, or ask for another",
            known.status
        );
        return Err(Problem {
            field: Some("agreement".to_owned()),
            ..Problem::new(Code::OrderConflict, detail)
        });
    }
    let hash = gateway.data_keys.request_hash(asked.hash());
    let (mut signs, prepared) = agreement::prepare(gateway, channel, caller, (&asked, hash))?;
    signs.order_id = Some(new.order_id);
    if patience.keep(|| store.asked_about(&signs.payers)).await? >= PER_DAY_MAX {
        return Err(agreement::too_many());
    }
    gateway.keep_owner(&mut signs, (channel, &asked.owner), patience).await?;
    let created = patience.keep(|| store.create_order(&new, &caller.nonce)).await?;
    if !matches!(created, Created::New(..)) {
        gateway.forget_owner(&signs);
    }
    match created {
        Created::New(..) => {}
        Created::Known(order) => return same_order(*order, &new),
        Created::NonceUsed => return Err(nonce_used()),
        Created::Refused(why) => {
            return Err(refused(why, (&new.app_id, &new.merchant_id), new.terminal.as_ref()));
        }
    }
    let order_id = new.order_id;
    tracing::info!(%order_id, "order created, with an agreement");
    match patience.keep(|| store.create_agreement(&signs, &caller.nonce)).await? {
        CreatedAgreement::New(agreement) => {
            let (work, times) = (gateway.clone(), (caller.trace, patience));
            let span = tracing::info_span!("sign-and-pay", %order_id);
            let rest = async move { work.send_sign(&agreement, prepared, times).await };
            let _ = settle::work_for(gateway, caller, (order_id, span), rest).await;
        }
        // Another request took its name, or too many were asked for about the account.
        _ => {
            gateway.forget_owner(&signs);
            patience.keep(|| store.fail_order(order_id, FAILED)).await?;
        }
    }
    Ok(Paid { order: patience.keep(|| store.order(order_id)).await?, is_new: true })
}

fn agreement_of(request: PayRequest, owner: Owner) -> Result<AgreementRequest, Problem> {
    let name = request.agreement.ok_or_else(|| Problem::field("agreement", "is required"))?;
    Ok(AgreementRequest {
        agreement_date: name.date,
        agreement_number: name.number,
        merchant_id: request.merchant_id,
        method: request.method,
        owner,
        // A bank shows less of it than a payment may have.
        description: request.description.filter(|text| text.chars().count() <= PURPOSE_CHARS_MAX),
    })
}

fn one_time_code() -> Value {
    json!({ "type": ONE_TIME_CODE })
}

impl Gateway {
    /// What follows for the order that was asked for with an agreement, once that stands so.
    pub(crate) async fn follow_agreement(
        &self,
        (agreement, order_id): (&Agreement, Uuid),
        (to, token): (AgreementState, Option<String>),
        (trace, patience): Times,
    ) -> Result<(), SettleError> {
        let store = &self.store;
        match (to, token) {
            (AgreementState::AwaitingCode, _) => {
                let awaited = || Awaited::Network(Some(one_time_code()));
                patience.keep(|| store.postpone_order(order_id, awaited())).await?;
                // It may have been closed before there was an agreement.
                patience.keep(|| store.withdraw_agreement(agreement.agreement_id)).await?;
            }
            (AgreementState::Active, Some(token)) => {
                self.pay_first((agreement, order_id), token, (trace, patience)).await?;
            }
            (AgreementState::Failed | AgreementState::Ended, _) => {
                patience.keep(|| store.fail_order(order_id, FAILED)).await?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Makes the payment that its agreement was asked for with. One that dies here has sent
    /// nothing: the resolver fails the order.
    async fn pay_first(
        &self,
        (agreement, order_id): (&Agreement, Uuid),
        token: String,
        (trace, patience): Times,
    ) -> Result<(), SettleError> {
        let Some(order) = patience.keep(|| self.store.lease_order(order_id)).await? else {
            // It has ended, or its time is over.
            patience.keep(|| self.store.fail_order(order_id, "Closed")).await?;
            return Ok(());
        };
        let settings = self.settings();
        let terms = patience.keep(|| self.store.terms_on(&order.merchant_id, order.stored_date)).await?;
        let asked = Asked {
            amount: settle::amount(&order)?,
            payer: Some(agreement.payer.clone()),
            device: None,
            agreed: Some(ByAgreement {
                agreement_id: agreement.agreement_id,
                channel: agreement.channel.clone(),
                token,
                payer: agreement.payer.clone(),
            }),
            terms,
            // By the code that made the agreement, just now; a bank may want none.
            is_proven: agreement.status == AgreementState::AwaitingCode,
        };
        let routes = self.routes(&settings.value, &order, Some(&agreement.channel));
        self.carry_out(&settings, order, &asked, &routes, (trace, patience)).await?;
        Ok(())
    }

    /// The ways of an order that is there, by an agreement of this channel or without one.
    pub(crate) fn routes(
        &self,
        settings: &Settings,
        order: &Order,
        agreed: Option<&str>,
    ) -> Vec<route::Decision> {
        let Ok(amount) = settle::amount(order) else { return vec![] };
        let asked = route::Asked {
            order_id: order.order_id,
            merchant: &order.merchant_id,
            method: &order.method,
            amount,
            on: order.stored_date,
            agreed,
            top_up: order.is_top_up(),
        };
        route::choose(settings, (&self.breakers, &self.rates), &asked)
    }

    /// Brings the code of an agreement for the payment that was asked for with it.
    pub(crate) async fn confirm_signing(
        &self,
        order: &Order,
        code: &str,
        (trace, patience): Times,
    ) -> Result<Option<Coded>, SettleError> {
        match patience.keep(|| self.store.agreement_of(order.order_id)).await? {
            Some(waits) if waits.status == AgreementState::AwaitingCode => {
                if order.expires_at <= Timestamp::now() {
                    self.resolve_unsent(order.clone(), patience).await?;
                    return Ok(Some(Coded::Taken));
                }
                self.confirm_agreement(&waits, code, (trace, patience)).await.map(Some)
            }
            // The bank has not said that it sent one; or nothing is asked for with this order.
            Some(open) if open.status == AgreementState::Processing => Ok(None),
            None => Ok(None),
            // It was taken: the order is about to end.
            Some(_) => Ok(Some(Coded::Taken)),
        }
    }

    /// An order of which nothing was sent: the process that made it ended before, or its
    /// agreement does not hold yet.
    pub(crate) async fn resolve_unsent(&self, order: Order, patience: Patience) -> Result<(), SettleError> {
        use AgreementState::{Active, AwaitingCode, Ended, Ending, Failed, Processing};
        let (order_id, store) = (order.order_id, &self.store);
        let state = store.agreement_of(order_id).await?.map(|agreement| agreement.status);
        let code = match state {
            Some(waits @ (Processing | AwaitingCode)) if order.expires_at > Timestamp::now() => {
                // Whoever was to say what the payer does may have died before.
                let is_new = waits == AwaitingCode && order.action.is_none();
                let awaited = Awaited::Network(is_new.then(one_time_code));
                store.postpone_order(order_id, awaited).await?;
                return Ok(());
            }
            Some(Processing | AwaitingCode) => "Closed",
            Some(Ending | Ended | Failed) => FAILED,
            // It began to hold after the order was looked at: its payment is about to begin.
            Some(Active) if order.action.is_some() => return Ok(()),
            // An attempt that begins at this moment is seen under the order's lock.
            Some(Active) | None => "Interrupted",
        };
        self.give_up(order_id, code, patience).await
    }

    /// Fails an order of which nothing was sent, and withdraws the agreement that was asked for
    /// with it, where that does not hold yet.
    pub(crate) async fn give_up(
        &self,
        order_id: Uuid,
        code: &str,
        patience: Patience,
    ) -> Result<(), SettleError> {
        let store = &self.store;
        patience.keep(|| store.fail_order(order_id, code)).await?;
        if let Some(open) = patience.keep(|| store.agreement_of(order_id)).await? {
            patience.keep(|| store.withdraw_agreement(open.agreement_id)).await?;
        }
        Ok(())
    }
}
