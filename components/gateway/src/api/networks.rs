//! Where networks send their notifications. Who sent one, its channel proves.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::post;
use http::StatusCode;
use jiff::Timestamp;
use payplane_common::telemetry::chain;
use payplane_common::trace::Trace;

use super::path::Path;
use super::problem::{Code, Problem};
use super::read_body;
use crate::channel::notification::Receipt;
use crate::channel::record::{Got, Raw};
use crate::gateway::Gateway;
use crate::metrics::Notified;
use crate::notified::{self, Heard};
use crate::patience::Patience;

/// A network's body comes with its headers.
const BODY_MAX: std::time::Duration = std::time::Duration::from_secs(2);
/// Networks give up after 5 s and send it again.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(4);

pub(super) fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/v1/channels/{channel}/notifications", post(notification))
        .method_not_allowed_fallback(super::not_found)
        .with_state(gateway)
}

async fn notification(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let settings = gateway.settings();
    let channel = settings.value.channel(&name);
    let channel = channel.ok_or_else(|| Problem::new(Code::NotFound, "there is no such channel"))?;
    let place = gateway.network_places.clone().try_acquire_owned();
    let place = place.map_err(|_| Problem::overloaded("too many notifications are worked on"))?;
    let late = |_| Problem::new(Code::InvalidField, "the body did not arrive in time");
    let (parts, body) = tokio::time::timeout(BODY_MAX, read_body(request)).await.map_err(late)??;
    let count = |result| {
        let label = Notified { channel: name.clone(), result };
        gateway.metrics.network_notifications.get_or_create(&label).inc();
    };
    let notification = channel.client.read_notification(&parts.headers, &body).map_err(|unproven| {
        count("unproven");
        tracing::info!(channel = name, why = unproven.why, "a notification that is not believed");
        Problem::new(Code::BadSignature, unproven.why)
    })?;
    let with = (Trace::of(&parts.extensions), Patience::of(PATIENCE), Arc::new(place));
    let got = Got::Notification { headers: parts.headers, body: body.into() };
    let raw = Raw { sent: None, got, at: Timestamp::now() };
    let taken = notified::take(&gateway, &name, Heard { notification, raw }, with).await;
    count(if taken.is_ok() { "taken" } else { "not_taken" });
    if let Err(error) = &taken {
        tracing::info!(
            channel = name,
            error = chain(error),
            "a notification is not taken; a query will tell"
        );
    }
    answer(channel.client.receipt(taken.is_ok()))
}

fn answer(receipt: Receipt) -> Result<Response, Problem> {
    let response = Response::builder()
        .status(StatusCode::from_u16(receipt.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        .header(http::header::CONTENT_TYPE, receipt.content_type)
        .body(Body::from(receipt.body));
    response.map_err(|_| Problem::new(Code::Internal, "the receipt cannot be built"))
}
