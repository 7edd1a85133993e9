//! The payments that networks tell of, many read at once.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::attempts::{self, Attempt};
use super::orders::{self, Order, by_id};
use super::{Store, StoreError, rows};

type Known = (Attempt, Order);

impl Store {
    /// The attempt that a network knows by this number, and its order.
    pub async fn known_payment(&self, attempt_id: Uuid) -> Result<Option<Known>, StoreError> {
        let store = self.clone();
        let read = move |all| {
            let store = store.clone();
            async move { store.known_payments(all).await }
        };
        self.gathers.known.put(attempt_id, attempt_id, read).await
    }

    async fn known_payments(&self, all: Arc<Vec<Uuid>>) -> Result<Vec<(Uuid, Known)>, StoreError> {
        let client = self.client().await?;
        let sql = format!("SELECT {} FROM gateway.attempts WHERE attempt_id = ANY ($1)", attempts::COLUMNS);
        let attempts = rows(&client, "read attempts", &sql, &[&*all]).await?;
        let attempts: Vec<_> = attempts.iter().map(Attempt::read).collect::<Result<_, _>>()?;
        let sql = format!("SELECT {} FROM gateway.orders WHERE order_id = ANY ($1)", orders::COLUMNS);
        let ids: Vec<_> = attempts.iter().map(|attempt| attempt.order_id).collect();
        let orders: HashMap<_, _> =
            by_id(&rows(&client, "read orders", &sql, &[&ids]).await?)?.into_iter().collect();
        let known = |attempt: Attempt| {
            let order = orders.get(&attempt.order_id)?.clone();
            Some((attempt.attempt_id, (attempt, order)))
        };
        Ok(attempts.into_iter().filter_map(known).collect())
    }
}
