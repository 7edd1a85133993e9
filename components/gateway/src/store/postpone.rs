//! Unfinished orders, handed back to be looked at later, many in one statement.

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use super::orders::{COLUMNS, Order, by_id};
use super::{INTERVAL_SECONDS_MAX, Params, Store, StoreError, rows};

/// The first interval of an order that waits for its payer, and the longest.
const PAYER_SECONDS: f64 = 8.0;
const PAYER_SECONDS_MAX: f64 = 240.0;

/// What an unfinished order waits for.
#[derive(Clone, Debug)]
pub enum Awaited {
    /// The network; or the payer, if he was given an action.
    Network(Option<Value>),
    /// The ledger: the network took the money.
    Books,
}

pub(super) type Postponed = (Uuid, Awaited);

impl Store {
    /// Hands an unfinished order back, to be looked at after an interval that
    /// doubles with every look, with jitter. One that waits for its payer (`action`) is left
    /// longer, as the network tells when it is paid; but it is looked at when it expires.
    pub async fn postpone_order(&self, order_id: Uuid, awaited: Awaited) -> Result<Order, StoreError> {
        let store = self.clone();
        let write = move |all| {
            let store = store.clone();
            async move { store.postpone_all(all).await }
        };
        match self.gathers.postpone.put(order_id, (order_id, awaited), write).await? {
            Some(order) => Ok(order),
            None => self.order(order_id).await,
        }
    }

    async fn postpone_all(&self, all: Arc<Vec<Postponed>>) -> Result<Vec<(Uuid, Order)>, StoreError> {
        let sql = format!(
            "WITH held AS (SELECT order_id AS held_id FROM gateway.orders
                WHERE order_id = ANY ($1) AND status = 'Processing' ORDER BY order_id FOR NO KEY UPDATE)
             UPDATE gateway.orders SET action = coalesce(action, t.to_do), next_check_at =
                -- What was hastened meanwhile stays so.
                CASE WHEN next_check_at <= now() + interval '1 second' AND NOT t.is_owed THEN next_check_at
                WHEN t.is_owed OR coalesce(action, t.to_do) IS NULL OR expires_at <= now()
                THEN now() + interval '1 second' * least($4, power(2, least(checks, 10))) * (0.8 + 0.4 * random())
                ELSE least(expires_at + interval '1 second', now() + interval '1 second'
                    * least($6, $5 * power(2, least(checks, 10))) * (0.8 + 0.4 * random())) END
             FROM unnest($1::uuid[], $2::jsonb[], $3::bool[]) AS t(of_order, to_do, is_owed)
                JOIN held ON held_id = t.of_order
             WHERE order_id = t.of_order AND status = 'Processing' RETURNING {COLUMNS}"
        );
        let action = |awaited: &Awaited| match awaited {
            Awaited::Network(action) => action.clone(),
            Awaited::Books => None,
        };
        let params: Params<'_> = &[
            &all.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            &all.iter().map(|(_, awaited)| action(awaited)).collect::<Vec<_>>(),
            &all.iter().map(|(_, awaited)| matches!(awaited, Awaited::Books)).collect::<Vec<_>>(),
            &INTERVAL_SECONDS_MAX,
            &PAYER_SECONDS,
            &PAYER_SECONDS_MAX,
        ];
        by_id(&rows(&self.client().await?, "postpone orders", &sql, params).await?)
    }
}
