//! Events by their positions.

use jiff::Timestamp;
use serde_json::Value;
use snafu::ResultExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{ReadSnafu, Store, StoreError, one, optional, rows};
use crate::stream::Place;

/// An event that has a position.
#[derive(Clone, Debug)]
pub struct Placed {
    pub place: Place,
    pub event_id: Uuid,
    pub app_id: String,
    pub kind: String,
    pub payload: Value,
    pub created_at: Timestamp,
}

impl Store {
    /// Gives positions to events that have none: how many it were, and the last one.
    pub async fn give_event_positions(&self, most: i32) -> Result<(i64, i64), StoreError> {
        let sql = "SELECT given, last FROM gateway.give_event_positions($1)";
        let row = one(&self.client().await?, "give events their positions", sql, &[&most]).await?;
        let (given, before): (i64, i64) =
            (row.try_get(0).context(ReadSnafu)?, row.try_get(1).context(ReadSnafu)?);
        Ok((given, before.saturating_add(given)))
    }

    /// Events after a position, oldest first: of one app, or of all.
    pub async fn events(
        &self,
        app: Option<&str>,
        (after, limit): (i64, i64),
    ) -> Result<Vec<Placed>, StoreError> {
        let of_app = if app.is_some() { "p.app_id = $3 AND" } else { "$3::text IS NULL AND" };
        let sql = format!(
            "SELECT p.epoch, p.position, o.event_id, o.app_id, o.kind, o.payload, o.created_at
             FROM gateway.event_positions p JOIN gateway.outbox o USING (event_id)
             WHERE {of_app} p.position > $1 ORDER BY p.position LIMIT $2"
        );
        let found = rows(&self.client().await?, "read events", &sql, &[&after, &limit, &app]).await?;
        found.iter().map(read).collect::<Result<_, _>>().context(ReadSnafu)
    }

    /// The epoch of a position that was given, and is here.
    pub async fn epoch_of(&self, position: i64) -> Result<Option<i32>, StoreError> {
        let sql = "SELECT epoch FROM gateway.event_positions WHERE position = $1";
        let row = optional(&self.client().await?, "find a position", sql, &[&position]).await?;
        row.map(|row| row.try_get(0)).transpose().context(ReadSnafu)
    }
}

fn read(row: &Row) -> Result<Placed, tokio_postgres::Error> {
    Ok(Placed {
        place: Place { epoch: row.try_get("epoch")?, position: row.try_get("position")? },
        event_id: row.try_get("event_id")?,
        app_id: row.try_get("app_id")?,
        kind: row.try_get("kind")?,
        payload: row.try_get("payload")?,
        created_at: row.try_get("created_at")?,
    })
}
