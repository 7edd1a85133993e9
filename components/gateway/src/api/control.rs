//! The control API: what the operator asks. Only the certificate `operator` may
//! call it. Messages are in `payplane_api::control`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn;
use axum::routing::{get, post};
use jiff::Timestamp;
use payplane_api::control::{OpenPayments, PodStatus, ProbeRequest, RoundTrip};
use payplane_api::names::CN_OPERATOR;
use payplane_common::trace::Trace;
use serde_json::{Value, json};

use super::admin::only;
use super::path::Path;
use super::problem::{Code, Problem};
use super::read_body;
use crate::books::postings;
use crate::gateway::Gateway;

const FINGERPRINT_MAX: usize = 96;
/// The operator waits 5 s for the whole trip.
const PART_MAX: Duration = Duration::from_secs(2);

pub fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/control/v1/status", get(status))
        .route("/control/v1/roundtrip", get(roundtrip))
        .route("/control/v1/probe", post(probe))
        .route("/control/v1/channels/{name}/open", get(open_payments))
        .layer(from_fn(|request, next| only(&[CN_OPERATOR], request, next)))
        .with_state(gateway)
}

/// The admin port: admin and control API, each for its own certificate.
pub fn admin_port(gateway: &Arc<Gateway>) -> Router {
    let both = super::admin::router(gateway.clone()).merge(router(gateway.clone()));
    both.fallback(super::not_found).method_not_allowed_fallback(super::not_found)
}

async fn status(State(gateway): State<Arc<Gateway>>) -> Json<PodStatus> {
    let settings = gateway.settings();
    Json(PodStatus {
        config_hash: settings.hash.clone(),
        config_epoch: settings.value.epoch,
        config_error: gateway.settings.refused(),
    })
}

async fn roundtrip(State(gateway): State<Arc<Gateway>>) -> Result<Json<RoundTrip>, Problem> {
    // Each part has its own time, so that a silent one is named.
    let writable = tokio::time::timeout(PART_MAX, gateway.store.is_writable()).await;
    let Ok(Ok(writable)) = writable else {
        return Err(Problem::new(Code::DatabaseUnreachable, "the database does not answer the gateway"));
    };
    let read_only = || Problem::new(Code::DatabaseReadOnly, "the database takes no writes");
    if !writable {
        return Err(read_only());
    }
    let ledger = tokio::time::timeout(PART_MAX, gateway.books.status(Trace::new())).await;
    let ledger =
        ledger.map_err(|_| Problem::new(Code::Overloaded, "the ledger did not answer in time"))??;
    if !ledger.primary_writable {
        return Err(read_only());
    }
    Ok(Json(RoundTrip {
        books_id: ledger.books_id,
        synchronous_required: ledger.synchronous_required,
        synchronous_standbys: ledger.synchronous_standbys,
        timeline: ledger.timeline,
        schema_version: ledger.schema_version,
        config_epoch_min: ledger.config_epoch_min,
    }))
}

/// Books and reverses 1 XTS. The same fingerprint books once, whichever replica
/// is asked, and however often.
async fn probe(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Json<Value>, Problem> {
    let (parts, body) = read_body(request).await?;
    let trace = Trace::of(&parts.extensions);
    let read: Result<ProbeRequest, _> = serde_json::from_slice(&body);
    let fingerprint = read.map_err(|e| Problem::field("fingerprint", e.to_string()))?.fingerprint;
    payplane_api::id::check("fingerprint", &fingerprint, FINGERPRINT_MAX)
        .map_err(|e| Problem::field("fingerprint", e.to_string()))?;
    let settings = gateway.settings();
    let today = settings.value.calendar.date(Timestamp::now());
    let (key_date, at) = gateway.store.probe(&fingerprint, today).await?;
    gateway.books.open(postings::probe_accounts(), trace).await?;
    let [there, back] = postings::probe(&fingerprint, key_date, at, settings.value.epoch);
    let transaction_id = gateway.books.post(&there, trace).await?;
    let reversal_id = gateway.books.post(&back, trace).await?;
    Ok(Json(json!({ "transactionId": transaction_id, "reversalId": reversal_id })))
}

async fn open_payments(
    State(gateway): State<Arc<Gateway>>,
    Path(name): Path<String>,
) -> Result<Json<OpenPayments>, Problem> {
    payplane_api::id::check("channel name", &name, 63).map_err(|e| Problem::field("name", e.to_string()))?;
    let (pending, unknown) = gateway.store.count_open(&name).await?;
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    Ok(Json(OpenPayments { pending: count(pending), unknown: count(unknown) }))
}
