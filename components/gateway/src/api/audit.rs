//! The admin API's part on who changed what in the registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::parameters::no_more;
use super::problem::Problem;
use crate::gateway::Gateway;
use crate::store::audit::Noted;

const PAGE: i64 = 100;

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new().route("/admin/v1/audit", get(list))
}

/// `?after=`, the number of the last change of the page before.
async fn list(
    State(gateway): State<Arc<Gateway>>,
    Query(mut asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let after = asked.remove("after").map_or(Ok(0), |text| text.parse::<i64>());
    let after = after.map_err(|_| Problem::field("after", "must be the number of a change"))?;
    no_more(asked)?;
    let noted = gateway.store.audit(after, PAGE).await?;
    Ok(Json(json!({ "changes": noted.iter().map(view).collect::<Vec<_>>() })))
}

fn view(noted: &Noted) -> Value {
    json!({
        "number": noted.number,
        "happenedAt": noted.happened_at,
        "subject": noted.subject,
        "action": noted.action,
        "kind": noted.kind,
        "objectId": noted.object_id,
        "before": noted.before,
        "after": noted.after,
    })
}
