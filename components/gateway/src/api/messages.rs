//! The admin API's part on raw messages: what passed between us and a network about one thing.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use uuid::Uuid;

use super::admin;
use super::parameters::no_more;
use super::problem::Problem;
use crate::gateway::Gateway;
use crate::store::messages::Kept;

/// Each has two bodies of 16 KiB.
const PAGE: i64 = 50;

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new().route("/admin/v1/messages", get(list))
}

/// `?subject=`, and `?after=`, the messageId of the last of the page before.
async fn list(
    State(gateway): State<Arc<Gateway>>,
    Query(mut asked): Query<BTreeMap<String, String>>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (parts, _) = request.into_parts();
    let mut id = |name: &str| {
        let text = asked.remove(name);
        let id = text.map(|text| Uuid::parse_str(&text)).transpose();
        id.map_err(|_| Problem::field(name, "must be a UUID"))
    };
    let what = "is required: the id of an attempt, a refund, a payout or an agreement";
    let subject = id("subject")?.ok_or_else(|| Problem::field("subject", what))?;
    let after = id("after")?.unwrap_or_default();
    no_more(asked)?;
    // The audit notes changes; who reads is in the log.
    tracing::info!(%subject, by = admin::subject(&parts)?, "messages are read");
    let all = gateway.store.messages(subject, after, PAGE).await?;
    Ok(Json(json!({ "messages": all.iter().map(view).collect::<Vec<_>>() })))
}

fn view(message: &Kept) -> Value {
    json!({
        "messageId": message.message_id,
        "about": message.about,
        "channel": message.channel,
        "state": message.state,
        "target": message.target,
        "request": message.request,
        "requestDigest": message.request_digest.as_deref().map(hex::encode),
        "sentAt": message.sent_at,
        "httpStatus": message.http_status,
        "answerHeaders": message.headers,
        "answer": message.answer,
        "answerDigest": message.answer_digest.as_deref().map(hex::encode),
        "answeredAt": message.answered_at,
        "why": message.why,
    })
}
