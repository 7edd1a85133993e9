//! A proposal is stored: the first about an item, or what its maker makes of it.

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use snafu::ResultExt;
use uuid::Uuid;

use super::super::{Params, QuerySnafu, Store, StoreError, execute, one, open_items, optional, surpluses};
use super::{COLUMNS, Decision, LAPSE, MACHINE, NAMED};
use crate::decide::{self, Kind, Proposal, Unfit};

/// What came of a proposal.
#[derive(Debug)]
pub enum Proposed {
    /// It is stored, now or before; with what the maker changed, as a new version.
    Stored(Box<Decision>),
    Unknown,
    /// There is nothing to decide: it has ended.
    Ended,
    Unfit(Unfit),
    /// Somebody else's is open.
    Taken(Box<Decision>),
}

impl Store {
    /// Stores a proposal. The same one again is the same; of the same maker with another
    /// content it is a new version.
    pub async fn propose(&self, proposal: &Proposal, subject: &str) -> Result<Proposed, StoreError> {
        let what = "store a proposal";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        let about = (proposal.kind, proposal.item_id);
        execute(&transaction, what, NAMED, &[&MACHINE]).await?;
        execute(&transaction, what, LAPSE, &[&MACHINE, &Some(proposal.item_id)]).await?;
        execute(&transaction, what, NAMED, &[&subject]).await?;
        let proposed = match open_items::find(&transaction, about).await? {
            Some(item) => {
                let is_booked =
                    proposal.kind == Kind::Surplus && surpluses::is_booked(&transaction, about.1).await?;
                match decide::check(&item, is_booked, proposal, Timestamp::now()) {
                    Ok(()) => insert(&transaction, (proposal, &item.seen), subject).await?,
                    Err(unfit) => Proposed::Unfit(unfit),
                }
            }
            None if open_items::exists(&transaction, about).await? => Proposed::Ended,
            None => Proposed::Unknown,
        };
        transaction.commit().await.context(QuerySnafu { what })?;
        Ok(proposed)
    }
}

/// Beside what is open of it, which only its maker changes.
async fn insert<C: GenericClient>(
    client: &C,
    (proposal, seen): (&Proposal, &str),
    subject: &str,
) -> Result<Proposed, StoreError> {
    let what = "store a proposal";
    let sql = format!(
        "INSERT INTO gateway.decisions (decision_id, kind, item_id, outcome, network_id, network_time, reason,
            reference, proposed_by, seen) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (kind, item_id) WHERE status = 'Proposed' DO NOTHING RETURNING {COLUMNS}"
    );
    let (network_id, network_time) = proposal.receipt.clone().unzip();
    let (kind, choice) = (proposal.kind.as_str(), proposal.choice.as_str());
    let item = proposal.item_id;
    let params: Params<'_> = &[
        &Uuid::now_v7(),
        &kind,
        &item,
        &choice,
        &network_id,
        &network_time,
        &proposal.reason,
        &proposal.reference,
        &subject,
        &seen,
    ];
    if let Some(row) = optional(client, what, &sql, params).await? {
        return Ok(Proposed::Stored(Box::new(Decision::read(&row)?)));
    }
    let lock = format!(
        "SELECT {COLUMNS} FROM gateway.decisions
         WHERE kind = $1 AND item_id = $2 AND status = 'Proposed' FOR UPDATE"
    );
    // It was ended at this moment, with what it was about, or so that it is proposed again.
    let Some(row) = optional(client, what, &lock, &[&kind, &item]).await? else { return Ok(Proposed::Ended) };
    let open = Box::new(Decision::read(&row)?);
    if open.proposed_by != subject {
        return Ok(Proposed::Taken(open));
    }
    if open.proposal == *proposal && open.seen == seen {
        return Ok(Proposed::Stored(open));
    }
    let sql = format!(
        "UPDATE gateway.decisions SET version = version + 1, outcome = $2, network_id = $3, network_time = $4,
            reason = $5, reference = $6, seen = $7 WHERE decision_id = $1 RETURNING {COLUMNS}"
    );
    let params: Params<'_> = &[
        &open.decision_id,
        &choice,
        &network_id,
        &network_time,
        &proposal.reason,
        &proposal.reference,
        &seen,
    ];
    let row = one(client, what, &sql, params).await?;
    Ok(Proposed::Stored(Box::new(Decision::read(&row)?)))
}
