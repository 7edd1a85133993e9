//! Events are rows, written in the transaction of the change that they tell of.

use deadpool_postgres::GenericClient;
use serde_json::Value;
use uuid::Uuid;

use super::{StoreError, execute};

pub(super) async fn publish<C: GenericClient>(
    client: &C,
    kind: &str,
    subject: Uuid,
    payload: &Value,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO gateway.outbox (event_id, kind, subject_id, payload) VALUES ($1, $2, $3, $4)";
    execute(client, "publish an event", sql, &[&Uuid::now_v7(), &kind, &subject, payload]).await?;
    Ok(())
}
