//! One statement on a borrowed connection.

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

/// Sends a statement and waits for its rows. The connection goes back to its pool
/// with the answer, and only with it: one that failed may sit on a server that was
/// demoted, and one that nobody waits for still works on the statement.
pub(crate) async fn query(
    connection: Object,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Error> {
    let connection = scopeguard::guard(connection, |connection| drop(Object::take(connection)));
    let statement = connection.prepare_cached(sql).await?;
    let rows = connection.query(&statement, params).await?;
    drop(scopeguard::ScopeGuard::into_inner(connection));
    Ok(rows)
}
