//! What an app was told, and telling it again.

use jiff::Timestamp;
use snafu::ResultExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{ReadSnafu, StateSnafu, Store, StoreError, execute, optional, rows};
use crate::state::DeliveryState;

/// An event of an app, and what became of telling it.
#[derive(Clone, Debug)]
pub struct Told {
    pub event_id: Uuid,
    pub app_id: String,
    pub kind: String,
    pub subject_id: Uuid,
    pub created_at: Timestamp,
    /// None where the app had no endpoint.
    pub status: Option<DeliveryState>,
    pub tries: i32,
    pub next_try_at: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
}

/// A try as it ended.
#[derive(Clone, Debug)]
pub struct PastTry {
    pub number: i32,
    pub sent_at: Timestamp,
    pub took_ms: i32,
    pub answer: Option<i32>,
    pub failure: Option<String>,
}

const TOLD: &str = "SELECT o.event_id, o.app_id, o.kind, o.subject_id, o.created_at, d.status,
        coalesce(d.tries, 0) AS tries, d.next_try_at, d.ended_at
    FROM gateway.outbox o LEFT JOIN gateway.deliveries d USING (event_id)";

impl Store {
    /// An app's events behind `after`, oldest first; of one state where one is given.
    pub async fn told(
        &self,
        app: &str,
        state: Option<DeliveryState>,
        after: Uuid,
        at_most: i64,
    ) -> Result<Vec<Told>, StoreError> {
        // Spelled out: one plan is kept for each text, and this one is to know them.
        let of = state.map_or(String::new(), |state| format!("AND d.status = '{}'", state.as_str()));
        let sql = format!(
            "{TOLD} WHERE o.app_id = $1 AND o.event_id > $2 {of} ORDER BY o.event_id LIMIT {at_most}"
        );
        let client = self.client().await?;
        let found = rows(&client, "read an app's events", &sql, &[&app, &after]).await?;
        found.iter().map(Told::read).collect()
    }

    /// One event, and its latest tries, oldest first.
    pub async fn told_event(
        &self,
        event_id: Uuid,
        tries_max: i64,
    ) -> Result<Option<(Told, Vec<PastTry>)>, StoreError> {
        let client = self.client().await?;
        // First: a try that ends meanwhile shows in the event's state alone.
        let sql = "SELECT number, sent_at, took_ms, answer, failure FROM gateway.delivery_tries
             WHERE event_id = $1 ORDER BY number DESC LIMIT $2";
        let mut tries = rows(&client, "read an event's tries", sql, &[&event_id, &tries_max]).await?;
        tries.reverse();
        let sql = format!("{TOLD} WHERE o.event_id = $1");
        let row = optional(&client, "read an event", &sql, &[&event_id]).await?;
        let Some(row) = row else { return Ok(None) };
        let tries: Result<_, _> = tries.iter().map(PastTry::read).collect();
        Ok(Some((Told::read(&row)?, tries.context(ReadSnafu)?)))
    }

    /// Owes an event to its app again, whatever became of it before. False where the app
    /// has no endpoint.
    pub async fn tell_again(&self, event_id: Uuid) -> Result<bool, StoreError> {
        let sql = "INSERT INTO gateway.deliveries (event_id, app_id)
             SELECT o.event_id, o.app_id FROM gateway.outbox o JOIN gateway.endpoints USING (app_id) WHERE o.event_id = $1
             ON CONFLICT (event_id) DO UPDATE
                SET status = 'Pending', since = now(), next_try_at = now(), ended_at = NULL,
                    tries = deliveries.tries + 1, tries_before = deliveries.tries + 1";
        let owed = execute(&self.client().await?, "owe an event again", sql, &[&event_id]).await? == 1;
        self.published.notify_one();
        Ok(owed)
    }

    /// Owes the oldest of an app's dead ones again, up to so many; says how many.
    pub async fn tell_dead_again(&self, app: &str, at_most: i64) -> Result<u64, StoreError> {
        let sql = "UPDATE gateway.deliveries SET status = 'Pending', since = now(), next_try_at = now(), ended_at = NULL,
                tries = tries + 1, tries_before = tries + 1
             WHERE event_id IN (SELECT event_id FROM gateway.deliveries WHERE app_id = $1 AND status = 'Dead'
                ORDER BY event_id LIMIT $2 FOR UPDATE SKIP LOCKED)";
        let owed = execute(&self.client().await?, "owe dead events again", sql, &[&app, &at_most]).await?;
        self.published.notify_one();
        Ok(owed)
    }
}

impl Told {
    fn read(row: &Row) -> Result<Self, StoreError> {
        let status: Option<String> = row.try_get("status").context(ReadSnafu)?;
        let status = status.map(|status| DeliveryState::parse(&status)).transpose().context(StateSnafu)?;
        let read = || -> Result<Self, tokio_postgres::Error> {
            Ok(Self {
                event_id: row.try_get("event_id")?,
                app_id: row.try_get("app_id")?,
                kind: row.try_get("kind")?,
                subject_id: row.try_get("subject_id")?,
                created_at: row.try_get("created_at")?,
                status,
                tries: row.try_get("tries")?,
                next_try_at: row.try_get("next_try_at")?,
                ended_at: row.try_get("ended_at")?,
            })
        };
        read().context(ReadSnafu)
    }
}

impl PastTry {
    fn read(row: &Row) -> Result<Self, tokio_postgres::Error> {
        Ok(Self {
            number: row.try_get("number")?,
            sent_at: row.try_get("sent_at")?,
            took_ms: row.try_get("took_ms")?,
            answer: row.try_get("answer")?,
            failure: row.try_get("failure")?,
        })
    }
}
