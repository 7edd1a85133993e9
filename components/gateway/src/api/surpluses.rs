//! The admin API's part on surpluses: what there is, and another try of one that is held.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use uuid::Uuid;

use super::admin::subject;
use super::parameters::no_more;
use super::path::Path;
use super::problem::{Code, Problem};
use crate::gateway::Gateway;
use crate::state::SurplusState;
use crate::store::surpluses::Surplus;

const PAGE: i64 = 100;

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/admin/v1/surpluses", get(list))
        .route("/admin/v1/surpluses/{attempt_id}", get(one))
        .route("/admin/v1/surpluses/{attempt_id}/retry", post(retry))
}

/// `?status=` and `?after=`, the attempt's id of the last of the page before.
async fn list(
    State(gateway): State<Arc<Gateway>>,
    Query(mut asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let state = asked.remove("status").map(|text| SurplusState::parse(&text)).transpose();
    let state = state.map_err(|_| Problem::field("status", "must be a state of a surplus, such as Held"))?;
    let after = asked.remove("after").map_or(Ok(Uuid::nil()), |text| {
        Uuid::parse_str(&text).map_err(|_| Problem::field("after", "must be the attemptId of a surplus"))
    })?;
    no_more(asked)?;
    let all = gateway.store.surpluses(state, after, PAGE).await?;
    Ok(Json(json!({ "surpluses": all.iter().map(view).collect::<Vec<_>>() })))
}

async fn one(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let surplus = gateway.store.surplus(attempt_id(&id)?).await?;
    Ok(Json(view(&surplus.ok_or_else(|| missing(&id))?)))
}

async fn retry(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (parts, _) = request.into_parts();
    let (attempt_id, subject) = (attempt_id(&id)?, subject(&parts)?);
    match gateway.store.retry_surplus(attempt_id, subject).await? {
        Some(surplus) => {
            tracing::info!(%attempt_id, subject, "another try of a surplus asked for");
            Ok(Json(view(&surplus)))
        }
        None => one(State(gateway), Path(id)).await,
    }
}

fn attempt_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text).map_err(|_| missing(text))
}

fn missing(id: &str) -> Problem {
    Problem::new(Code::NotFound, format!("surplus {id}"))
}

fn view(surplus: &Surplus) -> Value {
    json!({
        "attemptId": surplus.attempt_id,
        "orderId": surplus.order_id,
        "channel": surplus.channel,
        "reason": surplus.reason,
        "amountMinor": surplus.amount_minor,
        "currency": surplus.currency,
        "status": surplus.status,
        "networkId": surplus.network_id,
        "networkTime": surplus.network_time,
        "refundId": surplus.refund_id,
        "heldBecause": surplus.held_because,
        "createdAt": surplus.created_at,
    })
}
