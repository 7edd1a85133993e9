//! /livez, /readyz and /metrics on a plain port of their own, for the kubelet
//! and the monitoring namespace.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::shutdown::Shutdown;

/// Says in one word why the component is not ready, or nothing.
pub type Ready = dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync;

struct Shared {
    ready: Box<Ready>,
    registry: Registry,
    draining: CancellationToken,
}

/// Serves until the component has drained. `extra` adds routes of the
/// component's own to the plain port. The caller listens before it says that it
/// serves: a port that is taken ends the component, it does not leave it unready.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    shutdown: &Shutdown,
    ready: impl Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    extra: axum::Router,
) {
    let shared = Arc::new(Shared { ready: Box::new(ready), registry, draining: shutdown.draining.clone() });
    let router = axum::Router::new()
        .route("/livez", get(|| async { "ok" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shared)
        .merge(extra);
    let closing = shutdown.closing.clone().cancelled_owned();
    // axum retries what accept refuses and never ends with an error.
    let _ = axum::serve(listener, router).with_graceful_shutdown(closing).await;
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
