//! Orders that have succeeded, each with its event and its delivery, many in one statement.
//! What this process has room to send it takes with the same commit: nobody has to look for it.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use snafu::ResultExt;
use tokio_postgres::Row;
use uuid::Uuid;

use super::attempts::Attempt;
use super::deliveries::{Delivery, FAILURES_MAX};
use super::orders::{Order, event};
use super::registry::Endpoint;
use super::{LEASE_SECONDS, ReadSnafu, Store, StoreError, execute, rows};
use crate::state::OrderState;

const KIND: &str = "payment.succeeded";

/// What an order becomes, and what is told of it.
#[derive(Clone)]
pub(super) struct Success {
    done: Order,
    event_id: Uuid,
    payload: Value,
}

impl Store {
    /// Marks an order as succeeded, with what the posting was decided on, and
    /// publishes it. Whoever comes second finds it done. Tried again, it bears the same
    /// event: where the answer of the first try was lost, nobody sends what that one took.
    pub async fn succeed_order(
        &self,
        order: &Order,
        attempt: &Attempt,
        (transaction_id, event_id): (Uuid, Uuid),
    ) -> Result<Order, StoreError> {
        let done = Order {
            status: OrderState::Succeeded,
            channel: Some(attempt.channel.clone()),
            fee_minor: Some(attempt.fee_minor),
            config_hash: Some(attempt.config_hash.clone()),
            config_epoch: Some(attempt.config_epoch),
            ledger_transaction_id: Some(transaction_id),
            completed_at: Some(super::now()),
            ..order.clone()
        };
        let payload = event(KIND, &done).payload;
        let success = Success { done, event_id, payload };
        let store = self.clone();
        let write = move |all| {
            let store = store.clone();
            async move { store.succeed_all(all).await }
        };
        match self.gathers.succeed.put(order.order_id, success, write).await? {
            Some(order) => Ok(order),
            None => {
                self.give_back(event_id).await?;
                self.order(order.order_id).await
            }
        }
    }

    /// Leaves what was taken with a commit to whoever looks for it next.
    async fn give_back(&self, event_id: Uuid) -> Result<(), StoreError> {
        let sql = "UPDATE gateway.deliveries SET next_try_at = now()
             WHERE event_id = $1 AND status = 'Pending' AND tries = 1";
        let is_there = execute(&self.client().await?, "give a notification back", sql, &[&event_id]).await?;
        self.wake(is_there > 0);
        Ok(())
    }

    async fn succeed_all(&self, all: Arc<Vec<Success>>) -> Result<Vec<(Uuid, Order)>, StoreError> {
        let sql = "WITH held AS (SELECT order_id AS held_id FROM gateway.orders
                WHERE order_id = ANY ($1) ORDER BY order_id FOR UPDATE),
             done AS (UPDATE gateway.orders o SET status = 'Succeeded', channel = t.by_channel,
                    fee_minor = t.fee, config_hash = t.hash, config_epoch = t.epoch,
                    ledger_transaction_id = t.booked_as, completed_at = t.at, next_check_at = NULL
                FROM unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::uuid[],
                    $7::timestamptz[], $8::uuid[], $9::jsonb[], $10::bool[])
                    AS t(of_order, by_channel, fee, hash, epoch, booked_as, at, event_id, payload, is_ours)
                    JOIN held ON held_id = t.of_order
                WHERE o.order_id = t.of_order AND o.status = 'Processing'
                RETURNING order_id, app_id, event_id, payload, is_ours),
             event AS (INSERT INTO gateway.outbox (event_id, app_id, kind, subject_id, payload)
                SELECT event_id, app_id, $11, order_id, payload FROM done RETURNING event_id, created_at),
             -- A delivery that is ours bears its first try; an endpoint that rests is left to a look.
             owed AS (SELECT event_id, app_id, url, ca_pem,
                    is_ours AND p.failures < $12 AND p.rests_until <= now() AS is_ours
                FROM done JOIN gateway.endpoints p USING (app_id)),
             told AS (INSERT INTO gateway.deliveries (event_id, app_id, tries, next_try_at)
                SELECT event_id, app_id, is_ours::int,
                    now() + CASE WHEN is_ours THEN $13::float8 ELSE 0 END * interval '1 second' FROM owed)
             SELECT order_id, created_at, NOT owed.is_ours AS is_left,
                CASE WHEN owed.is_ours THEN url END AS url, CASE WHEN owed.is_ours THEN ca_pem END AS ca_pem
             FROM done JOIN event USING (event_id) LEFT JOIN owed USING (event_id)";
        let tickets: Vec<_> = all.iter().map(|s| self.handover.ticket(&s.done.app_id)).collect();
        let done = || all.iter().map(|success| &success.done);
        let params: super::Params<'_> = &[
            &done().map(|o| o.order_id).collect::<Vec<_>>(),
            &done().map(|o| o.channel.as_deref()).collect::<Vec<_>>(),
            &done().map(|o| o.fee_minor).collect::<Vec<_>>(),
            &done().map(|o| o.config_hash.as_deref()).collect::<Vec<_>>(),
            &done().map(|o| o.config_epoch).collect::<Vec<_>>(),
            &done().map(|o| o.ledger_transaction_id).collect::<Vec<_>>(),
            &done().map(|o| o.completed_at).collect::<Vec<_>>(),
            &all.iter().map(|s| s.event_id).collect::<Vec<_>>(),
            &all.iter().map(|s| &s.payload).collect::<Vec<_>>(),
            &tickets.iter().map(Option::is_some).collect::<Vec<_>>(),
            &KIND,
            &FAILURES_MAX,
            &LEASE_SECONDS,
        ];
        let rows = rows(&self.client().await?, "mark orders as succeeded", sql, params).await?;
        let asked =
            all.iter().zip(tickets).map(|(success, ticket)| (success.done.order_id, (success, ticket)));
        let mut asked: HashMap<_, _> = asked.collect();
        let (mut ended, mut is_left) = (vec![], false);
        for row in &rows {
            let order_id: Uuid = row.try_get("order_id").context(ReadSnafu)?;
            let Some((success, ticket)) = asked.remove(&order_id) else { continue };
            is_left |= row.try_get::<_, Option<bool>>("is_left").context(ReadSnafu)?.unwrap_or_default();
            if let (Some(delivery), Some(ticket)) = (success.delivery(row).context(ReadSnafu)?, ticket) {
                self.handover.give(delivery, ticket);
            }
            ended.push((order_id, success.done.clone()));
        }
        self.wake(is_left);
        Ok(ended)
    }
}

impl Success {
    /// The delivery that was taken with the commit, if it was.
    fn delivery(&self, row: &Row) -> Result<Option<Delivery>, tokio_postgres::Error> {
        let Some(url) = row.try_get("url")? else { return Ok(None) };
        Ok(Some(Delivery {
            event_id: self.event_id,
            app_id: self.done.app_id.clone(),
            kind: KIND.to_owned(),
            payload: self.payload.clone(),
            created_at: row.try_get("created_at")?,
            number: 1,
            nth: 1,
            is_probe: false,
            to: Endpoint { url, ca_pem: row.try_get("ca_pem")? },
        }))
    }
}
