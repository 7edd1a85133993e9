//! The admin API's part on what a merchant pays and may take: one certificate proposes a
//! version, another one approves it.

mod written;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Json, Router};
use payplane_api::id::MerchantId;
use serde_json::{Value, json};

use super::admin::{Subject, subject};
use super::parameters::no_more;
use super::path::Path;
use super::problem::{Code, Problem};
use super::{id_of, read_body};
use crate::gateway::Gateway;
use crate::state::decision::DecisionState;
use crate::store;
use crate::store::decide::Verdict;
use crate::store::terms::{Judged, Proposed, Version};

const PAGE: i64 = 100;

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/admin/v1/merchants/{merchant_id}/terms", get(list).post(propose))
        .route("/admin/v1/merchants/{merchant_id}/terms/{version}/approve", judge(Verdict::Approve))
        .route("/admin/v1/merchants/{merchant_id}/terms/{version}/reject", judge(Verdict::Reject))
        .route("/admin/v1/merchants/{merchant_id}/terms/{version}/withdraw", judge(Verdict::Withdraw))
}

async fn propose(
    State(gateway): State<Arc<Gateway>>,
    Path(merchant_id): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (parts, body) = read_body(request).await?;
    let (subject, merchant) = (subject(&parts)?, id_of::<MerchantId>(merchant_id)?);
    let settings = gateway.settings();
    let today = settings.value.calendar.date(store::now());
    let has_method =
        |name: &str| settings.value.channels.iter().any(|channel| channel.method(name).is_some());
    let (since, terms) = written::read(&body, (&settings.value.currencies, has_method), today)?;
    let merchant = merchant.as_str();
    match gateway.store.propose_terms((merchant, since), &terms, subject).await? {
        Proposed::Stored(version) => {
            tracing::info!(merchant, version = version.version, subject, "terms proposed");
            Ok(Json(view(merchant, &version)))
        }
        Proposed::NoMerchant => {
            Err(Problem::new(Code::NotFound, format!("merchant {merchant}, or it is closed")))
        }
        Proposed::Taken(Version { version, proposed_by, .. }) => {
            let detail = format!(
                "version {version} of {proposed_by} waits: approve or reject it, or its maker withdraws it"
            );
            Err(Problem::new(Code::StateConflict, detail))
        }
    }
}

fn judge(verdict: Verdict) -> MethodRouter<Arc<Gateway>> {
    post(
        move |State(gateway): State<Arc<Gateway>>,
              Extension(subject): Extension<Subject>,
              Path((merchant, version)): Path<(String, String)>| async move {
            judged(&gateway, (merchant, version), verdict, &subject).await
        },
    )
}

async fn judged(
    gateway: &Gateway,
    (merchant, version): (String, String),
    verdict: Verdict,
    Subject(subject): &Subject,
) -> Result<Json<Value>, Problem> {
    let merchant = id_of::<MerchantId>(merchant)?;
    let merchant = merchant.as_str();
    let missing =
        || Problem::new(Code::NotFound, format!("merchant {merchant} has no such version of terms"));
    let number: i32 = version.parse().map_err(|_| missing())?;
    let today = gateway.settings().value.calendar.date(store::now());
    match gateway.store.judge_terms((merchant, number), (verdict, today), subject).await? {
        Judged::So(version) => {
            tracing::info!(merchant, number, ?verdict, subject, "terms judged");
            Ok(Json(view(merchant, &version)))
        }
        Judged::Unknown => Err(missing()),
        Judged::TooLate(version) => {
            let since = version.since;
            let detail = format!("their day, {since}, has come: reject them, and propose them from today on");
            Err(Problem::new(Code::StateConflict, detail))
        }
        Judged::Not(version) if version.status == DecisionState::Proposed => {
            let by = version.proposed_by;
            let detail = match verdict {
                Verdict::Withdraw => format!("they are {by}'s to withdraw; reject them instead"),
                _ => format!("they were proposed by {by}; another certificate has to judge them"),
            };
            Err(Problem::new(Code::OwnProposal, detail))
        }
        Judged::Not(version) => {
            let by = version.ended_by.unwrap_or_default();
            let detail = format!("version {number} is {} by {by}", version.status);
            Err(Problem::new(Code::StateConflict, detail))
        }
    }
}

/// `?after=`, the last version of the page before.
async fn list(
    State(gateway): State<Arc<Gateway>>,
    Path(merchant_id): Path<String>,
    Query(mut asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let merchant = id_of::<MerchantId>(merchant_id)?;
    let after = asked.remove("after").map_or(Ok(0), |text| text.parse::<i32>());
    let after = after.map_err(|_| Problem::field("after", "must be the number of a version"))?;
    no_more(asked)?;
    let merchant = merchant.as_str();
    let versions = gateway.store.terms(merchant, after, PAGE).await?;
    if versions.is_empty() && gateway.store.merchant(merchant).await?.is_none() {
        return Err(Problem::new(Code::NotFound, format!("merchant {merchant}")));
    }
    let versions: Vec<_> = versions.iter().map(|version| view(merchant, version)).collect();
    Ok(Json(json!({ "terms": versions })))
}

fn view(merchant: &str, version: &Version) -> Value {
    json!({
        "merchantId": merchant,
        "version": version.version,
        "since": version.since,
        "fees": version.terms.fees,
        "limits": version.terms.limits,
        "status": version.status,
        "proposedBy": version.proposed_by,
        "proposedAt": version.proposed_at,
        "endedBy": version.ended_by,
        "endedAt": version.ended_at,
    })
}
