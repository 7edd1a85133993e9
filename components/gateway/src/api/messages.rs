//! The admin API's part on raw messages: what passed between us and a network about one thing,
//! and whether a network's own copy is what passed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use uuid::Uuid;

use super::admin;
use super::parameters::no_more;
use super::path::Path;
use super::problem::{Code, Problem};
use super::read_body;
use crate::gateway::Gateway;
use crate::store::messages::Kept;

/// Each has two bodies of 16 KiB.
const PAGE: i64 = 50;

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/admin/v1/messages", get(list))
        .route("/admin/v1/messages/{subject}/{message_id}/compare", post(compare))
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

/// The body is a network's copy, byte by byte: is it what we sent, or what we got?
async fn compare(
    State(gateway): State<Arc<Gateway>>,
    Path((subject, message_id)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (parts, copy) = read_body(request).await?;
    let missing = || Problem::new(Code::NotFound, format!("message {message_id} about {subject}"));
    let ids = Uuid::parse_str(&subject).ok().zip(Uuid::parse_str(&message_id).ok());
    let (subject_id, id) = ids.ok_or_else(missing)?;
    let before = Uuid::from_u128(id.as_u128().saturating_sub(1));
    let found = gateway.store.messages(subject_id, before, 1).await?.pop();
    let message = found.filter(|message| message.message_id == id).ok_or_else(missing)?;
    let is_it = |digest: &Option<Vec<u8>>| {
        digest.as_deref().is_some_and(|digest| gateway.data_keys.is_digest_of(&copy, digest))
    };
    let by = admin::subject(&parts)?;
    tracing::info!(subject = %subject_id, message_id = %id, by, "a copy is compared with a message");
    Ok(Json(json!({"request": is_it(&message.request_digest), "answer": is_it(&message.answer_digest)})))
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
