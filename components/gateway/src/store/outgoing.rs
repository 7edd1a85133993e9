//! Changes of state that refunds and payouts have alike, each one guarded statement on
//! either table.

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use serde_json::Value;
use snafu::ResultExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::contradictions::{Said, about};
use super::due::Table;
use super::outbox::{Event, publish};
use super::{QuerySnafu, Store, StoreError, execute, optional, payouts, refunds};

/// The code of what was never sent: nothing that a network said.
const UNSENT: &str = "ChannelUnavailable";

/// How one ends.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// The network paid, by this number of its own.
    Succeeded(&'a str),
    /// The books refused the debit, for this reason.
    Refused(&'static str),
    /// The books have given the debit back, by this transaction.
    Reversed(Uuid),
}

/// Whom to tell of an end, and what.
pub(super) struct Told {
    pub(super) kind: &'static str,
    pub(super) app: String,
    pub(super) payload: Value,
}

impl Store {
    /// The books have debited it: from here on the network may be asked. Only the turn
    /// `send_id` that makes this change may send; it is told so again where the answer was
    /// lost on the way.
    pub async fn send_outgoing(
        &self,
        (table, id): (Table, Uuid),
        transaction_id: Uuid,
        (send_id, signed_at): (Uuid, Timestamp),
    ) -> Result<bool, StoreError> {
        let (name, key) = table.names();
        let sql = format!(
            "UPDATE {name}
             SET status = 'Sending', ledger_transaction_id = $2, send_id = $3, signed_at = $4
             WHERE {key} = $1 AND (status = 'Requested' OR (status = 'Sending' AND send_id = $3))"
        );
        let params: super::Params<'_> = &[&id, &transaction_id, &send_id, &signed_at];
        Ok(execute(&self.client().await?, "mark it as sent", &sql, params).await? == 1)
    }

    /// The network knows it, and will decide later.
    pub async fn note_outgoing(
        &self,
        (table, id): (Table, Uuid),
        network_id: &str,
    ) -> Result<(), StoreError> {
        let (name, key) = table.names();
        let sql = format!(
            "UPDATE {name} SET network_id = coalesce(nullif($2, ''), network_id, '')
             WHERE {key} = $1 AND status = 'Sending'"
        );
        execute(&self.client().await?, "note that it is known", &sql, &[&id, &network_id]).await?;
        Ok(())
    }

    /// It was not paid and never will be: the debit has to be given back.
    pub async fn reverse_outgoing(&self, row: (Table, Uuid), code: &'static str) -> Result<(), StoreError> {
        let client = self.client().await?;
        if reverse(&client, row, code).await? || code == UNSENT {
            return Ok(());
        }
        // Whoever comes second finds it done. That persons had decided otherwise is no such thing.
        drop(client);
        self.contradict(about(row), Said { what: "Failed", network_id: None, at: None }).await?;
        Ok(())
    }

    /// The same for what was debited and never sent. False where it is not so.
    pub async fn give_up_outgoing(
        &self,
        (table, id): (Table, Uuid),
        transaction_id: Uuid,
        code: &str,
    ) -> Result<bool, StoreError> {
        let (name, key) = table.names();
        let sql = format!(
            "UPDATE {name} SET status = 'Reversing', ledger_transaction_id = $2, failure_code = $3
             WHERE {key} = $1 AND status = 'Requested'"
        );
        let params: super::Params<'_> = &[&id, &transaction_id, &code];
        Ok(execute(&self.client().await?, "give it up unsent", &sql, params).await? == 1)
    }

    /// Ends it, and publishes the end in the same transaction. Whoever comes second finds it
    /// done.
    pub async fn end_outgoing(&self, (table, id): (Table, Uuid), end: End<'_>) -> Result<(), StoreError> {
        let what = "end a refund or a payout";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        let Some(told) = end_and_tell(&transaction, (table, id), end).await? else {
            drop(transaction);
            drop(client);
            return self.ended_before((table, id), end).await;
        };
        transaction.commit().await.context(QuerySnafu { what })?;
        self.wake(told);
        Ok(())
    }

    /// Whoever comes second finds it done. A success of what was given back to the merchant
    /// is no such thing: it is kept as a contradiction.
    async fn ended_before(&self, row: (Table, Uuid), end: End<'_>) -> Result<(), StoreError> {
        if let End::Succeeded(network_id) = end {
            let said = Said { what: "Succeeded", network_id: Some(network_id), at: None };
            self.contradict(about(row), said).await?;
        }
        Ok(())
    }
}

/// Gives it up, where it is with the network; false where it is not.
pub(super) async fn reverse<C: GenericClient>(
    client: &C,
    (table, id): (Table, Uuid),
    code: &str,
) -> Result<bool, StoreError> {
    let (name, key) = table.names();
    let sql = format!(
        "UPDATE {name} SET status = 'Reversing', failure_code = $2
         WHERE {key} = $1 AND status = 'Sending'"
    );
    Ok(execute(client, "mark it as declined", &sql, &[&id, &code]).await? == 1)
}

/// Ends it and publishes the end: is its app to be told? None where it is not in a state that
/// leads there.
pub(super) async fn end_and_tell<C: GenericClient>(
    client: &C,
    (table, id): (Table, Uuid),
    end: End<'_>,
) -> Result<Option<bool>, StoreError> {
    let columns = if table == Table::Payouts { payouts::COLUMNS } else { refunds::COLUMNS };
    let Some(row) = ended(client, (table, id), columns, end).await? else { return Ok(None) };
    let Told { kind, app, payload } = match table {
        Table::Payouts => payouts::told(&row)?,
        Table::Refunds | Table::Surpluses | Table::Agreements | Table::Contradictions => {
            refunds::told(client, &row).await?
        }
    };
    Ok(Some(publish(client, &Event { kind, app: &app, subject: id, payload }).await?))
}

/// The row as it ends; none where it is not in a state that leads there.
async fn ended<C: GenericClient>(
    client: &C,
    (table, id): (Table, Uuid),
    columns: &str,
    end: End<'_>,
) -> Result<Option<Row>, StoreError> {
    let (name, key) = table.names();
    let (to, from, code, network_id, reversal) = match end {
        End::Succeeded(network_id) => ("Succeeded", "Sending", None, Some(network_id), None),
        End::Refused(code) => ("Failed", "Requested", Some(code), None, None),
        End::Reversed(transaction_id) => ("Failed", "Reversing", None, None, Some(transaction_id)),
    };
    let sql = format!(
        "UPDATE {name} SET status = $2, failure_code = coalesce(failure_code, $4),
            network_id = coalesce($5, network_id), reversal_transaction_id = $6, completed_at = now(),
            next_check_at = NULL
         WHERE {key} = $1 AND status = $3 RETURNING {columns}"
    );
    optional(client, "end it", &sql, &[&id, &to, &from, &code, &network_id, &reversal]).await
}
