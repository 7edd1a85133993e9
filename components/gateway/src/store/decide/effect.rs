//! What an approved decision does: what a network's answer would have done.

use deadpool_postgres::GenericClient;
use uuid::Uuid;

use super::super::attempts::{self, Ending};
use super::super::due::Table;
use super::super::outgoing::{self, End};
use super::super::{StoreError, execute, surpluses};
use crate::decide::{Choice, Kind, Proposal};
use crate::state::AttemptState;

/// Of an attempt that two persons ended.
const DECIDED: &str = "Decided";
/// What an app is told of a refund or a payout that did not come about.
const DECLINED: &str = "Declined";

/// Is somebody to be told? None where there is nothing left to decide: the row is locked, or has
/// an end. The resolver does what follows.
pub(super) async fn apply<C: GenericClient>(
    client: &C,
    proposal: &Proposal,
) -> Result<Option<bool>, StoreError> {
    let id = proposal.item_id;
    match proposal.kind {
        Kind::Payment => Ok(end_attempt(client, proposal).await?.then_some(false)),
        Kind::Refund => end_outgoing(client, (Table::Refunds, id), proposal).await,
        Kind::Payout => end_outgoing(client, (Table::Payouts, id), proposal).await,
        Kind::Surplus => {
            let done = match &proposal.receipt {
                Some((network_id, at)) => surpluses::repaid(client, id, (network_id, *at)).await?,
                None if proposal.choice == Choice::TakeToIncome => surpluses::forfeit(client, id).await?,
                None => surpluses::retry(client, id).await?.is_some(),
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

/// The order first, as whoever begins attempts locks them so.
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
    if !outgoing::reverse(client, row, DECLINED).await? {
        return Ok(None);
    }
    let (name, key) = row.0.names();
    let sql = format!("UPDATE {name} SET next_check_at = now() WHERE {key} = $1");
    execute(client, "hasten it", &sql, &[&row.1]).await?;
    Ok(Some(false))
}
