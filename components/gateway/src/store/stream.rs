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

/// What one look for events came to.
#[derive(Clone, Copy, Debug)]
pub struct Given {
    pub count: i64,
    /// The highest number that was given a position, or the floor.
    pub up_to: i64,
    /// The transaction that gave them: whoever drew a lower number had begun before it.
    pub transaction: i64,
    /// The oldest that was still open before it looked.
    pub oldest: i64,
}

impl Store {
    /// Gives positions to events with higher numbers than the floor that have none. None where
    /// another one does.
    pub async fn give_event_positions(&self, most: i32, floor: i64) -> Result<Option<Given>, StoreError> {
        let sql = "SELECT given, up_to, transaction, oldest FROM gateway.give_event_positions($1, $2)";
        let row = one(&self.client().await?, "give events their positions", sql, &[&most, &floor]).await?;
        let read = || -> Result<Option<Given>, tokio_postgres::Error> {
            let Some(count) = row.try_get(0)? else { return Ok(None) };
            let (up_to, transaction, oldest) = (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
            Ok(Some(Given { count, up_to, transaction, oldest }))
        };
        read().context(ReadSnafu)
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
