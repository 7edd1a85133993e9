//! What the ledger counts.

use std::sync::Arc;
use std::time::Duration;

use payplane_common::config::Live;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::Settings;
use crate::seal::Tip;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct HashLabel {
    hash: String,
}

/// Clones share the figures.
#[derive(Clone, Debug)]
pub struct Metrics {
    posts: Family<OutcomeLabel, Counter>,
    refusals: Family<ReasonLabel, Counter>,
    seconds: Histogram,
    config: Family<HashLabel, Gauge>,
    sealed: Gauge,
    seal_lag: Gauge,
    seal_broken: Gauge,
}

/// From 0.5 ms to 16 s.
pub(crate) fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}

impl Metrics {
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            posts: Family::default(),
            refusals: Family::default(),
            seconds: seconds(),
            config: Family::default(),
            sealed: Gauge::default(),
            seal_lag: Gauge::default(),
            seal_broken: Gauge::default(),
        };
        let outcomes = "Postings by outcome: created, replayed, refused, failed";
        registry.register("ledger_posts", outcomes, metrics.posts.clone());
        registry.register("ledger_refusals", "Refused postings by reason", metrics.refusals.clone());
        registry.register("ledger_post_seconds", "Time to answer a posting", metrics.seconds.clone());
        registry.register("ledger_config_info", "The config in force, by its hash", metrics.config.clone());
        registry.register("ledger_sealed_position", "The chain's last position", metrics.sealed.clone());
        let lag = "Age of the first batch beyond the chain";
        registry.register("ledger_seal_lag_milliseconds", lag, metrics.seal_lag.clone());
        let broken = "1 while the chain lacks a head that this pod has published";
        registry.register("ledger_seal_broken", broken, metrics.seal_broken.clone());
        metrics
    }

    pub fn answered(&self, outcome: &'static str, took: Duration) {
        self.posts.get_or_create(&OutcomeLabel { outcome }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub fn refused(&self, reason: &str) {
        self.refusals.get_or_create(&ReasonLabel { reason: reason.to_owned() }).inc();
    }

    pub(crate) fn sealed(&self, tip: &Tip) {
        self.sealed.set(tip.position);
        self.seal_lag.set(tip.lag_ms);
    }

    pub(crate) fn broken(&self, broken: bool) {
        self.seal_broken.set(broken.into());
    }

    /// Shows the hash of the config in force until the future is dropped.
    pub async fn follow_config(self, config: Arc<Live<Settings>>) {
        let mut changes = config.subscribe();
        loop {
            let hash = changes.borrow_and_update().hash.clone();
            self.config.clear();
            self.config.get_or_create(&HashLabel { hash }).set(1);
            if changes.changed().await.is_err() {
                return;
            }
        }
    }
}
