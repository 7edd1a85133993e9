//! What an approved decision does: what a network's answer would have done.

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use uuid::Uuid;

use super::super::attempts::{self, DECIDED, Ending};
use super::super::due::Table;
use super::super::outgoing::{self, End};
use super::super::{StoreError, execute, open_items, rows, surpluses};
use super::Decision;
use crate::decide::{self, Choice, Kind, Proposal, Unfit};
use crate::state::AttemptState;

/// What came of an approval.
pub(super) enum Effect {
    /// It took effect: is somebody to be told?
    Done(bool),
    /// There is nothing left to decide, or something else than was proposed of.
    Overtaken,
    Unfit(Unfit),
}

/// Under the item's lock, and by the rules that hold for a proposal: what changed since it was
/// proposed is not what the checker read.
pub(super) async fn approve<C: GenericClient>(client: &C, decision: &Decision) -> Result<Effect, StoreError> {
    let proposal = &decision.proposal;
    let about = (proposal.kind, proposal.item_id);
    lock(client, about).await?;
    let Some(item) = open_items::find(client, about).await?.filter(|item| item.seen == decision.seen) else {
        return Ok(Effect::Overtaken);
    };
    let is_booked = proposal.kind == Kind::Surplus && surpluses::is_booked(client, about.1).await?;
    if let Err(unfit) = decide::check(&item, is_booked, proposal, Timestamp::now()) {
        return Ok(Effect::Unfit(unfit));
    }
    Ok(apply(client, proposal).await?.map_or(Effect::Unfit(Unfit::Kept), Effect::Done))
}

/// The order first, as whoever begins attempts locks them so.
async fn lock<C: GenericClient>(client: &C, (kind, id): (Kind, Uuid)) -> Result<(), StoreError> {
    let what = "lock what is decided";
    if kind == Kind::Payment {
        let sql = "SELECT 1 FROM gateway.orders
             WHERE order_id = (SELECT order_id FROM gateway.attempts WHERE attempt_id = $1) FOR UPDATE";
        rows(client, what, sql, &[&id]).await?;
    }
    let (table, key) = open_items::table(kind);
    rows(client, what, &format!("SELECT 1 FROM {table} WHERE {key} = $1 FOR UPDATE"), &[&id]).await?;
    Ok(())
}

/// Is somebody to be told? None where there is nothing left to decide: the row is locked, or has
/// an end. The resolver does what follows.
async fn apply<C: GenericClient>(client: &C, proposal: &Proposal) -> Result<Option<bool>, StoreError> {
    let id = proposal.item_id;
    match proposal.kind {
        Kind::Payment => Ok(end_attempt(client, proposal).await?.then_some(false)),
        Kind::Refund => end_outgoing(client, (Table::Refunds, id), proposal).await,
        Kind::Payout => end_outgoing(client, (Table::Payouts, id), proposal).await,
        Kind::Surplus => {
            let done = match &proposal.receipt {
                Some((network_id, at)) => surpluses::repaid(client, id, (network_id, *at)).await?,
                None => surpluses::forfeit(client, id).await?,
            };
            Ok(done.then_some(false))
        }
        Kind::Contradiction => {
            let sql = "UPDATE gateway.contradictions SET status = 'Resolved'
                 WHERE contradiction_id = $1 AND status = 'Open'";
            Ok((execute(client, "resolve a contradiction", sql, &[&id]).await? == 1).then_some(false))
        }
        Kind::Reversal => Ok(None),
    }
}

async fn end_attempt<C: GenericClient>(client: &C, proposal: &Proposal) -> Result<bool, StoreError> {
    let id = proposal.item_id;
    let sql = "UPDATE gateway.orders SET next_check_at = now() WHERE status = 'Processing'
         AND order_id = (SELECT order_id FROM gateway.attempts WHERE attempt_id = $1)";
    execute(client, "hasten an order", sql, &[&id]).await?;
    let ending = match &proposal.receipt {
        Some((network_id, at)) => Ending {
            network_id: Some(network_id.clone()),
            network_time: Some(*at),
            ..Ending::bare(AttemptState::Succeeded)
        },
        None => Ending::bare(AttemptState::Declined),
    };
    let ending = Ending { code: Some(DECIDED.to_owned()), ..ending };
    Ok(!attempts::end(client, &[(id, ending)]).await?.is_empty())
}

async fn end_outgoing<C: GenericClient>(
    client: &C,
    row: (Table, Uuid),
    proposal: &Proposal,
) -> Result<Option<bool>, StoreError> {
    if let Some((network_id, _)) = proposal.receipt.as_ref().filter(|_| proposal.choice == Choice::Succeeded)
    {
        return outgoing::end_and_tell(client, row, End::Succeeded(network_id)).await;
    }
    if !outgoing::reverse(client, row, DECIDED).await? {
        return Ok(None);
    }
    let (name, key) = row.0.names();
    let sql = format!("UPDATE {name} SET next_check_at = now() WHERE {key} = $1");
    execute(client, "hasten it", &sql, &[&row.1]).await?;
    Ok(Some(false))
}
