//! What the ledger asks of the books by itself ([`crate::tend`], [`crate::seal`]). It has
//! connections of its own.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_postgres::Row;

use super::{Books, BooksError, Params, borrowed, classify};
use crate::query::query;
use crate::seal::Tip;

const TEND_MAX: Duration = Duration::from_secs(10);

impl Books {
    /// The accounts of up to so many raisings, in order.
    pub async fn raised(&self, at_most: i64) -> Result<Vec<i64>, BooksError> {
        let accounts = "SELECT ARRAY(SELECT DISTINCT r.account_id FROM (
                               SELECT r.account_id FROM ledger.raisings r LIMIT $1) r ORDER BY r.account_id)";
        Ok(self.tend(accounts, vec![Box::new(at_most)]).await?.get(0))
    }

    /// Folds the raisings of these accounts into their balances; says how many.
    pub async fn fold_raisings(&self, accounts: Vec<i64>) -> Result<i64, BooksError> {
        Ok(self.tend("SELECT ledger.fold_raisings($1)", vec![Box::new(accounts)]).await?.get(0))
    }

    /// Makes checkpoints of busy accounts of what was sealed since; true: there is more.
    pub async fn roll(
        &self,
        at_most: i32,
        pause_ms: i32,
        whole_after: i32,
        whole_seconds: i32,
    ) -> Result<bool, BooksError> {
        let params: Params =
            vec![Box::new(at_most), Box::new(pause_ms), Box::new(whole_after), Box::new(whole_seconds)];
        Ok(self.tend("SELECT ledger.roll($1, $2, $3, $4)", params).await?.get(0))
    }

    /// Makes checkpoints of all accounts that moved, where `roll` said that it is time; true: it
    /// did. That takes a while: it may be broken off, and nobody waits for it.
    pub async fn roll_all(&self) -> Result<bool, BooksError> {
        let connection = self.pool.get().await;
        let connection = connection.map_err(|source| BooksError::Unreachable { source: Arc::new(source) })?;
        let rows = query(connection, "SELECT ledger.roll_all()", &[]).await.map_err(classify)?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    /// Makes the partitions that are needed soon; says of how many months.
    pub async fn rotate(&self) -> Result<i32, BooksError> {
        Ok(self.tend("SELECT ledger.rotate()", vec![]).await?.get(0))
    }

    /// Gives positions to up to so many committed batches; says to how many.
    pub async fn give_positions(&self, at_most: i32) -> Result<i64, BooksError> {
        Ok(self.tend("SELECT ledger.give_positions($1)", vec![Box::new(at_most)]).await?.get(0))
    }

    /// Continues the chain over up to so many positions, and says where it ends.
    pub async fn seal(&self, at_most: i32, seen: Option<&(i64, Vec<u8>)>) -> Result<Tip, BooksError> {
        let (position, hash) = seen.cloned().unwrap_or_default();
        let params: Params = vec![Box::new(at_most), Box::new(position), Box::new(hash)];
        let row = self.tend("SELECT * FROM ledger.seal($1, $2, $3)", params).await?;
        Ok(Tip {
            books: row.get(0),
            epoch: row.get(1),
            position: row.get(2),
            hash: row.get(3),
            given: row.get(4),
            lag_ms: row.get(5),
            contains: row.get(6),
        })
    }

    async fn tend(&self, sql: &'static str, params: Params) -> Result<Row, BooksError> {
        let now = Instant::now();
        let by = now.checked_add(TEND_MAX).unwrap_or(now);
        let (turn, connection) = self.turn(&self.tending, by).await?;
        let call = async move {
            let _held = turn;
            query(connection, sql, &borrowed(&params)).await.map_err(classify)
        };
        self.to_its_end(call, by).await
    }
}
