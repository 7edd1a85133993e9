//! Lists of those from whom no payment is taken. Each change is one transaction in the name
//! of a subject, which the database audits.

use jiff::Timestamp;
use snafu::ResultExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Params, ReadSnafu, Store, StoreError, rows};

/// Entries of one list.
pub const ENTRIES_MAX: i64 = 100_000;

/// Begins a change of a list: one at a time, so that its bound holds. The number is a family
/// of locks of its own, beside those of the registry.
const CHANGE: &str =
    "SELECT set_config('lock_timeout', '5s', true), set_config('payplane.subject', $1, true),
    pg_advisory_xact_lock(781357604, hashtext($2))";

/// An entry as it is added: by the hash for what is new, and known by any of them.
#[derive(Clone, Debug)]
pub struct NewEntry {
    pub list: String,
    pub kind: &'static str,
    pub hashes: Vec<[u8; 32]>,
    pub note: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub entry_id: Uuid,
    pub kind: String,
    pub note: Option<String>,
    pub created_at: Timestamp,
}

impl Store {
    /// Adds an entry, and says under which id it is there; none where the list is full.
    pub async fn add_entry(&self, new: &NewEntry, subject: &str) -> Result<Option<Uuid>, StoreError> {
        let sql = "WITH known AS (SELECT entry_id FROM gateway.risk_entries
                WHERE list = $2 AND kind = $3 AND value_hash = ANY ($4)),
             made AS (INSERT INTO gateway.risk_entries (entry_id, list, kind, value_hash, note)
                SELECT $1, $2, $3, ($4::bytea[])[1], $5 WHERE NOT EXISTS (SELECT FROM known)
                    AND (SELECT count(*) FROM gateway.risk_entries WHERE list = $2) < $6 RETURNING entry_id)
             SELECT entry_id FROM known UNION ALL SELECT entry_id FROM made";
        let hashes: Vec<_> = new.hashes.iter().map(<[u8; 32]>::as_slice).collect();
        let params: Params<'_> = &[&Uuid::now_v7(), &new.list, &new.kind, &hashes, &new.note, &ENTRIES_MAX];
        let lock: Params<'_> = &[&subject, &new.list];
        let found = self.under("add to a risk list", (CHANGE, lock), (sql, params)).await?;
        found.first().map(|row| row.try_get(0).context(ReadSnafu)).transpose()
    }

    /// Removes an entry. To do it twice is to do it.
    pub async fn remove_entry(&self, list: &str, entry_id: Uuid, subject: &str) -> Result<(), StoreError> {
        let sql = "DELETE FROM gateway.risk_entries WHERE list = $1 AND entry_id = $2";
        let lock: Params<'_> = &[&subject, &list];
        self.under("remove from a risk list", (CHANGE, lock), (sql, &[&list, &entry_id])).await?;
        Ok(())
    }

    /// A list's entries after one, oldest first.
    pub async fn entries(&self, list: &str, after: Uuid, limit: i64) -> Result<Vec<Entry>, StoreError> {
        let sql = "SELECT entry_id, kind, note, created_at FROM gateway.risk_entries
             WHERE list = $1 AND entry_id > $2 ORDER BY entry_id LIMIT $3";
        let found = rows(&self.client().await?, "read a risk list", sql, &[&list, &after, &limit]).await?;
        found.iter().map(read).collect::<Result<_, _>>().context(ReadSnafu)
    }
}

fn read(row: &Row) -> Result<Entry, tokio_postgres::Error> {
    Ok(Entry {
        entry_id: row.try_get(0)?,
        kind: row.try_get(1)?,
        note: row.try_get(2)?,
        created_at: row.try_get(3)?,
    })
}
