//! What a network says against what is stored: the books are brought to what it says, by way of
//! suspense. Whose the money is, a person finds out.

use std::time::Duration;

use payplane_common::trace::Trace;

use crate::books::contradiction as postings;
use crate::gateway::Gateway;
use crate::patience::Patience;
use crate::settle::{self, SettleError};
use crate::store::contradictions::Contradiction;
use crate::store::due::Table;

/// Books it. The next look is soon enough where the ledger is away.
pub async fn book(gateway: &Gateway, one: Contradiction, trace: Trace) -> Result<(), SettleError> {
    let id = one.contradiction_id;
    let (accounts, at_once) = (postings::accounts(&one), Patience::of(Duration::ZERO));
    match settle::post(gateway, accounts, |epoch| postings::said(&one, epoch), (trace, at_once)).await {
        Ok(transaction_id) => Ok(gateway.store.book_contradiction(id, transaction_id).await?),
        Err(error) => {
            gateway.store.postpone(Table::Contradictions, id).await?;
            Err(error)
        }
    }
}
