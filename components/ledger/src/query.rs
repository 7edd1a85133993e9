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

/// The same, and a question of one row that is sent along: the server comes to it when
/// the statement is committed, and not answering it takes nothing back.
pub(crate) async fn query_then(
    connection: Object,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
    then: &str,
) -> Result<(Vec<Row>, Result<Row, Error>), Error> {
    #[cfg(feature = "plants")]
    if crate::plants::on(crate::plants::Plant::AnswerBeforeCommit) {
        return crate::plants::answer_before_commit(connection, sql, params, then).await;
    }
    let connection = scopeguard::guard(connection, |connection| drop(Object::take(connection)));
    let (statement, question) =
        (connection.prepare_cached(sql).await?, connection.prepare_cached(then).await?);
    // Polled in this order, hence sent in it.
    let (rows, row) =
        tokio::join!(biased; connection.query(&statement, params), connection.query_one(&question, &[]));
    let rows = rows?;
    if row.is_ok() {
        drop(scopeguard::ScopeGuard::into_inner(connection));
    }
    Ok((rows, row))
}
