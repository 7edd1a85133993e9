//! Orders that have succeeded, each with its event and its delivery, many in one statement.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;
use snafu::ResultExt;
use uuid::Uuid;

use super::attempts::Attempt;
use super::orders::{COLUMNS, Order, by_id, event};
use super::{ReadSnafu, Store, StoreError, rows};
use crate::state::OrderState;

/// What an order succeeded with.
#[derive(Clone)]
pub(super) struct Success {
    attempt: Attempt,
    transaction_id: Uuid,
    completed_at: Timestamp,
    event_id: Uuid,
    payload: Value,
}

impl Store {
    /// Marks an order as succeeded, with what the posting was decided on, and
    /// publishes it. Whoever comes second finds it done.
    pub async fn succeed_order(
        &self,
        order: &Order,
        attempt: &Attempt,
        transaction_id: Uuid,
    ) -> Result<Order, StoreError> {
        // As the database keeps it.
        let completed_at = Timestamp::from_microsecond(Timestamp::now().as_microsecond());
        let completed_at = completed_at.unwrap_or(Timestamp::MAX);
        let done = Order {
            status: OrderState::Succeeded,
            channel: Some(attempt.channel.clone()),
            fee_minor: Some(attempt.fee_minor),
            completed_at: Some(completed_at),
            ..order.clone()
        };
        let payload = event("payment.succeeded", &done).payload;
        let (attempt, event_id) = (attempt.clone(), Uuid::now_v7());
        let success = Success { attempt, transaction_id, completed_at, event_id, payload };
        let store = self.clone();
        let write = move |all| {
            let store = store.clone();
            async move { store.succeed_all(all).await }
        };
        match self.gathers.succeed.put(order.order_id, success, write).await? {
            Some(order) => Ok(order),
            None => self.order(order.order_id).await,
        }
    }

    async fn succeed_all(&self, all: Arc<Vec<Success>>) -> Result<Vec<(Uuid, Order)>, StoreError> {
        let sql = format!(
            "WITH held AS (SELECT order_id AS held_id FROM gateway.orders
                WHERE order_id = ANY ($1) ORDER BY order_id FOR UPDATE),
             done AS (UPDATE gateway.orders o SET status = 'Succeeded', channel = t.by_channel,
                    fee_minor = t.fee, config_hash = t.hash, config_epoch = t.epoch,
                    ledger_transaction_id = t.booked_as, completed_at = t.at, next_check_at = NULL
                FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::uuid[],
                    $7::timestamptz[], $8::uuid[], $9::jsonb[])
                    AS t(of_order, by_channel, fee, hash, epoch, booked_as, at, event_id, payload)
                    JOIN held ON held_id = t.of_order
                WHERE o.order_id = t.of_order AND o.status = 'Processing' RETURNING {COLUMNS}, event_id, payload),
             event AS (INSERT INTO gateway.outbox (event_id, app_id, kind, subject_id, payload)
                SELECT event_id, app_id, 'payment.succeeded', order_id, payload FROM done
                RETURNING event_id, app_id),
             told AS (INSERT INTO gateway.deliveries (event_id, app_id)
                SELECT event_id, app_id FROM event JOIN gateway.endpoints USING (app_id) RETURNING event_id)
             SELECT {COLUMNS}, EXISTS (SELECT FROM told) AS told FROM done"
        );
        let params: super::Params<'_> = &[
            &all.iter().map(|s| s.attempt.order_id).collect::<Vec<_>>(),
            &all.iter().map(|s| s.attempt.channel.as_str()).collect::<Vec<_>>(),
            &all.iter().map(|s| s.attempt.fee_minor).collect::<Vec<_>>(),
            &all.iter().map(|s| s.attempt.config_hash.as_str()).collect::<Vec<_>>(),
            &all.iter().map(|s| s.attempt.config_epoch).collect::<Vec<_>>(),
            &all.iter().map(|s| s.transaction_id).collect::<Vec<_>>(),
            &all.iter().map(|s| s.completed_at).collect::<Vec<_>>(),
            &all.iter().map(|s| s.event_id).collect::<Vec<_>>(),
            &all.iter().map(|s| &s.payload).collect::<Vec<_>>(),
        ];
        let rows = rows(&self.client().await?, "mark orders as succeeded", &sql, params).await?;
        if let Some(row) = rows.first() {
            self.wake(row.try_get("told").context(ReadSnafu)?);
        }
        by_id(&rows)
    }
}
