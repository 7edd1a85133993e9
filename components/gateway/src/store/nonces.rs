//! A nonce stands for one signed request, for all replicas.

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use snafu::ResultExt;

use super::{ReadSnafu, Store, StoreError, execute, one};

/// The nonce of a verified request.
#[derive(Clone, Debug)]
pub struct Nonce {
    pub app: String,
    pub nonce: String,
    pub digest: [u8; 32],
    pub expires_at: Timestamp,
}

/// Expired nonces deleted in one go.
const PURGE_MAX: i64 = 5_000;

/// What a nonce that is stored says of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Never,
    /// The same request.
    Before,
    /// Another one.
    Other,
}

/// Stores the nonce. False where it was used for other content.
pub(super) async fn guard<C: GenericClient>(client: &C, nonce: &Nonce) -> Result<bool, StoreError> {
    Ok(store(client, nonce).await? != Seen::Other)
}

async fn store<C: GenericClient>(client: &C, nonce: &Nonce) -> Result<Seen, StoreError> {
    let insert = "INSERT INTO gateway.nonces (app_id, nonce, request_digest, expires_at)
        VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let digest = nonce.digest.as_slice();
    let params: super::Params<'_> = &[&nonce.app, &nonce.nonce, &digest, &nonce.expires_at];
    if execute(client, "store the nonce", insert, params).await? == 1 {
        return Ok(Seen::Never);
    }
    let select = "SELECT request_digest = $3 FROM gateway.nonces WHERE app_id = $1 AND nonce = $2";
    let row = one(client, "read the nonce", select, &[&nonce.app, &nonce.nonce, &digest]).await?;
    let is_same: bool = row.try_get(0).context(ReadSnafu)?;
    Ok(if is_same { Seen::Before } else { Seen::Other })
}

impl Store {
    /// Guards a request that is not carried out a second time.
    pub async fn guard_once(&self, nonce: &Nonce) -> Result<Seen, StoreError> {
        store(&self.client().await?, nonce).await
    }

    /// Guards a request that writes nothing else. Should the database lose the
    /// row in a crash, a read or a closing could be repeated, which changes nothing;
    /// so the commit does not wait for the disk.
    pub async fn guard_read(&self, nonce: &Nonce) -> Result<bool, StoreError> {
        let mut client = self.client().await?;
        let what = "store the nonce of a query";
        let transaction = client.transaction().await.context(super::QuerySnafu { what })?;
        execute(&transaction, what, "SET LOCAL synchronous_commit = off", &[]).await?;
        let fresh = guard(&transaction, nonce).await?;
        transaction.commit().await.context(super::QuerySnafu { what })?;
        Ok(fresh)
    }

    /// Deletes a bounded number of nonces that the time window refuses anyway.
    pub async fn purge_nonces(&self) -> Result<u64, StoreError> {
        let sql = "DELETE FROM gateway.nonces WHERE (app_id, nonce) IN
            (SELECT app_id, nonce FROM gateway.nonces WHERE expires_at < now() LIMIT $1)";
        execute(&self.client().await?, "purge nonces", sql, &[&PURGE_MAX]).await
    }
}
