//! Never answering, within bounds: a caller that waits is kept waiting until
//! it leaves, the simulator ends, or an hour has passed.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use payplane_common::shutdown::Shutdown;
use tokio::sync::Semaphore;

/// Callers kept waiting at once; one more is cut off without an answer of worth.
const WAITING_MAX: usize = 1024;
const WAIT_MAX: Duration = Duration::from_secs(3600);

pub(crate) struct Silence {
    places: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl Silence {
    pub(crate) fn new(shutdown: &Shutdown) -> Self {
        Self { places: Arc::new(Semaphore::new(WAITING_MAX)), shutdown: shutdown.clone() }
    }

    /// What comes in the end is unsigned, so it tells the caller nothing.
    pub(crate) async fn keep(&self) -> Response {
        if let Ok(_place) = self.places.try_acquire() {
            let ending = self.shutdown.closing.cancelled();
            let _ = tokio::time::timeout(WAIT_MAX, ending).await;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::GATEWAY_TIMEOUT;
        response
    }
}
