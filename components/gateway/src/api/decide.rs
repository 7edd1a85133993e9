//! The admin API's part on decisions by two persons: one certificate proposes what became of
//! something that no machine ends, another one approves it.

mod written;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use uuid::Uuid;

use super::admin::subject;
use super::fields::Fields;
use super::open_items::after;
use super::parameters::no_more;
use super::path::Path;
use super::problem::{Code, Problem};
use super::read_body;
use crate::decide::{Proposal, Unfit};
use crate::gateway::Gateway;
use crate::state::decision::DecisionState;
use crate::store::decide::{Decision, Ended, Proposed, Verdict};

const PAGE: i64 = 100;

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/admin/v1/decisions", get(list).post(propose))
        .route("/admin/v1/decisions/{decision_id}", get(one))
        .route("/admin/v1/decisions/{decision_id}/approve", end(Verdict::Approve))
        .route("/admin/v1/decisions/{decision_id}/reject", end(Verdict::Reject))
        .route("/admin/v1/decisions/{decision_id}/withdraw", end(Verdict::Withdraw))
}

async fn propose(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Json<Value>, Problem> {
    let (parts, body) = read_body(request).await?;
    let (subject, proposal) = (subject(&parts)?, written::read(&body)?);
    let (kind, id) = (proposal.kind.as_str(), proposal.item_id);
    let conflict = |detail: String| Err(Problem::new(Code::StateConflict, detail));
    match gateway.store.propose(&proposal, subject).await? {
        Proposed::Stored(decision) => {
            let (decision_id, version) = (decision.decision_id, decision.version);
            tracing::info!(%decision_id, version, kind, %id, subject, "decision proposed");
            Ok(Json(view(&decision)))
        }
        Proposed::Unknown => Err(Problem::new(Code::NotFound, format!("{kind} {id}"))),
        Proposed::Ended => {
            conflict(format!("{kind} {id} has ended, or is not open: there is nothing to decide"))
        }
        Proposed::Unfit(why) => Err(unfit(why, &proposal)),
        Proposed::Taken(open) => {
            let (by, decision_id) = (&open.proposed_by, open.decision_id);
            conflict(format!(
                "decision {decision_id} of {by} is open about {kind} {id}: approve or reject it"
            ))
        }
    }
}

fn end(verdict: Verdict) -> MethodRouter<Arc<Gateway>> {
    post(move |State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, request: Request| async move {
        ended(&gateway, &id, verdict, request).await
    })
}

async fn ended(
    gateway: &Gateway,
    id: &str,
    verdict: Verdict,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let (parts, body) = read_body(request).await?;
    let (subject, id) = (subject(&parts)?, decision_id(id)?);
    // Who judges names what he has read; a maker knows his own.
    let version = match verdict {
        Verdict::Approve | Verdict::Reject => {
            let mut fields = Fields::parse(&body)?;
            let version = fields.version("version")?;
            fields.end()?;
            Some(version)
        }
        Verdict::Withdraw => None,
    };
    let conflict = |detail: String| Err(Problem::new(Code::StateConflict, detail));
    match gateway.store.end_decision((id, version), verdict, subject).await? {
        Ended::So(decision) => {
            tracing::info!(%id, ?verdict, subject, "decision ended");
            Ok(Json(view(&decision)))
        }
        Ended::Unknown => Err(missing()),
        Ended::Unfit(why, proposal) => Err(unfit(why, &proposal)),
        Ended::Otherwise(decision) => {
            let by = decision.ended_by.as_deref().unwrap_or_default();
            conflict(format!("decision {id} is {} by {by}", decision.status))
        }
        Ended::Changed(stored) => {
            conflict(format!("decision {id} has version {stored}: read it again, and name that one"))
        }
        Ended::WrongPerson(decision) => {
            let by = decision.proposed_by;
            let detail = match verdict {
                Verdict::Withdraw => format!("decision {id} is {by}'s to withdraw; reject it instead"),
                _ => format!("decision {id} was proposed by {by}; another certificate has to judge it"),
            };
            Err(Problem::new(Code::OwnProposal, detail))
        }
    }
}

fn unfit(why: Unfit, proposal: &Proposal) -> Problem {
    let item = format!("{} {}", proposal.kind.as_str(), proposal.item_id);
    let conflict = |detail: String| Problem::new(Code::StateConflict, detail);
    match why {
        Unfit::TooYoung => {
            conflict(format!("{item} is too young: its network may still answer; see the list of open items"))
        }
        Unfit::Unbooked => conflict(format!("the money of {item} is not booked yet: of a surplus, retry it")),
        Unfit::Kept => conflict(format!("{item} is open, and does not take this now: try it again")),
        Unfit::Time => {
            let detail = "must lie neither ahead of now nor more than 3 hours before the item's time";
            Problem::field("networkTime", detail)
        }
    }
}

async fn one(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let found = gateway.store.decision(decision_id(&id)?).await?;
    Ok(Json(view(&found.ok_or_else(missing)?)))
}

/// `?status=` and `?after=`, the decisionId of the last of the page before.
async fn list(
    State(gateway): State<Arc<Gateway>>,
    Query(mut asked): Query<BTreeMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let state = asked.remove("status").map(|text| DecisionState::parse(&text)).transpose();
    let state =
        state.map_err(|_| Problem::field("status", "must be a state of a decision, such as Proposed"))?;
    let after = after(&mut asked, "the decisionId of a decision")?;
    no_more(asked)?;
    let all = gateway.store.decisions(state, after, PAGE).await?;
    Ok(Json(json!({ "decisions": all.iter().map(view).collect::<Vec<_>>() })))
}

fn decision_id(text: &str) -> Result<Uuid, Problem> {
    Uuid::parse_str(text).map_err(|_| missing())
}

fn missing() -> Problem {
    Problem::new(Code::NotFound, "there is no such decision")
}

fn view(decision: &Decision) -> Value {
    let Proposal { kind, item_id, choice, receipt, reason, reference } = &decision.proposal;
    let (network_id, network_time) = receipt.clone().unzip();
    json!({
        "decisionId": decision.decision_id,
        "version": decision.version,
        "status": decision.status,
        "kind": kind,
        "itemId": item_id,
        "outcome": choice,
        "networkId": network_id,
        "networkTime": network_time,
        "reason": reason,
        "reference": reference,
        "proposedBy": decision.proposed_by,
        "proposedAt": decision.proposed_at,
        "endedBy": decision.ended_by,
        "endedAt": decision.ended_at,
    })
}
