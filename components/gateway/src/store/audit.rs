//! Who changed what in the registry, as the database's triggers noted it.

use jiff::Timestamp;
use serde_json::Value;
use snafu::ResultExt;
use tokio_postgres::Row;

use super::{ReadSnafu, Store, StoreError, rows};

/// One change.
#[derive(Clone, Debug)]
pub struct Noted {
    pub number: i64,
    pub happened_at: Timestamp,
    pub subject: String,
    pub action: String,
    pub kind: String,
    pub object_id: String,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

impl Store {
    /// The changes after one, oldest first.
    pub async fn audit(&self, after: i64, limit: i64) -> Result<Vec<Noted>, StoreError> {
        let sql = "SELECT audit_number, happened_at, subject, action, kind, object_id, before, after
             FROM gateway.registry_audit WHERE audit_number > $1 ORDER BY audit_number LIMIT $2";
        let found = rows(&self.client().await?, "read the audit", sql, &[&after, &limit]).await?;
        found.iter().map(read).collect::<Result<_, _>>().context(ReadSnafu)
    }
}

fn read(row: &Row) -> Result<Noted, tokio_postgres::Error> {
    Ok(Noted {
        number: row.try_get(0)?,
        happened_at: row.try_get(1)?,
        subject: row.try_get(2)?,
        action: row.try_get(3)?,
        kind: row.try_get(4)?,
        object_id: row.try_get(5)?,
        before: row.try_get(6)?,
        after: row.try_get(7)?,
    })
}
