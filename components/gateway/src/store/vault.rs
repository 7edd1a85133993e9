//! The vault's rows, by the login that reaches nothing else.

use deadpool_postgres::{GenericClient, Object, Pool};
use jiff::Timestamp;
use snafu::ResultExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{PoolSnafu, QuerySnafu, ReadSnafu, StoreError, execute, one, optional, rows};

/// What is this old and belongs to no row belongs to none that is still to come: see [`soon_after`].
const ORPHAN: &str = "interval '7 days'";

/// A row of the vault. It has no Debug.
pub struct Sealed {
    pub owner: Uuid,
    pub sealed: Vec<u8>,
    pub key_id: String,
}

/// Who may be swept.
pub struct Kept {
    pub owner: Uuid,
    pub kept_at: Timestamp,
    /// So old that who wrote it writes no row any more.
    pub is_old: bool,
}

#[derive(Clone)]
pub struct VaultTable(Pool);

impl VaultTable {
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        Self(pool)
    }

    async fn client(&self) -> Result<Object, StoreError> {
        self.0.get().await.context(PoolSnafu)
    }

    /// Do all sessions name the same key for what is new? While they do not, one replica would seal
    /// anew what another just did.
    pub async fn is_of_one_mind(&self) -> Result<bool, StoreError> {
        let sql = "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE usename = current_user
             AND datname = current_database() AND application_name <> current_setting('application_name'))";
        let row = one(&self.client().await?, "look who uses the vault", sql, &[]).await?;
        row.try_get(0).context(ReadSnafu)
    }

    /// Keeps it, in place of what was there. Says since when.
    pub async fn put(&self, kind: &str, row: &Sealed) -> Result<Timestamp, StoreError> {
        let sql = "INSERT INTO vault.secrets (kind, owner_id, sealed, key_id) VALUES ($1, $2, $3, $4)
             ON CONFLICT (kind, owner_id) DO UPDATE
                SET sealed = excluded.sealed, key_id = excluded.key_id, kept_at = now() RETURNING kept_at";
        let params: super::Params<'_> = &[&kind, &row.owner, &row.sealed, &row.key_id];
        let row = one(&self.client().await?, "keep a secret", sql, params).await?;
        row.try_get(0).context(ReadSnafu)
    }

    pub async fn get(&self, kind: &str, owner: Uuid) -> Result<Option<Sealed>, StoreError> {
        let sql = "SELECT owner_id, sealed, key_id FROM vault.secrets WHERE kind = $1 AND owner_id = $2";
        let row = optional(&self.client().await?, "read a secret", sql, &[&kind, &owner]).await?;
        row.as_ref().map(sealed).transpose()
    }

    pub async fn forget(&self, kind: &str, owner: Uuid) -> Result<(), StoreError> {
        let sql = "DELETE FROM vault.secrets WHERE kind = $1 AND owner_id = $2";
        execute(&self.client().await?, "forget a secret", sql, &[&kind, &owner]).await?;
        Ok(())
    }

    /// How many rows each data key has.
    pub async fn by_key(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let sql = "SELECT key_id, count(*) FROM vault.secrets GROUP BY key_id";
        let rows = rows(&self.client().await?, "count what a data key seals", sql, &[]).await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, _>>()
            .context(ReadSnafu)
    }

    /// Up to `limit` of a kind after this one, in the order of their owners.
    pub async fn after(&self, kind: &str, owner: Uuid, limit: i64) -> Result<Vec<Kept>, StoreError> {
        let sql = format!(
            "SELECT owner_id, kept_at, kept_at < now() - {ORPHAN} FROM vault.secrets
             WHERE kind = $1 AND owner_id > $2 ORDER BY owner_id LIMIT $3"
        );
        let rows = rows(&self.client().await?, "look what is kept", &sql, &[&kind, &owner, &limit]).await?;
        let read = |row: &Row| {
            Ok(Kept { owner: row.try_get(0)?, kept_at: row.try_get(1)?, is_old: row.try_get(2)? })
        };
        rows.iter().map(read).collect::<Result<_, _>>().context(ReadSnafu)
    }

    /// Sweeps these, as they were seen.
    pub async fn sweep(&self, kind: &str, swept: &[&Kept]) -> Result<u64, StoreError> {
        let owners: Vec<_> = swept.iter().map(|kept| kept.owner).collect();
        let since: Vec<_> = swept.iter().map(|kept| kept.kept_at).collect();
        let sql =
            "DELETE FROM vault.secrets s USING unnest($2::uuid[], $3::timestamptz[]) AS n (owner_id, kept_at)
             WHERE s.kind = $1 AND s.owner_id = n.owner_id AND s.kept_at = n.kept_at";
        execute(&self.client().await?, "sweep the vault", sql, &[&kind, &owners, &since]).await
    }
}

impl VaultTable {
    /// Puts what `anew` makes of them in place of up to `limit` rows of a kind under this key, after
    /// this owner, and says which was the last; none: there are no more. One process at a time
    /// does so; who comes beside it finds none.
    pub async fn reseal(
        &self,
        (kind, key): (&str, &str),
        (after, limit): (Uuid, i64),
        anew: impl Fn(&Sealed) -> Option<Sealed>,
    ) -> Result<Option<Uuid>, StoreError> {
        let what = "seal anew";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        let alone = one(&transaction, what, "SELECT pg_try_advisory_xact_lock(7813576050)", &[]).await?;
        if !alone.try_get::<_, bool>(0).context(ReadSnafu)? {
            return Ok(None);
        }
        let sql = "SELECT owner_id, sealed, key_id FROM vault.secrets
             WHERE key_id = $1 AND kind = $2 AND owner_id > $3 ORDER BY owner_id LIMIT $4 FOR UPDATE";
        let found = rows(&transaction, what, sql, &[&key, &kind, &after, &limit]).await?;
        let found = found.iter().map(sealed).collect::<Result<Vec<_>, _>>()?;
        let last = found.last().map(|row| row.owner);
        let anew: Vec<_> = found.iter().filter_map(anew).collect();
        let owners: Vec<_> = anew.iter().map(|row| row.owner).collect();
        let (texts, keys): (Vec<_>, Vec<_>) = anew.iter().map(|row| (&row.sealed, &row.key_id)).unzip();
        let sql = "UPDATE vault.secrets s SET sealed = n.sealed, key_id = n.key_id
             FROM unnest($2::uuid[], $3::bytea[], $4::text[]) AS n (owner_id, sealed, key_id)
             WHERE s.kind = $1 AND s.owner_id = n.owner_id";
        execute(&transaction, what, sql, &[&kind, &owners, &texts, &keys]).await?;
        transaction.commit().await.context(QuerySnafu { what })?;
        Ok(last)
    }
}

/// In the transaction that writes the row of a secret: it was kept a moment ago, by the database's
/// clock. Who froze in between writes none, as the secret may have been swept. A commit that waits
/// for its standby may take longer, hours even: that is what [`ORPHAN`] leaves time for.
pub(super) async fn soon_after<C: GenericClient>(client: &C, kept_at: Timestamp) -> Result<(), StoreError> {
    let sql = "SELECT $1 > now() - interval '10 minutes'";
    let row = one(client, "look when a secret was kept", sql, &[&kept_at]).await?;
    if row.try_get(0).context(ReadSnafu)? { Ok(()) } else { Err(StoreError::Late) }
}

fn sealed(row: &Row) -> Result<Sealed, StoreError> {
    let read = || Ok(Sealed { owner: row.try_get(0)?, sealed: row.try_get(1)?, key_id: row.try_get(2)? });
    read().context(ReadSnafu)
}
