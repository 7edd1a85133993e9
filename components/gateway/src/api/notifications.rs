//! The admin API's part on notifications: what apps were told, and telling them again.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use uuid::Uuid;

use super::admin;
use super::parameters::no_more;
use super::path::Path;
use super::problem::{Code, Problem};
use crate::gateway::Gateway;
use crate::state::DeliveryState;
use crate::store::history::{PastTry, Told};
use crate::store::registry::App;

const PAGE: i64 = 100;
/// The latest of an event.
const TRIES_MAX: i64 = 100;
const RESENT_MAX: i64 = 1_000;

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/admin/v1/apps/{app_id}/notifications", get(list))
        .route("/admin/v1/apps/{app_id}/notifications/resend-dead", post(resend_dead))
        .route("/admin/v1/notifications/{event_id}", get(one))
        .route("/admin/v1/notifications/{event_id}/resend", post(resend))
}

/// `?status=` and `?after=`, the id of the last event of the page before.
async fn list(
    State(gateway): State<Arc<Gateway>>,
    Path(app_id): Path<String>,
    Query(mut asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let state = asked.remove("status").map(|text| DeliveryState::parse(&text)).transpose();
    let state = state.map_err(|_| Problem::field("status", "must be Pending, Delivered or Dead"))?;
    let after = asked.remove("after").map_or(Ok(Uuid::nil()), |text| event_id("after", &text))?;
    no_more(asked)?;
    let app = admin::known_app(&gateway, app_id).await?;
    let told = gateway.store.told(&app.app_id, state, after, PAGE).await?;
    Ok(Json(json!({ "notifications": told.iter().map(view).collect::<Vec<_>>() })))
}

async fn one(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let found = gateway.store.told_event(event_id("eventId", &id)?, TRIES_MAX).await?;
    let (told, tries) = found.ok_or_else(|| Problem::new(Code::NotFound, format!("event {id}")))?;
    let mut answer = view(&told);
    answer["history"] = tries.iter().map(past).collect();
    Ok(Json(answer))
}

/// The oldest of the dead; how many that were is answered.
async fn resend_dead(
    State(gateway): State<Arc<Gateway>>,
    Path(app_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let App { app_id, endpoint, .. } = admin::known_app(&gateway, app_id).await?;
    if endpoint.is_none() {
        return Err(no_endpoint(&app_id));
    }
    let resent = gateway.store.tell_dead_again(&app_id, RESENT_MAX).await?;
    tracing::info!(app_id, resent, "dead notifications asked for again");
    Ok(Json(json!({ "resent": resent })))
}

fn no_endpoint(app_id: &str) -> Problem {
    let detail = format!("app {app_id} has no notification address; register it with one");
    Problem::new(Code::NoEndpoint, detail)
}

async fn resend(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let event_id = event_id("eventId", &id)?;
    let missing = || Problem::new(Code::NotFound, format!("event {id}"));
    let (told, _) = gateway.store.told_event(event_id, 0).await?.ok_or_else(missing)?;
    if !gateway.store.tell_again(event_id).await? {
        return Err(no_endpoint(&told.app_id));
    }
    tracing::info!(%event_id, "notification asked for again");
    one(State(gateway), Path(id)).await
}

fn event_id(field: &str, text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text).map_err(|_| Problem::field(field, "must be the eventId of a notification"))
}

fn view(told: &Told) -> Value {
    json!({
        "eventId": told.event_id,
        "appId": told.app_id,
        "kind": told.kind,
        "subjectId": told.subject_id,
        "createdAt": told.created_at,
        "status": told.status,
        "tries": told.tries,
        "nextTryAt": told.next_try_at,
        "endedAt": told.ended_at,
    })
}

fn past(tried: &PastTry) -> Value {
    json!({
        "number": tried.number,
        "sentAt": tried.sent_at,
        "tookMs": tried.took_ms,
        "answer": tried.answer,
        "failure": tried.failure,
    })
}
