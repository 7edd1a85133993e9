//! The admin API's view of a payment: where it was sent, and why.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use uuid::Uuid;

use super::path::Path;
use super::problem::{Code, Problem};
use super::wire::Payment;
use crate::gateway::Gateway;
use crate::step_up::StepUp;

pub(super) fn router() -> Router<Arc<Gateway>> {
    Router::new().route("/admin/v1/payments/{order_id}", get(decisions))
}

async fn decisions(
    State(gateway): State<Arc<Gateway>>,
    Path(order_id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let id = Uuid::parse_str(&order_id).map_err(|error| Problem::field("orderId", error.to_string()))?;
    let Some(routing) = gateway.store.routing(id).await? else {
        return Err(Problem::new(Code::NotFound, format!("order {id}")));
    };
    let (order, attempts) = (gateway.store.order(id).await?, gateway.store.decided(id).await?);
    let risk = gateway.store.assessed(id).await?;
    let step_up = gateway.store.step_up(id).await?.map(proof);
    let payment = Payment::from(order);
    Ok(Json(json!({
        "payment": payment, "routing": routing, "attempts": attempts, "risk": risk, "stepUp": step_up,
    })))
}

/// How its payer was asked for his proof.
fn proof(row: StepUp) -> Value {
    json!({
        "status": row.status,
        "onError": row.on_error,
        "codesMade": row.sends,
        "wrongCodes": row.tries,
        "codeExpiresAt": row.code_expires_at,
        "why": row.why,
        "createdAt": row.created_at,
        "endedAt": row.ended_at,
    })
}
