//! /livez, /readyz and /metrics on a plain port of their own, for the kubelet
//! and the monitoring namespace.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use snafu::{ResultExt, Snafu};
use tokio_util::sync::CancellationToken;

use crate::shutdown::Shutdown;

#[derive(Debug, Snafu)]
pub enum HealthError {
    #[snafu(display("cannot listen on {address}"))]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// Says in one word why the component is not ready, or nothing.
pub type Ready = dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync;

struct Shared {
    ready: Box<Ready>,
    registry: Registry,
    draining: CancellationToken,
}

/// Serves until the component has drained. `extra` adds routes of the
/// component's own to the plain port.
pub async fn serve(
    address: SocketAddr,
    registry: Registry,
    shutdown: &Shutdown,
    ready: impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    extra: axum::Router,
) -> Result<(), HealthError> {
    let shared = Arc::new(Shared { ready: Box::new(ready), registry, draining: shutdown.draining.clone() });
    let router = axum::Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shared)
        .merge(extra);
    let listener = tokio::net::TcpListener::bind(address).await.context(ListenSnafu { address })?;
    let closing = shutdown.closing.clone().cancelled_owned();
    axum::serve(listener, router).with_graceful_shutdown(closing).await.context(ListenSnafu { address })
}

async fn readyz(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    if shared.draining.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining".to_owned());
    }
    match (shared.ready)().await {
        Ok(()) => (StatusCode::OK, "ok".to_owned()),
        Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

async fn metrics(State(shared): State<Arc<Shared>>) -> (StatusCode, String) {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &shared.registry) {
        Ok(()) => (StatusCode::OK, text),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, String::new()),
    }
}
