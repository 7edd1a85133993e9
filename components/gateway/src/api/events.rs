//! The ordered stream of events: an app's own, and all of them for administrators. An event is
//! told as its notification is.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::app::reader_with;
use super::parameters::{Parameters, no_more};
use super::problem::Problem;
use crate::gateway::Gateway;
use crate::store::stream::Placed;
use crate::stream::Place;

pub(super) const PAGE: i64 = 100;
pub(super) const PAGE_MAX: i64 = 500;

pub(super) fn admin_router() -> Router<Arc<Gateway>> {
    Router::new().route("/admin/v1/events", get(all))
}

struct Asked {
    after: Place,
    limit: i64,
}

/// An app's own.
pub(super) async fn own(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (caller, parameters) = reader_with(&gateway, request).await?;
    page(&gateway, Some(caller.app()), parameters).await
}

async fn all(
    State(gateway): State<Arc<Gateway>>,
    Query(parameters): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    page(&gateway, None, parameters).await
}

async fn page(gateway: &Gateway, app: Option<&str>, parameters: Parameters) -> Result<Json<Value>, Problem> {
    let Asked { after, limit } = read(parameters)?;
    if after != Place::BEGIN && gateway.store.epoch_of(after.position).await? != Some(after.epoch) {
        let why = "is no place here: it is not `next` of a page, or an older database was brought back since. Begin \
            with the last of your places that is known here; events after it come again, known by their eventId";
        return Err(Problem::field("after", why));
    }
    let events = gateway.store.events(app, (after.position, limit)).await?;
    let next = events.last().map_or(after, |event| event.place);
    let is_full = i64::try_from(events.len()).is_ok_and(|count| count == limit);
    Ok(Json(json!({
        "events": events.iter().map(|event| view(event, app.is_none())).collect::<Vec<_>>(),
        "next": next.to_string(),
        "more": is_full,
    })))
}

fn read(mut parameters: Parameters) -> Result<Asked, Problem> {
    let after = parameters.remove("after").filter(|text| !text.is_empty());
    let after = after.map_or(Some(Place::BEGIN), |text| Place::parse(&text));
    let after = after.ok_or_else(|| Problem::field("after", "must be `next` of a page"))?;
    let limit = parameters.remove("limit").map_or(Some(PAGE), |text| text.parse().ok());
    let limit = limit.filter(|limit| (1..=PAGE_MAX).contains(limit));
    let limit = limit.ok_or_else(|| Problem::field("limit", format!("must be 1 to {PAGE_MAX}")))?;
    no_more(parameters)?;
    Ok(Asked { after, limit })
}

fn view(event: &Placed, with_app: bool) -> Value {
    let mut told = json!({
        "place": event.place.to_string(),
        "eventId": event.event_id,
        "kind": event.kind,
        "createdAt": event.created_at,
        "data": event.payload,
    });
    if with_app {
        told["appId"] = event.app_id.as_str().into();
    }
    told
}
