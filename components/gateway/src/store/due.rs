//! What is looked at again and again until it has an end: refunds, payouts, surpluses,
//! agreements and contradictions, each in a table with the same columns for it.

use tokio_postgres::Row;
use uuid::Uuid;

use super::{INTERVAL_SECONDS_MAX, LEASE_SECONDS, Store, StoreError, execute, rows};

/// A table with `next_check_at`, `checks` and `channel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Refunds,
    Payouts,
    Surpluses,
    Agreements,
    /// Those whose posting is owed.
    Contradictions,
}

impl Table {
    /// Its name and its key.
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Refunds => ("gateway.refunds", "refund_id"),
            Self::Payouts => ("gateway.payouts", "payout_id"),
            Self::Surpluses => ("gateway.surpluses", "attempt_id"),
            Self::Agreements => ("gateway.agreements", "agreement_id"),
            Self::Contradictions => ("gateway.contradictions", "contradiction_id"),
        }
    }
}

impl Store {
    /// Takes up to `limit` rows that are due, as [`Store::claim_orders`] does.
    pub(super) async fn claim(
        &self,
        table: Table,
        columns: &str,
        (limit, busy): (i64, &[String]),
    ) -> Result<Vec<Row>, StoreError> {
        let (name, id) = table.names();
        let sql = format!(
            "UPDATE {name} SET next_check_at = now() + $2 * interval '1 second', checks = checks + 1
             WHERE {id} IN (SELECT {id} FROM {name} WHERE next_check_at <= now() AND channel <> ALL ($3)
                ORDER BY next_check_at LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING {columns}"
        );
        let params: super::Params<'_> = &[&limit, &LEASE_SECONDS, &busy];
        rows(&self.client().await?, "claim what is due", &sql, params).await
    }

    /// Hands it back, to be looked at after an interval that doubles with every look, with
    /// jitter.
    pub async fn postpone(&self, table: Table, id: Uuid) -> Result<(), StoreError> {
        let (name, key) = table.names();
        let sql = format!(
            "UPDATE {name} SET next_check_at = now() + interval '1 second'
                * least($2, power(2, least(checks, 10))) * (0.8 + 0.4 * random())
             WHERE {key} = $1 AND next_check_at IS NOT NULL"
        );
        execute(&self.client().await?, "postpone it", &sql, &[&id, &INTERVAL_SECONDS_MAX]).await?;
        Ok(())
    }
}
