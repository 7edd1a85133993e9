//! The admin API's list of what is open for persons, and what networks contradicted.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use uuid::Uuid;

use super::parameters::no_more;
use super::path::Path;
use super::problem::{Code, Problem};
use crate::decide::{Item, Kind};
use crate::gateway::Gateway;
use crate::store::StoreError;
use crate::store::contradictions::Contradiction;
use crate::store::open_items::Asked;

const PAGE: i64 = 100;
/// A month.
const OLDER_SECONDS_MAX: i64 = 2_678_400;

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/admin/v1/open-items", get(list))
        .route("/admin/v1/contradictions", get(contradictions))
        .route("/admin/v1/contradictions/{contradiction_id}", get(contradiction))
}

/// `?kind=`, `?olderThanSeconds=`, and `?after=`, the itemId of the last of the page before.
async fn list(
    State(gateway): State<Arc<Gateway>>,
    Query(mut asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let kind = asked.remove("kind").map(|text| kind(&text)).transpose()?;
    let older = asked.remove("olderThanSeconds").map(|text| {
        let seconds = text.parse::<i64>().ok().filter(|seconds| (0..=OLDER_SECONDS_MAX).contains(seconds));
        let detail = format!("must be a whole number of seconds from 0 to {OLDER_SECONDS_MAX}");
        seconds.ok_or_else(|| Problem::field("olderThanSeconds", detail))
    });
    let older_than_seconds = older.transpose()?;
    let after = after(&mut asked, "the itemId of an item")?;
    no_more(asked)?;
    let items = gateway.store.open_items(&Asked { kind, older_than_seconds, after }, PAGE).await?;
    Ok(Json(json!({ "items": items.iter().map(view).collect::<Vec<_>>() })))
}

pub(super) fn kind(text: &str) -> Result<Kind, Problem> {
    let names = || Kind::ALL.iter().map(|kind| kind.as_str()).collect::<Vec<_>>().join(", ");
    Kind::parse(text).ok_or_else(|| Problem::field("kind", format!("must be one of {}", names())))
}

/// Where a page begins.
pub(super) fn after(asked: &mut BTreeMap<String, String>, what: &str) -> Result<Uuid, Problem> {
    let after = asked.remove("after").map_or(Ok(Uuid::nil()), |text| Uuid::parse_str(&text));
    after.map_err(|_| Problem::field("after", format!("must be {what}")))
}

async fn contradictions(
    State(gateway): State<Arc<Gateway>>,
    Query(mut asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let after = after(&mut asked, "the contradictionId of a contradiction")?;
    no_more(asked)?;
    let all = gateway.store.contradictions(after, PAGE).await?;
    Ok(Json(json!({ "contradictions": all.iter().map(of_contradiction).collect::<Vec<_>>() })))
}

async fn contradiction(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let missing = || Problem::new(Code::NotFound, "there is no such contradiction");
    let found = gateway.store.contradiction(Uuid::parse_str(&id).map_err(|_| missing())?).await;
    match found {
        Ok(found) => Ok(Json(of_contradiction(&found))),
        Err(StoreError::Missing { .. }) => Err(missing()),
        Err(error) => Err(error.into()),
    }
}

fn view(item: &Item) -> Value {
    let decision = item.proposal.map(|(id, version)| json!({"decisionId": id, "version": version}));
    json!({
        "kind": item.kind,
        "itemId": item.item_id,
        "orderId": item.order_id,
        "channel": item.channel,
        "amountMinor": item.amount_minor,
        "currency": item.currency,
        "status": item.status,
        "since": item.since,
        "known": item.is_known,
        "decision": decision,
    })
}

fn of_contradiction(one: &Contradiction) -> Value {
    json!({
        "contradictionId": one.contradiction_id,
        "kind": one.kind,
        "itemId": one.item_id,
        "decisionId": one.decision_id,
        "stored": one.stored,
        "said": one.said,
        "saidAt": one.said_at,
        "networkId": one.network_id,
        "channel": one.channel,
        "amountMinor": one.amount_minor,
        "currency": one.currency,
        "status": one.status,
        "ledgerTransactionId": one.ledger_transaction_id,
        "createdAt": one.created_at,
    })
}
