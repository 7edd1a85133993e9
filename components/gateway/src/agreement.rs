//! The life of an agreement: asked for, confirmed by the one-time code that the bank sends the
//! account's owner, and ended. The account and its owner are sent and kept nowhere, but where the
//! network is told of them again with the code (`owner`); a code is sent and kept nowhere; what
//! the bank gives in their place is sealed.

mod owner;
pub mod payer;
mod steps;

use std::sync::Arc;

use uuid::Uuid;

pub use self::steps::Coded;
use crate::api::agreements::AgreementRequest;
use crate::api::problem::{Code, Problem};
use crate::channel::agreement::{PreparedSign, Sign};
use crate::data_key::RequestHash;
use crate::gateway::{Caller, Gateway};
use crate::pay::{nonce_used, refused};
use crate::payee::masked;
use crate::route;
use crate::settings::ChannelSettings;
use crate::settle;
use crate::state::agreement::AgreementState;
use crate::store::agreements::{Agreement, CreatedAgreement, NewAgreement, PER_DAY_MAX, Said};
use crate::store::{self, Store};

impl AgreementRequest {
    pub(crate) fn routed(&self) -> route::agreement::Asked<'_> {
        route::agreement::Asked {
            merchant: self.merchant_id.as_str(),
            method: &self.method,
            has_phone: self.owner.phone.is_some(),
        }
    }
}

/// An agreement, and whether this request made it.
pub struct Agreed {
    pub agreement: Agreement,
    pub is_new: bool,
}

/// Asks a bank for an agreement.
pub async fn sign(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: AgreementRequest,
) -> Result<Agreed, Problem> {
    let settings = gateway.settings();
    let hash = gateway.data_keys.request_hash(request.hash());
    let chosen = route::agreement::choose(&settings.value, &gateway.breakers, request.routed(), |_| true);
    let channel = match chosen {
        Ok(channel) => channel,
        Err(why) => {
            // What was accepted before stays accepted, whatever the config says now.
            let number = request.agreement_number.as_str();
            let known = || gateway.store.find_agreement(caller.app(), request.agreement_date, number);
            let refusal = Problem::new(Code::NoChannel, format!("no channel takes this agreement: {why}"));
            return same(caller.patience.keep(known).await?.ok_or(refusal)?, &hash);
        }
    };
    if owner::is_kept(channel) {
        // A repetition needs no vault.
        let number = request.agreement_number.as_str();
        let known = || gateway.store.find_agreement(caller.app(), request.agreement_date, number);
        if let Some(known) = caller.patience.keep(known).await? {
            return same(known, &hash);
        }
    }
    let (mut new, prepared) = prepare(gateway, channel, caller, (&request, hash))?;
    gateway.keep_owner(&mut new, (channel, &request.owner), caller.patience).await?;
    let created = caller.patience.keep(|| gateway.store.create_agreement(&new, &caller.nonce)).await?;
    if !matches!(created, CreatedAgreement::New(_)) {
        gateway.forget_owner(&new);
    }
    let agreement = match created {
        CreatedAgreement::New(agreement) => *agreement,
        CreatedAgreement::Known(agreement) => return same(*agreement, &new.request_hash),
        CreatedAgreement::NonceUsed => return Err(nonce_used()),
        CreatedAgreement::TooMany => {
            return Err(too_many());
        }
        CreatedAgreement::Refused(why) => return Err(refused(why, (&new.app_id, &new.merchant_id), None)),
    };
    let agreement_id = agreement.agreement_id;
    tracing::info!(%agreement_id, channel = new.channel, "agreement created");
    let (work, times) = (gateway.clone(), (caller.trace, caller.patience));
    let span = tracing::info_span!("agreement", %agreement_id);
    let rest = async move { work.send_sign(&agreement, prepared, times).await };
    let _ = settle::work_for(gateway, caller, (agreement_id, span), rest).await;
    let agreement = caller.patience.keep(|| gateway.store.agreement(agreement_id)).await?;
    Ok(Agreed { agreement, is_new: true })
}

/// A known agreement answers the same request; another one is refused.
fn same(agreement: Agreement, hash: &RequestHash) -> Result<Agreed, Problem> {
    if !hash.is_of(&agreement.request_hash) {
        let (number, date) = (&agreement.agreement_number, agreement.agreement_date);
        let detail = format!("agreement {number} of {date} was another request");
        return Err(Problem::new(Code::OrderConflict, detail));
    }
    Ok(Agreed { agreement, is_new: false })
}

/// What is stored, and the request, which is signed before: so nothing of the account is stored.
pub(crate) fn prepare(
    gateway: &Gateway,
    channel: &ChannelSettings,
    caller: &Caller,
    (request, request_hash): (&AgreementRequest, RequestHash),
) -> Result<(NewAgreement, PreparedSign), Problem> {
    let agreement_id = Uuid::now_v7();
    let unsigned = |why: &str| Problem::new(Code::NoChannel, format!("no request can be signed: {why}"));
    let agreements = channel.client.agreements().ok_or_else(|| unsigned("the network has no agreements"))?;
    let prepared = agreements.prepare_sign(&Sign {
        number: &Store::number(agreement_id),
        owner: &request.owner,
        description: request.description.as_deref().unwrap_or(request.agreement_number.as_str()),
    });
    let prepared = prepared.map_err(|error| unsigned(&error.why))?;
    let new = NewAgreement {
        agreement_id,
        app_id: caller.app().to_owned(),
        agreement_date: request.agreement_date,
        agreement_number: request.agreement_number.to_string(),
        request_hash,
        merchant_id: request.merchant_id.to_string(),
        method: request.method.clone(),
        channel: channel.name.clone(),
        account_masked: masked(&request.owner.account),
        payers: payer::known_as(&gateway.data_keys, &request.owner.account),
        signed_at: prepared.signed_at,
        created_at: store::now(),
        owner_kept_at: None,
        order_id: None,
    };
    Ok((new, prepared))
}

/// Sends the one-time code. What needs none any more is answered as it is.
pub async fn confirm(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    agreement: Agreement,
    code: String,
) -> Result<Agreement, Problem> {
    match agreement.status {
        AgreementState::AwaitingCode => {}
        AgreementState::Processing => {
            let detail = "the bank has not said yet that it sent a code: ask for the agreement, then confirm";
            return Err(Problem::new(Code::StateConflict, detail));
        }
        _ => return Ok(agreement),
    }
    let (work, times, agreement_id) =
        (gateway.clone(), (caller.trace, caller.patience), agreement.agreement_id);
    let span = tracing::info_span!("confirm", %agreement_id);
    let rest = async move { work.confirm_agreement(&agreement, &code, times).await };
    if let Some(Coded::Wrong) = settle::work_for(gateway, caller, (agreement_id, span), rest).await {
        return Err(wrong_code());
    }
    Ok(caller.patience.keep(|| gateway.store.agreement(agreement_id)).await?)
}

/// Ends an agreement. No payment begins by it from here on; once it is `Ended`, none is on its
/// way to the bank either.
pub async fn end(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    agreement: Agreement,
) -> Result<Agreement, Problem> {
    if agreement.status.is_final() {
        return Ok(agreement);
    }
    let (agreement_id, store) = (agreement.agreement_id, &gateway.store);
    let ends =
        || async { store.move_agreement(agreement_id, AgreementState::Ending, &Said::default()).await };
    caller.patience.keep(ends).await?;
    let (work, times) = (gateway.clone(), (caller.trace, caller.patience));
    let span = tracing::info_span!("end", %agreement_id);
    let rest = async move { work.end_agreement(agreement_id, times).await };
    let _ = settle::work_for(gateway, caller, (agreement_id, span), rest).await;
    Ok(caller.patience.keep(|| gateway.store.agreement(agreement_id)).await?)
}

#[must_use]
pub(crate) fn too_many() -> Problem {
    let detail = format!("{PER_DAY_MAX} agreements were asked for about this account within 24 h");
    Problem::new(Code::TooManyAgreements, detail)
}

/// The refusal of a code that the bank did not send.
#[must_use]
pub fn wrong_code() -> Problem {
    let detail = "another one was sent: ask the payer for it again; after a few wrong ones it is declined";
    Problem { field: Some("code".to_owned()), ..Problem::new(Code::WrongCode, detail) }
}
