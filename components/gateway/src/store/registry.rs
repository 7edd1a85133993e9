//! Merchants, and apps with their keys.

use deadpool_postgres::GenericClient;
use jiff::Timestamp;
use jiff::civil::Date;
use snafu::ResultExt;
use uuid::Uuid;

use super::standing::{CHANGE, Kind};
use super::{QuerySnafu, ReadSnafu, StateSnafu, Store, StoreError, execute, one, optional, rows};
use crate::state::registry::RegistryState;

#[derive(Clone, Debug)]
pub struct Merchant {
    pub merchant_id: String,
    pub display_name: String,
    /// The n of T+n.
    pub settlement_days: i16,
    pub created_at: Timestamp,
    pub status: RegistryState,
    /// Who wrote the application last, and who approved it; none of one that was there before.
    pub applied_by: Option<String>,
    pub approved_by: Option<String>,
    pub credit_code: Option<String>,
    pub settlement_account: Option<String>,
}

/// A merchant as it is applied for. What is left out stays as it is.
#[derive(Clone, Debug)]
pub struct Application {
    pub merchant_id: String,
    pub display_name: String,
    /// Without: those that it has, or 1.
    pub settlement_days: Option<i16>,
    pub credit_code: Option<String>,
    pub settlement_account: Option<String>,
}

#[derive(Clone, Debug)]
pub struct App {
    pub app_id: String,
    pub display_name: String,
    pub created_at: Timestamp,
    pub keys: Vec<AppKey>,
    pub endpoint: Option<Endpoint>,
    pub status: RegistryState,
}

/// A key of an app.
#[derive(Clone, Debug)]
pub struct AppKey {
    pub key_id: String,
    pub algorithm: String,
    /// A point, a SubjectPublicKeyInfo or a sealed secret; none: as it is stored.
    pub material: Option<Vec<u8>>,
}

/// Where an app is notified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub url: String,
    /// The CAs that it is believed by; none: the public ones.
    pub ca_pem: Option<String>,
}

/// What becomes of an app's endpoint when the app is stored.
#[derive(Clone, Debug)]
pub enum Notify {
    AsBefore,
    Nowhere,
    At(Endpoint),
}

impl Store {
    /// Stores what a merchant is. A new one waits for its approval by somebody else than who
    /// wrote its application last.
    pub async fn put_merchant(&self, new: &Application, subject: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO gateway.merchants AS m (merchant_id, display_name, settlement_days,
                unified_social_credit_code, settlement_account, status, applied_by)
             VALUES ($1, $2, coalesce($3::smallint, 1), $4, $5, 'Applied', $6) ON CONFLICT (merchant_id) DO UPDATE
                SET display_name = excluded.display_name, settlement_days = coalesce($3, m.settlement_days),
                    unified_social_credit_code = coalesce($4, m.unified_social_credit_code),
                    settlement_account = coalesce($5, m.settlement_account),
                    applied_by = CASE m.status WHEN 'Applied' THEN $6 ELSE m.applied_by END";
        let lock: super::Params<'_> = &[&subject, &Kind::Merchant.as_str(), &new.merchant_id];
        let params: super::Params<'_> = &[
            &new.merchant_id,
            &new.display_name,
            &new.settlement_days,
            &new.credit_code,
            &new.settlement_account,
            &subject,
        ];
        self.under("store a merchant", (CHANGE, lock), (sql, params)).await?;
        Ok(())
    }

    pub async fn merchant(&self, id: &str) -> Result<Option<Merchant>, StoreError> {
        let sql = "SELECT display_name, created_at, settlement_days, status, applied_by, approved_by,
                unified_social_credit_code, settlement_account FROM gateway.merchants WHERE merchant_id = $1";
        let row = optional(&self.client().await?, "read a merchant", sql, &[&id]).await?;
        let Some(row) = row else { return Ok(None) };
        let status: String = row.try_get(3).context(ReadSnafu)?;
        Ok(Some(Merchant {
            merchant_id: id.to_owned(),
            display_name: row.try_get(0).context(ReadSnafu)?,
            created_at: row.try_get(1).context(ReadSnafu)?,
            settlement_days: row.try_get(2).context(ReadSnafu)?,
            status: RegistryState::parse(&status).context(StateSnafu)?,
            applied_by: row.try_get(4).context(ReadSnafu)?,
            approved_by: row.try_get(5).context(ReadSnafu)?,
            credit_code: row.try_get(6).context(ReadSnafu)?,
            settlement_account: row.try_get(7).context(ReadSnafu)?,
        }))
    }

    /// Stores an app with exactly these keys; others are withdrawn. An endpoint that is
    /// given is tried at once with what is owed. Where a key that should stay as it is
    /// is not there, nothing is stored, and its id is answered.
    pub async fn put_app(
        &self,
        id: &str,
        display_name: &str,
        keys: &[AppKey],
        (notify, subject): (&Notify, &str),
    ) -> Result<Option<String>, StoreError> {
        let what = "store an app";
        let mut client = self.client().await?;
        let transaction = client.transaction().await.context(QuerySnafu { what })?;
        let name = "SELECT set_config('payplane.subject', $1, true)";
        execute(&transaction, what, name, &[&subject]).await?;
        let app = "INSERT INTO gateway.apps (app_id, display_name) VALUES ($1, $2)
             ON CONFLICT (app_id) DO UPDATE SET display_name = excluded.display_name";
        execute(&transaction, what, app, &[&id, &display_name]).await?;
        if let Some(missing) = put_keys(&transaction, id, keys).await? {
            return Ok(Some(missing));
        }
        match notify {
            Notify::AsBefore => {}
            Notify::At(Endpoint { url, ca_pem }) => {
                // First, as whoever ends a try locks them in this order.
                let now = "UPDATE gateway.deliveries SET next_try_at = now() WHERE app_id = $1 AND status = 'Pending'";
                execute(&transaction, what, now, &[&id]).await?;
                let put = "INSERT INTO gateway.endpoints (app_id, url, ca_pem) VALUES ($1, $2, $3)
                     ON CONFLICT (app_id) DO UPDATE
                        SET url = excluded.url, ca_pem = excluded.ca_pem, failures = 0, rests_until = '-infinity'";
                execute(&transaction, what, put, &[&id, url, ca_pem]).await?;
            }
            Notify::Nowhere => {
                let gone = "DELETE FROM gateway.endpoints WHERE app_id = $1";
                execute(&transaction, what, gone, &[&id]).await?;
            }
        }
        transaction.commit().await.context(QuerySnafu { what })?;
        Ok(None)
    }

    pub async fn app(&self, id: &str) -> Result<Option<App>, StoreError> {
        let client = self.client().await?;
        let sql = "SELECT a.display_name, a.created_at, p.url, p.ca_pem, a.status FROM gateway.apps a
             LEFT JOIN gateway.endpoints p USING (app_id) WHERE app_id = $1";
        let Some(row) = optional(&client, "read an app", sql, &[&id]).await? else { return Ok(None) };
        let sql =
            "SELECT key_id, algorithm, public_key FROM gateway.app_keys WHERE app_id = $1 ORDER BY key_id";
        let keys = rows(&client, "read an app's keys", sql, &[&id]).await?;
        let keys = keys.iter().map(|row| {
            Ok(AppKey { key_id: row.try_get(0)?, algorithm: row.try_get(1)?, material: row.try_get(2)? })
        });
        let (url, ca_pem): (Option<String>, _) =
            (row.try_get(2).context(ReadSnafu)?, row.try_get(3).context(ReadSnafu)?);
        let status: String = row.try_get(4).context(ReadSnafu)?;
        Ok(Some(App {
            status: RegistryState::parse(&status).context(StateSnafu)?,
            app_id: id.to_owned(),
            display_name: row.try_get(0).context(ReadSnafu)?,
            created_at: row.try_get(1).context(ReadSnafu)?,
            keys: keys.collect::<Result<_, _>>().context(ReadSnafu)?,
            endpoint: url.map(|url| Endpoint { url, ca_pem }),
        }))
    }

    /// A key's algorithm and material.
    pub async fn app_key(&self, app: &str, key: &str) -> Result<Option<(String, Vec<u8>)>, StoreError> {
        let sql = "SELECT algorithm, public_key FROM gateway.app_keys WHERE app_id = $1 AND key_id = $2";
        let row = optional(&self.client().await?, "read an app's key", sql, &[&app, &key]).await?;
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).transpose().context(ReadSnafu)
    }

    /// The date under which a probe's postings are known, and its time: those at
    /// which it was first asked for.
    pub async fn probe(&self, fingerprint: &str, today: Date) -> Result<(Date, Timestamp), StoreError> {
        let client = self.client().await?;
        let sql = "INSERT INTO gateway.probes (fingerprint, stored_date) VALUES ($1, $2)
             ON CONFLICT DO NOTHING";
        execute(&client, "store a probe", sql, &[&fingerprint, &today]).await?;
        let sql = "SELECT stored_date, created_at FROM gateway.probes WHERE fingerprint = $1";
        let row = one(&client, "read a probe", sql, &[&fingerprint]).await?;
        Ok((row.try_get(0).context(ReadSnafu)?, row.try_get(1).context(ReadSnafu)?))
    }

    /// The id that the network knows an attempt or a refund by.
    #[must_use]
    pub fn number(id: Uuid) -> String {
        id.simple().to_string()
    }
}

/// Exactly these keys; the id of one that should stay and is not there.
async fn put_keys<C: GenericClient>(
    client: &C,
    app: &str,
    keys: &[AppKey],
) -> Result<Option<String>, StoreError> {
    let what = "store an app's keys";
    let ids: Vec<_> = keys.iter().map(|key| key.key_id.as_str()).collect();
    let others = "DELETE FROM gateway.app_keys WHERE app_id = $1 AND key_id <> ALL($2)";
    execute(client, what, others, &[&app, &ids]).await?;
    for AppKey { key_id, algorithm, material } in keys {
        let done = match material {
            Some(material) => {
                let put = "INSERT INTO gateway.app_keys (app_id, key_id, algorithm, public_key)
                    VALUES ($1, $2, $3, $4) ON CONFLICT (app_id, key_id) DO UPDATE
                       SET algorithm = excluded.algorithm, public_key = excluded.public_key";
                execute(client, what, put, &[&app, key_id, algorithm, material]).await?
            }
            None => {
                let stays = "SELECT 1 FROM gateway.app_keys
                    WHERE app_id = $1 AND key_id = $2 AND algorithm = $3 FOR UPDATE";
                execute(client, what, stays, &[&app, key_id, algorithm]).await?
            }
        };
        if done == 0 {
            return Ok(Some(key_id.clone()));
        }
    }
    Ok(None)
}
