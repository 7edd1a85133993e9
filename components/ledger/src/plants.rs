//! Bugs that `every_planted_bug_is_caught` plants in this crate, one at a time. None of
//! it is compiled without the feature `plants`, which only that test's build asks for.

use std::sync::atomic::{AtomicU8, Ordering};

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Error, Row};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    None,
    /// Callers are answered before the commit.
    AnswerBeforeCommit,
    /// Identities are committed in a call of their own, before what they decide.
    IdentityApart,
    /// The stream goes on behind the highest number that it told, not behind a position.
    CutByNumber,
}

/// Of the whole process: whoever plants runs alone in it.
static PLANTED: AtomicU8 = AtomicU8::new(Plant::None as u8);

pub fn plant(plant: Plant) {
    PLANTED.store(plant as u8, Ordering::Release);
}

pub(crate) fn on(plant: Plant) -> bool {
    PLANTED.load(Ordering::Acquire) == plant as u8
}

/// The answer is on its way while the connection commits.
pub(crate) async fn answer_before_commit(
    connection: Object,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
    then: &str,
) -> Result<(Vec<Row>, Result<Row, Error>), Error> {
    let connection = scopeguard::guard(connection, |connection| drop(Object::take(connection)));
    connection.batch_execute("BEGIN").await?;
    let rows = connection.query(sql, params).await?;
    let row = connection.query_one(then, &[]).await;
    tokio::spawn(async move {
        if connection.batch_execute("COMMIT").await.is_ok() {
            drop(scopeguard::ScopeGuard::into_inner(connection));
        }
    });
    Ok((rows, row))
}

/// The function is the test's, and stands on its server only.
pub(crate) async fn take_identities(
    connection: &Object,
    params: &[&(dyn ToSql + Sync)],
) -> Result<(), Error> {
    if on(Plant::IdentityApart) {
        let taken = params.get(..4).unwrap_or_default();
        connection.query("SELECT ledger.take_identities($1, $2, $3, $4)", taken).await?;
    }
    Ok(())
}

/// The question for events, as it is or cut at the number of the last batch that was told.
pub(crate) fn events(sql: &'static str) -> &'static str {
    if !on(Plant::CutByNumber) {
        return sql;
    }
    let told = "SELECT max(told.batch_number) FROM ledger.positions told WHERE told.position <= $1";
    sql.replace("c.position > $1", &format!("b.batch_number > coalesce(({told}), 0)")).leak()
}
