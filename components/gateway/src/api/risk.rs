//! The admin API's part on risk: the lists of those from whom no payment is taken. What is
//! listed is kept as a keyed hash, so nobody can read it here again, only find and remove it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::routing::{delete, get};
use axum::{Extension, Json, Router};
use payplane_api::config::RiskSubject;
use payplane_api::id::{MerchantId, TerminalId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::admin::{Subject, subject};
use super::fields::Fields;
use super::parameters::no_more;
use super::path::Path;
use super::problem::{Code, Problem};
use super::read_body;
use super::wire::{NAME_LENGTH_MAX, TEXT_CHARS_MAX, is_name};
use crate::gateway::Gateway;
use crate::risk::{LISTED, listed_as};
use crate::store::risk_lists::{ENTRIES_MAX, Entry, NewEntry};

const PAGE: i64 = 100;
const LIST_LENGTH_MAX: usize = 32;

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/admin/v1/risk/lists/{list}/entries", get(entries).post(add))
        .route("/admin/v1/risk/lists/{list}/entries/{entry_id}", delete(remove))
}

/// A list's name, as policies name it.
fn list_of(text: String) -> Result<String, Problem> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(plain);
    if good && text.len() <= LIST_LENGTH_MAX {
        return Ok(text);
    }
    let detail = format!("must be 1 to {LIST_LENGTH_MAX} of a-z, 0-9 and -, starting with a letter");
    Err(Problem::field("list", detail))
}

async fn add(
    State(gateway): State<Arc<Gateway>>,
    Path(list): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let list = list_of(list)?;
    let (parts, body) = read_body(request).await?;
    let mut fields = Fields::parse(&body)?;
    let kind = fields.text("kind")?;
    let kind = LISTED.into_iter().find(|known| known.as_str() == kind);
    let kind = kind.ok_or_else(|| Problem::field("kind", "must be Payer, Device, Merchant or Terminal"))?;
    let value = fields.text("value")?;
    let good = match kind {
        RiskSubject::Payer | RiskSubject::Device => is_name(&value),
        RiskSubject::Merchant => MerchantId::try_from(value.clone()).is_ok(),
        RiskSubject::Terminal => TerminalId::try_from(value.clone()).is_ok(),
    };
    if !good {
        let what = kind.as_str().to_lowercase();
        let detail =
            format!("is no {what}'s id as payments have it (1 to {NAME_LENGTH_MAX} characters at most)");
        return Err(Problem::field("value", detail));
    }
    let note = fields.optional_free_text("note", TEXT_CHARS_MAX)?;
    fields.end()?;
    let hashes = listed_as(&gateway.data_keys, kind, &value);
    let new = NewEntry { list, kind: kind.as_str(), hashes, note };
    let subject = subject(&parts)?;
    let Some(entry_id) = gateway.store.add_entry(&new, subject).await? else {
        let detail = format!("list {} has {ENTRIES_MAX} entries, the most there are: remove some", new.list);
        return Err(Problem::new(Code::StateConflict, detail));
    };
    tracing::info!(list = new.list, %entry_id, subject, "risk list entry is there");
    Ok(Json(json!({"entryId": entry_id, "list": new.list, "kind": new.kind})))
}

async fn remove(
    State(gateway): State<Arc<Gateway>>,
    Extension(Subject(subject)): Extension<Subject>,
    Path((list, entry_id)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let list = list_of(list)?;
    // What cannot be an id is nobody's.
    let entry_id =
        Uuid::parse_str(&entry_id).map_err(|_| Problem::new(Code::NotFound, "nothing has such an id"))?;
    gateway.store.remove_entry(&list, entry_id, &subject).await?;
    tracing::info!(list, %entry_id, subject, "risk list entry is gone");
    Ok(Json(json!({"entryId": entry_id, "list": list})))
}

/// `?after=`, the last entry of the page before.
async fn entries(
    State(gateway): State<Arc<Gateway>>,
    Path(list): Path<String>,
    Query(mut asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let list = list_of(list)?;
    let after = asked.remove("after").map_or(Ok(Uuid::nil()), |text| Uuid::parse_str(&text));
    let after = after.map_err(|_| Problem::field("after", "must be the entryId of an entry"))?;
    no_more(asked)?;
    let entries = gateway.store.entries(&list, after, PAGE).await?;
    Ok(Json(json!({ "entries": entries.iter().map(view).collect::<Vec<_>>() })))
}

fn view(entry: &Entry) -> Value {
    json!({
        "entryId": entry.entry_id,
        "kind": entry.kind,
        "note": entry.note,
        "createdAt": entry.created_at,
    })
}
