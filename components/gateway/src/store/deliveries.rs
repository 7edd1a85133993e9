//! Notifications that are owed to apps, taken by whoever sends them.

use jiff::Timestamp;
use serde_json::Value;
use snafu::ResultExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::registry::Endpoint;
use super::{LEASE_SECONDS, ReadSnafu, Store, StoreError, rows};

/// Failures in a row after which an endpoint rests; then it is tried with one notification.
pub(super) const FAILURES_MAX: i32 = 5;

/// A notification that is to be sent now.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub event_id: Uuid,
    pub app_id: String,
    pub kind: String,
    pub payload: Value,
    pub created_at: Timestamp,
    /// Which try this is, of all and since it was asked for again.
    pub number: i32,
    pub nth: i32,
    /// Its endpoint has rested, and is tried with this one alone.
    pub is_probe: bool,
    pub to: Endpoint,
}

impl Store {
    /// Takes what is due, up to `limit`, of each app up to `each`, none of `busy` apps. Of
    /// an endpoint that has rested one is taken. Replicas share, as with orders.
    pub async fn claim_deliveries(
        &self,
        limit: i64,
        each: i64,
        busy: &[String],
    ) -> Result<Vec<Delivery>, StoreError> {
        let sql = "WITH open AS MATERIALIZED (
                SELECT p.app_id, p.failures FROM gateway.endpoints p
                 WHERE p.rests_until <= now() AND p.app_id <> ALL ($3) AND EXISTS (
                       SELECT FROM gateway.deliveries d
                        WHERE d.app_id = p.app_id AND d.status = 'Pending' AND d.next_try_at <= now())
                 -- Those that have rested first: of each it is one.
                 ORDER BY p.failures >= $5 DESC, random() LIMIT $1),
            rested AS (
                UPDATE gateway.endpoints SET rests_until = now() + $4 * interval '1 second' WHERE app_id IN (
                    SELECT p.app_id FROM gateway.endpoints p JOIN open USING (app_id)
                     WHERE open.failures >= $5 AND p.rests_until <= now() FOR UPDATE OF p SKIP LOCKED)
                RETURNING app_id),
            due AS MATERIALIZED (
                SELECT d.event_id FROM open, LATERAL (
                       SELECT d.event_id FROM gateway.deliveries d
                        WHERE d.app_id = open.app_id AND d.status = 'Pending' AND d.next_try_at <= now()
                        ORDER BY d.next_try_at LIMIT CASE WHEN open.failures >= $5 THEN 1 ELSE $2::bigint END
                          FOR UPDATE SKIP LOCKED) d
                 WHERE open.failures < $5 OR open.app_id IN (SELECT app_id FROM rested) LIMIT $1)
            UPDATE gateway.deliveries d SET tries = d.tries + 1, next_try_at = now() + $4 * interval '1 second'
              FROM due, gateway.outbox o, gateway.endpoints p
             WHERE d.event_id = due.event_id AND o.event_id = due.event_id AND p.app_id = d.app_id
            RETURNING d.event_id, d.app_id, o.kind, o.payload, o.created_at, d.tries, d.tries - d.tries_before AS nth, p.url,
                p.ca_pem, p.failures >= $5 AS is_probe";
        let client = self.client().await?;
        let params: super::Params<'_> = &[&limit, &each, &busy, &LEASE_SECONDS, &FAILURES_MAX];
        let found = rows(&client, "claim notifications", sql, params).await?;
        found.iter().map(Delivery::read).collect::<Result<_, _>>().context(ReadSnafu)
    }
}

impl Delivery {
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            event_id: row.try_get("event_id")?,
            app_id: row.try_get("app_id")?,
            kind: row.try_get("kind")?,
            payload: row.try_get("payload")?,
            created_at: row.try_get("created_at")?,
            number: row.try_get("tries")?,
            nth: row.try_get("nth")?,
            is_probe: row.try_get("is_probe")?,
            to: Endpoint { url: row.try_get("url")?, ca_pem: row.try_get("ca_pem")? },
        })
    }
}
