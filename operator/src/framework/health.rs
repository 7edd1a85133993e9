//! /livez, /readyz and /metrics.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::routing::get;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// What the operator counts. Clones share it.
#[derive(Clone, Default)]
pub struct Metrics {
    /// Reconciles by kind and outcome.
    pub reconciles: Family<Vec<(&'static str, String)>, Counter<u64, AtomicU64>>,
}

impl Metrics {
    pub fn reconciled(&self, kind: &'static str, ok: bool) {
        let labels = vec![("kind", kind.to_owned()), ("ok", ok.to_string())];
        self.reconciles.get_or_create(&labels).inc();
    }

    /// How many reconciles of a kind ended so.
    #[must_use]
    pub fn count(&self, kind: &'static str, ok: bool) -> u64 {
        let labels = vec![("kind", kind.to_owned()), ("ok", ok.to_string())];
        self.reconciles.get_or_create(&labels).inner().load(Ordering::Relaxed)
    }
}

/// Serves until the process ends.
pub async fn serve(address: SocketAddr, metrics: Metrics) -> std::io::Result<()> {
    let mut registry = Registry::with_prefix("payplane_operator");
    registry.register("reconciles", "Reconciles by kind and outcome", metrics.reconciles);
    let router = axum::Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(|| async { "ok" }))
        .route("/metrics", get(text))
        .with_state(Arc::new(registry));
    axum::serve(tokio::net::TcpListener::bind(address).await?, router).await
}

async fn text(State(registry): State<Arc<Registry>>) -> String {
    let mut text = String::new();
    let _ = prometheus_client::encoding::text::encode(&mut text, &registry);
    text
}
