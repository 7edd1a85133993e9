//! The postings of surpluses: into suspense, and out of it again.

use payplane_api::accounting::{Account, Amounts, Event, Who, events};
use payplane_api::ledger::v1::{AccountSpec, Identity, PostRequest};

use super::BooksError;
use super::postings::{identity, reference};
use crate::store::Store;
use crate::store::surpluses::Surplus;

fn who(surplus: &Surplus) -> Who<'_> {
    Who { channel: &surplus.channel, ..Who::default() }
}

/// The accounts that a surplus touches.
#[must_use]
pub fn accounts(surplus: &Surplus) -> Vec<AccountSpec> {
    let accounts = [Account::ChannelReceivable, Account::SuspenseLong, Account::OtherIncome];
    accounts.map(|account| account.spec(who(surplus), &surplus.currency)).into()
}

/// The network took it.
pub fn taken(surplus: &Surplus, epoch: u64) -> Result<PostRequest, BooksError> {
    Ok(PostRequest {
        identity: Some(taken_identity(surplus)),
        effective_time: surplus.network_time.to_string(),
        ..posting(&events::SURPLUS, surplus, epoch)?
    })
}

/// The network gave it back.
pub fn given_back(surplus: &Surplus, epoch: u64) -> Result<PostRequest, BooksError> {
    let signed_at = surplus.signed_at.unwrap_or(surplus.network_time);
    let posting = posting(&events::SURPLUS_REFUNDED, surplus, epoch)?;
    let refund = [reference("refund", Store::number(surplus.refund_id))];
    Ok(PostRequest {
        identity: Some(identity(surplus.stored_date, format!("surplus-refund:{}", surplus.attempt_id))),
        effective_time: signed_at.to_string(),
        original: Some(taken_identity(surplus)),
        references: posting.references.into_iter().chain(refund).collect(),
        ..posting
    })
}

/// Nobody may claim it any more.
pub fn kept(surplus: &Surplus, epoch: u64) -> Result<PostRequest, BooksError> {
    Ok(PostRequest {
        identity: Some(identity(surplus.stored_date, format!("surplus-income:{}", surplus.attempt_id))),
        effective_time: surplus.forfeited_at.unwrap_or(surplus.created_at).to_string(),
        original: Some(taken_identity(surplus)),
        ..posting(&events::SURPLUS_KEPT, surplus, epoch)?
    })
}

fn taken_identity(surplus: &Surplus) -> Identity {
    identity(surplus.stored_date, format!("surplus:{}", surplus.attempt_id))
}

fn posting(event: &'static Event, surplus: &Surplus, epoch: u64) -> Result<PostRequest, BooksError> {
    let amounts = Amounts { amount: surplus.amount_minor, ..Amounts::default() };
    Ok(PostRequest {
        kind: event.kind.to_owned(),
        entries: event.entries(who(surplus), amounts, &surplus.currency)?,
        references: vec![
            reference("order", surplus.order_id.to_string()),
            reference("attempt", Store::number(surplus.attempt_id)),
        ],
        config_epoch: epoch,
        ..PostRequest::default()
    })
}
