//! What was decided on for a payment, for people to look at; and counters that nobody needs
//! any more.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use serde_json::Value;
use snafu::ResultExt;
use uuid::Uuid;

use super::{ReadSnafu, Store, StoreError, execute, optional, rows};

/// Counters deleted in one go, and how long they are kept after their last day.
const PURGE_MAX: i64 = 5_000;
const KEPT_DAYS: i32 = 3;
/// Windows come by the payer: a replica deletes up to 20,000 in a chore, some 3,000 a second.
const PURGES_MAX: usize = 4;
/// The zones of the earth are a day apart.
const WINDOWS_KEPT_DAYS: i32 = 1;

/// An attempt, and why its channel was chosen.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Decided {
    pub attempt_id: Uuid,
    pub channel: String,
    pub status: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_time: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payer_minor: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settled_minor: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_settlement_date: Option<Date>,
    pub signed_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    pub decision: Value,
}

/// A risk policy that an order matched.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Assessed {
    pub policy: String,
    pub mode: String,
    pub verdict: String,
    pub facts: Value,
    pub config_epoch: i64,
    pub config_hash: String,
    pub happened_at: Timestamp,
}

impl Store {
    /// The risk policies that an order matched: each at most once.
    pub async fn assessed(&self, order_id: Uuid) -> Result<Vec<Assessed>, StoreError> {
        let sql = "SELECT policy, mode, verdict, facts, config_epoch, config_hash, happened_at
            FROM gateway.risk_journal WHERE order_id = $1 ORDER BY policy";
        let rows = rows(&self.client().await?, "read an order's risk journal", sql, &[&order_id]).await?;
        let read = |row: &tokio_postgres::Row| -> Result<Assessed, tokio_postgres::Error> {
            Ok(Assessed {
                policy: row.try_get("policy")?,
                mode: row.try_get("mode")?,
                verdict: row.try_get("verdict")?,
                facts: row.try_get("facts")?,
                config_epoch: row.try_get("config_epoch")?,
                config_hash: row.try_get("config_hash")?,
                happened_at: row.try_get("happened_at")?,
            })
        };
        rows.iter().map(|row| read(row).context(ReadSnafu)).collect()
    }

    /// An order's attempts, oldest first: three at most.
    pub async fn decided(&self, order_id: Uuid) -> Result<Vec<Decided>, StoreError> {
        let sql =
            "SELECT attempt_id, channel, status, code, network_id, network_time, payer_minor, settled_minor,
                network_settlement_date, signed_at, ended_at, decision
            FROM gateway.attempts WHERE order_id = $1 ORDER BY ordinal";
        let rows = rows(&self.client().await?, "read an order's attempts", sql, &[&order_id]).await?;
        let read = |row: &tokio_postgres::Row| -> Result<Decided, tokio_postgres::Error> {
            Ok(Decided {
                attempt_id: row.try_get("attempt_id")?,
                channel: row.try_get("channel")?,
                status: row.try_get("status")?,
                code: row.try_get("code")?,
                network_id: row.try_get("network_id")?,
                network_time: row.try_get("network_time")?,
                payer_minor: row.try_get("payer_minor")?,
                settled_minor: row.try_get("settled_minor")?,
                network_settlement_date: row.try_get("network_settlement_date")?,
                signed_at: row.try_get("signed_at")?,
                ended_at: row.try_get("ended_at")?,
                decision: row.try_get("decision")?,
            })
        };
        rows.iter().map(|row| read(row).context(ReadSnafu)).collect()
    }

    /// Why an order came to no attempt. The outer None: there is no such order.
    pub async fn routing(&self, order_id: Uuid) -> Result<Option<Option<Value>>, StoreError> {
        let sql = "SELECT routing FROM gateway.orders WHERE order_id = $1";
        let row = optional(&self.client().await?, "read an order's routing", sql, &[&order_id]).await?;
        row.map(|row| row.try_get(0).context(ReadSnafu)).transpose()
    }

    /// Deletes a bounded number of counters of days and months that are over, and of windows.
    pub async fn purge_counters(&self) -> Result<u64, StoreError> {
        let limits = "DELETE FROM gateway.limit_counters WHERE counter_id IN
            (SELECT counter_id FROM gateway.limit_counters WHERE last_day < current_date - $2::int
             ORDER BY counter_id LIMIT $1 FOR UPDATE SKIP LOCKED)";
        let windows = "DELETE FROM gateway.risk_windows WHERE window_key IN
            (SELECT window_key FROM gateway.risk_windows WHERE last_day < current_date - $2::int
             ORDER BY last_day LIMIT $1 FOR UPDATE SKIP LOCKED)";
        let client = self.client().await?;
        let mut deleted = execute(&client, "purge limit counters", limits, &[&PURGE_MAX, &KEPT_DAYS]).await?;
        for _ in 0..PURGES_MAX {
            let params: super::Params<'_> = &[&PURGE_MAX, &WINDOWS_KEPT_DAYS];
            let windows = execute(&client, "purge risk windows", windows, params).await?;
            deleted = deleted.saturating_add(windows);
            if windows < PURGE_MAX.unsigned_abs() {
                break;
            }
        }
        Ok(deleted)
    }
}
