//! The postings of payouts: out of what the merchant has, and back where the bank refuses.
//! That the money arrived is booked by reconciliation, from the bank's own line.

use payplane_api::accounting::{Account, Amounts, Event, Who, events};
use payplane_api::ledger::v1::{AccountSpec, Identity, PostRequest};

use super::BooksError;
use super::postings::{identity, reference};
use crate::store::Store;
use crate::store::payouts::Payout;

fn who(payout: &Payout) -> Who<'_> {
    Who { merchant: &payout.merchant_id, channel: &payout.channel, ..Who::default() }
}

/// The accounts that a payout touches.
#[must_use]
pub fn accounts(payout: &Payout) -> Vec<AccountSpec> {
    let accounts = [Account::MerchantAvailable, Account::PayoutsInTransit];
    accounts.map(|account| account.spec(who(payout), &payout.currency)).into()
}

/// The bank is about to be told.
pub fn sent(payout: &Payout, epoch: u64) -> Result<PostRequest, BooksError> {
    posting(&events::PAYOUT_SENT, payout, epoch, ("payout", None))
}

/// The bank has not paid, and never will.
pub fn failed(payout: &Payout, epoch: u64) -> Result<PostRequest, BooksError> {
    let original = identity_of("payout", payout);
    posting(&events::PAYOUT_FAILED, payout, epoch, ("payout-reversal", Some(original)))
}

fn identity_of(key: &str, payout: &Payout) -> Identity {
    identity(payout.stored_date, format!("{key}:{}", payout.payout_id))
}

fn posting(
    event: &'static Event,
    payout: &Payout,
    config_epoch: u64,
    (key, original): (&str, Option<Identity>),
) -> Result<PostRequest, BooksError> {
    let amounts = Amounts { amount: payout.amount_minor, ..Amounts::default() };
    Ok(PostRequest {
        identity: Some(identity_of(key, payout)),
        kind: event.kind.to_owned(),
        entries: event.entries(who(payout), amounts, &payout.currency)?,
        references: vec![reference("payout", Store::number(payout.payout_id))],
        effective_time: payout.created_at.to_string(),
        original,
        config_epoch,
        ..PostRequest::default()
    })
}
