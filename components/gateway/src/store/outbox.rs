//! Events are rows, written in the transaction of the change that they tell of. What
//! an app is to be told is written with them.

use deadpool_postgres::GenericClient;
use serde_json::Value;
use uuid::Uuid;

use super::{StoreError, execute};

/// Something that happened to an app's order.
pub(super) struct Event<'a> {
    pub(super) kind: &'static str,
    pub(super) app: &'a str,
    pub(super) subject: Uuid,
    pub(super) payload: Value,
}

/// True: the app is to be told. Whoever commits it wakes [`super::Store::published`] then.
pub(super) async fn publish<C: GenericClient>(client: &C, event: &Event<'_>) -> Result<bool, StoreError> {
    let Event { kind, app, subject, payload } = event;
    let sql = "WITH event AS (
            INSERT INTO gateway.outbox (event_id, app_id, kind, subject_id, payload) VALUES ($1, $2, $3, $4, $5)
            RETURNING event_id, app_id)
        INSERT INTO gateway.deliveries (event_id, app_id)
        SELECT event.event_id, event.app_id FROM event JOIN gateway.endpoints USING (app_id)";
    let params: super::Params<'_> = &[&Uuid::now_v7(), app, kind, subject, payload];
    Ok(execute(client, "publish an event", sql, params).await? == 1)
}
