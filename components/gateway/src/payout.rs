//! A payout is asked for: from what a merchant has to an account, over the channel that the
//! config chooses. Then it goes its way as all that goes out.

use std::sync::Arc;

use jiff::Timestamp;
use payplane_api::money::Money;
use uuid::Uuid;

use crate::api::payouts::PayoutRequest;
use crate::api::problem::{Code, Problem};
use crate::channel::{self, Prepared};
use crate::data_key::RequestHash;
use crate::gateway::{Caller, Gateway};
use crate::outgoing::{self, Outgoing, Turn};
use crate::patience::Patience;
use crate::pay::{nonce_used, refused};
use crate::payee::{KeptPayee, Payee};
use crate::route;
use crate::settings::{ChannelSettings, Settings};
use crate::settle::{self, SettleError};
use crate::store::payouts::{CreatedPayout, NewPayout, Payout};
use crate::vault::Secret;

/// A payout, and whether this request made it.
pub struct PaidOut {
    pub payout: Payout,
    pub is_new: bool,
}

/// Pays out.
pub async fn pay_out(
    gateway: &Arc<Gateway>,
    caller: &Caller,
    request: PayoutRequest,
) -> Result<PaidOut, Problem> {
    let settings = gateway.settings();
    let currency = request.amount.currency();
    if !settings.value.currencies.contains(&currency) {
        return Err(Problem::field("currency", format!("{currency} is not a currency of this tenant")));
    }
    let hash = gateway.data_keys.request_hash(request.hash());
    // What was accepted before stays accepted, whatever the config says now, and wherever the vault is.
    let number = request.payout_number.as_str();
    let known = || gateway.store.find_payout(caller.app(), request.order_date, number);
    if let Some(known) = caller.patience.keep(known).await? {
        return same_payout(known, &hash);
    }
    let asked = (request.merchant_id.as_str(), request.amount);
    let refusal = |why| Problem::new(Code::NoChannel, format!("no channel pays this out: {why}"));
    let channel = route::payout::choose(&settings.value, &gateway.breakers, asked).map_err(refusal)?;
    let payout_id = Uuid::now_v7();
    let kept = request.payee.keep(gateway, payout_id, caller.patience).await?;
    let new = prepare_new((&settings.value, channel), caller, (&request, hash), (payout_id, kept));
    let created = caller.patience.keep(|| gateway.store.create_payout(&new, &caller.nonce)).await?;
    if !matches!(created, CreatedPayout::New(_)) {
        gateway.forget(Secret::Payee, payout_id);
    }
    let payout = match created {
        CreatedPayout::New(payout) => *payout,
        CreatedPayout::Known(payout) => return same_payout(*payout, &new.request_hash),
        CreatedPayout::NonceUsed => return Err(nonce_used()),
        CreatedPayout::Refused(why) => return Err(refused(why, (&new.app_id, &new.merchant_id), None)),
    };
    tracing::info!(%payout_id, channel = new.channel, "payout created");
    let (work, trace, patience) = (gateway.clone(), caller.trace, caller.patience);
    let (span, outgoing) = (tracing::info_span!("payout", %payout_id), Outgoing::payout(payout));
    let rest = async move { outgoing::advance(&work, outgoing, (trace, patience), Turn::First).await };
    let _ = settle::work_for(gateway, caller, (payout_id, span), rest).await;
    let payout = caller.patience.keep(|| gateway.store.payout(payout_id)).await?;
    Ok(PaidOut { payout, is_new: true })
}

/// A known payout answers the same request; another one is refused.
fn same_payout(payout: Payout, hash: &RequestHash) -> Result<PaidOut, Problem> {
    if !hash.is_of(&payout.request_hash) {
        let detail = format!("payout {} of {} was another request", payout.payout_number, payout.order_date);
        return Err(Problem::new(Code::OrderConflict, detail));
    }
    Ok(PaidOut { payout, is_new: false })
}

fn prepare_new(
    (settings, channel): (&Settings, &ChannelSettings),
    caller: &Caller,
    (request, request_hash): (&PayoutRequest, RequestHash),
    (payout_id, payee): (Uuid, KeptPayee),
) -> NewPayout {
    let now = Timestamp::now();
    NewPayout {
        payout_id,
        app_id: caller.app().to_owned(),
        order_date: request.order_date,
        payout_number: request.payout_number.to_string(),
        request_hash,
        merchant_id: request.merchant_id.to_string(),
        amount_minor: request.amount.minor(),
        currency: request.amount.currency().to_string(),
        channel: channel.name.clone(),
        payee,
        description: request.description.clone(),
        stored_date: settings.calendar.date(now),
        created_at: now,
    }
}

/// Whom is paid what, for what.
pub struct Paid<'a> {
    pub id: Uuid,
    pub merchant: &'a str,
    /// Where a release before the vault stored it.
    pub payee_sealed: Option<&'a [u8]>,
    pub description: &'a str,
}

impl Payout {
    #[must_use]
    pub fn paid(&self) -> Paid<'_> {
        Paid {
            id: self.payout_id,
            merchant: &self.merchant_id,
            payee_sealed: self.payee_sealed.as_deref(),
            description: self.description.as_deref().unwrap_or(&self.payout_number),
        }
    }
}

/// Signs the request to the network, for the payee that is kept until then. Why it cannot be
/// sent any more is no time's to mend, unless it is the vault that is away.
pub async fn prepare(
    gateway: &Gateway,
    channel: &ChannelSettings,
    paid: &Paid<'_>,
    (number, amount, patience): (&str, Money, Patience),
) -> Result<Prepared, SettleError> {
    let failed = |why: &str| SettleError::Channel { why: why.to_owned() };
    route::payout::rules(&gateway.settings().value, channel, (paid.merchant, amount)).map_err(failed)?;
    let Payee { account, name } = Payee::open(gateway, (paid.id, paid.payee_sealed), patience).await?;
    let (account, name) = (account.as_str(), name.as_str());
    let prepared = channel.client.prepare_payout(&channel::Payout {
        number,
        amount,
        account,
        name,
        description: paid.description,
    });
    prepared.map_err(|error| failed(&error.why))
}
