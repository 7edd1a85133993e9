//! What is measured of batches.

use std::time::Duration;

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::item::Waiting;
use crate::metrics::seconds;

/// Clones share the figures.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    items: Histogram,
    waited: Histogram,
    took: Histogram,
}

impl Default for Figures {
    fn default() -> Self {
        Self { items: Histogram::new(exponential_buckets(1.0, 2.0, 11)), waited: seconds(), took: seconds() }
    }
}

impl Figures {
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register("ledger_batch_items", "Postings of a batch", self.items.clone());
        let waited = "Time that a posting waited before it was sent";
        registry.register("ledger_queue_seconds", waited, self.waited.clone());
        let took = "Time from sending a batch until it was committed, or was not";
        registry.register("ledger_batch_seconds", took, self.took.clone());
    }

    pub(super) fn sent(&self, items: &[Waiting]) {
        self.items.observe(f64::from(u32::try_from(items.len()).unwrap_or(u32::MAX)));
        for waiting in items {
            self.waited.observe(waiting.queued.elapsed().as_secs_f64());
        }
    }

    pub(super) fn ended(&self, took: Duration) {
        self.took.observe(took.as_secs_f64());
    }
}
