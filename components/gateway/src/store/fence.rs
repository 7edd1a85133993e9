//! A lock, and a later statement that decides under it, in one transaction that is sent at
//! once: it costs one round trip, and a process that freezes cannot hold the lock.

use futures_util::future::join4;
use snafu::ResultExt;
use tokio_postgres::Row;

use super::{Params, QuerySnafu, Store, StoreError};

/// A statement and its parameters.
pub(super) type Statement<'a> = (&'a str, Params<'a>);

impl Store {
    /// Runs `lock`, then `statement`, and commits. The database gives each statement a snapshot
    /// of its own (READ COMMITTED): the second sees all that was committed before it got the lock.
    pub(super) async fn under(
        &self,
        what: &'static str,
        lock: Statement<'_>,
        statement: Statement<'_>,
    ) -> Result<Vec<Row>, StoreError> {
        let client = self.client().await?;
        let (first, second) = (client.prepare_cached(lock.0), client.prepare_cached(statement.0));
        let (first, second) = futures_util::try_join!(first, second).context(QuerySnafu { what })?;
        // Each is sent when it is first polled, hence in this order. Where one fails, the
        // database ignores the next, and its COMMIT takes everything back.
        let (begun, locked, rows, ended) = join4(
            client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED"),
            client.query(&first, lock.1),
            client.query(&second, statement.1),
            client.batch_execute("COMMIT"),
        )
        .await;
        begun.and(locked).context(QuerySnafu { what })?;
        let rows = rows.context(QuerySnafu { what })?;
        ended.context(QuerySnafu { what })?;
        Ok(rows)
    }
}
