//! What the gateway's own tables say about what is sealed: which secrets of the vault are still
//! needed, what a release before the vault left here, and apps' shared secrets.

use deadpool_postgres::GenericClient;
use snafu::ResultExt;
use uuid::Uuid;

use super::{QuerySnafu, ReadSnafu, Store, StoreError, execute, one, rows};

/// As sessions of this release are named. Those of a release before the vault are `gateway`.
pub const APPLICATION: &str = "payplane-gateway";

/// Is the secret of a row needed?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needed {
    Yes,
    /// Not now: its row is still to come, or to be written.
    NotYet,
    Never,
}

/// A shared secret of an app, as it is stored.
pub struct AppSecret {
    pub app: String,
    pub key_id: String,
    pub algorithm: String,
    pub sealed: Vec<u8>,
}

impl Store {
    /// Which of these payouts and refunds have not been sent. Those that are not named are not there.
    pub async fn payees_needed(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, Needed)>, StoreError> {
        let sql =
            "SELECT payout_id, status = 'Requested', false FROM gateway.payouts WHERE payout_id = ANY ($1)
             UNION ALL
             SELECT refund_id, status = 'Requested', false FROM gateway.refunds WHERE refund_id = ANY ($1)";
        needed(&self.client().await?, sql, ids).await
    }

    /// Which of these agreements may still be paid by.
    pub async fn tokens_needed(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, Needed)>, StoreError> {
        let sql =
            "SELECT agreement_id, status IN ('Active', 'Ending'), status IN ('Processing', 'AwaitingCode')
             FROM gateway.agreements WHERE agreement_id = ANY ($1)";
        needed(&self.client().await?, sql, ids).await
    }

    /// Which of these orders wait for their payers' codes.
    pub async fn payers_needed(&self, ids: &[Uuid]) -> Result<Vec<(Uuid, Needed)>, StoreError> {
        let sql = "SELECT order_id, o.status = 'Processing' AND s.status IN ('Sending', 'AwaitingCode'),
                o.status = 'Processing' AND s.status = 'Asked'
             FROM gateway.step_ups s JOIN gateway.orders o USING (order_id) WHERE order_id = ANY ($1)";
        needed(&self.client().await?, sql, ids).await
    }

    /// Is a gateway of a release before the vault logged in? It finds tokens in their column alone.
    pub async fn has_former_release(&self) -> Result<bool, StoreError> {
        let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity
             WHERE usename = current_user AND application_name = 'gateway')";
        let row = one(&self.client().await?, "look for a former release", sql, &[]).await?;
        row.try_get(0).context(ReadSnafu)
    }

    /// Up to `limit` agreements after this one, each with the token that a former release left in
    /// its column, if any.
    pub async fn tokens_after(
        &self,
        agreement_id: Uuid,
        limit: i64,
    ) -> Result<Vec<(Uuid, Option<Vec<u8>>)>, StoreError> {
        let sql = "SELECT agreement_id, token_sealed FROM gateway.agreements
             WHERE agreement_id > $1 ORDER BY agreement_id LIMIT $2";
        let rows = rows(&self.client().await?, "look for tokens", sql, &[&agreement_id, &limit]).await?;
        rows.iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
            .collect::<Result<_, _>>()
            .context(ReadSnafu)
    }

    /// Puts the same token, sealed anew, in place of what was seen.
    pub async fn reseal_token(&self, agreement_id: Uuid, seen: &[u8], anew: &[u8]) -> Result<(), StoreError> {
        let sql = "UPDATE gateway.agreements SET token_sealed = $3
             WHERE agreement_id = $1 AND token_sealed = $2";
        execute(&self.client().await?, "seal a token anew", sql, &[&agreement_id, &seen, &anew]).await?;
        Ok(())
    }

    /// How many payees a former release left in their columns.
    pub async fn count_former_payees(&self) -> Result<i64, StoreError> {
        let sql = "SELECT
             (SELECT count(*) FROM gateway.payouts WHERE next_check_at IS NOT NULL AND payee_sealed IS NOT NULL)
             + (SELECT count(*) FROM gateway.refunds WHERE next_check_at IS NOT NULL AND payee_sealed IS NOT NULL)";
        let row = one(&self.client().await?, "count what is not in the vault", sql, &[]).await?;
        row.try_get(0).context(ReadSnafu)
    }

    /// Up to `limit` shared secrets after this one.
    pub async fn app_secrets(
        &self,
        (app, key_id): (&str, &str),
        limit: i64,
    ) -> Result<Vec<AppSecret>, StoreError> {
        let sql = "SELECT app_id, key_id, algorithm, public_key FROM gateway.app_keys
             WHERE algorithm IN ('hmac-sha256', 'hmac-sm3') AND (app_id, key_id) > ($1, $2)
             ORDER BY app_id, key_id LIMIT $3";
        let params: super::Params<'_> = &[&app, &key_id, &limit];
        let rows = rows(&self.client().await?, "look at shared secrets", sql, params).await?;
        let read = |row: &tokio_postgres::Row| {
            Ok(AppSecret {
                app: row.try_get(0)?,
                key_id: row.try_get(1)?,
                algorithm: row.try_get(2)?,
                sealed: row.try_get(3)?,
            })
        };
        rows.iter().map(read).collect::<Result<_, _>>().context(ReadSnafu)
    }

    /// Puts the same secret, sealed anew, in place of what was seen. The audit says what for.
    pub async fn reseal_app_secret(&self, seen: &AppSecret, sealed: &[u8]) -> Result<(), StoreError> {
        let what = "seal a shared secret anew";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        execute(&transaction, what, "SELECT set_config('payplane.subject', 'data-key', true)", &[]).await?;
        let sql = "UPDATE gateway.app_keys SET public_key = $4
             WHERE app_id = $1 AND key_id = $2 AND public_key = $3";
        execute(&transaction, what, sql, &[&seen.app, &seen.key_id, &seen.sealed, &sealed]).await?;
        transaction.commit().await.context(QuerySnafu { what })
    }
}

async fn needed<C: GenericClient>(
    client: &C,
    sql: &str,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, Needed)>, StoreError> {
    let rows = rows(client, "look whose secrets are needed", sql, &[&ids]).await?;
    rows.iter()
        .map(|row| {
            let now = if row.try_get(1)? { Needed::Yes } else { Needed::Never };
            Ok((row.try_get(0)?, if row.try_get(2)? { Needed::NotYet } else { now }))
        })
        .collect::<Result<_, _>>()
        .context(ReadSnafu)
}
