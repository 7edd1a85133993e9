//! Payouts in the app API, and what the admin API tells of one. Whose account it is, no
//! answer tells.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use jiff::civil::Date;
use payplane_api::id::{MerchantId, PayoutNumber};
use payplane_api::money::Money;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::app::{created, reader, refused_by_books};
use super::fields::{self, Fields};
use super::id_of;
use super::parameters::no_more;
use super::path::Path;
use super::problem::{Code, Problem};
use super::signed::verified;
use super::wire::{TEXT_CHARS_MAX, hash, shown};
use crate::gateway::Gateway;
use crate::payee::Payee;
use crate::state::OrderState;
use crate::store::payouts::Payout;

pub(super) const PAYEE_LENGTH_MAX: usize = 128;
pub(super) const NAME_CHARS_MAX: usize = 128;
pub(super) const PAYEE: [&str; 2] = ["payeeAccount", "payeeName"];

/// A payout as an app asks for it. It has no Debug.
#[derive(Clone)]
pub struct PayoutRequest {
    pub order_date: Date,
    pub payout_number: PayoutNumber,
    pub merchant_id: MerchantId,
    pub amount: Money,
    pub payee: Payee,
    pub description: Option<String>,
}

impl PayoutRequest {
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let request = Self {
            order_date: fields.date("orderDate")?,
            payout_number: fields.id("payoutNumber")?,
            merchant_id: fields.id("merchantId")?,
            amount: fields.money("amountMinor", "currency")?,
            payee: payee(&mut fields)?,
            description: fields.optional_free_text("description", TEXT_CHARS_MAX)?,
        };
        fields.end()?;
        Ok(request)
    }

    /// Tells requests apart by what they ask for, not by how it was written.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        hash(&[
            "payout",
            &self.order_date.to_string(),
            self.payout_number.as_str(),
            self.merchant_id.as_str(),
            &self.amount.minor().to_string(),
            self.amount.currency().as_str(),
            &self.payee.account,
            &self.payee.name,
            if self.description.is_some() { "1" } else { "0" },
            self.description.as_deref().unwrap_or_default(),
        ])
    }
}

pub(super) fn payee(fields: &mut Fields) -> Result<Payee, Problem> {
    let payee = Payee { account: fields.text(PAYEE[0])?, name: fields.free_text(PAYEE[1], NAME_CHARS_MAX)? };
    check_account(PAYEE[0], &payee.account)?;
    Ok(payee)
}

/// Checks the number of an account.
pub(super) fn check_account(field: &str, account: &str) -> Result<(), Problem> {
    let plain = account.bytes().all(|byte| byte.is_ascii_graphic());
    if !plain || !(1..=PAYEE_LENGTH_MAX).contains(&account.len()) {
        let why = format!("must be 1 to {PAYEE_LENGTH_MAX} printable ASCII characters without spaces");
        return Err(Problem::field(field, why));
    }
    Ok(())
}

/// A payout as the app sees it. Its inner states show as Processing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PayoutView {
    payout_id: Uuid,
    order_date: Date,
    payout_number: String,
    merchant_id: String,
    amount_minor: i64,
    currency: String,
    status: OrderState,
    channel: String,
    /// Its end alone.
    payee_account: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger_transaction_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_code: Option<String>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<Timestamp>,
}

impl From<Payout> for PayoutView {
    fn from(payout: Payout) -> Self {
        let status = shown(payout.status);
        Self {
            payout_id: payout.payout_id,
            order_date: payout.order_date,
            payout_number: payout.payout_number,
            merchant_id: payout.merchant_id,
            amount_minor: payout.amount_minor,
            currency: payout.currency,
            status,
            channel: payout.channel,
            payee_account: payout.payee_masked,
            ledger_transaction_id: payout.ledger_transaction_id,
            failure_code: payout.failure_code.filter(|_| status == OrderState::Failed),
            created_at: payout.created_at,
            completed_at: payout.completed_at,
        }
    }
}

pub(super) async fn pay_out(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, content) = verified(&gateway, request).await?;
    no_more(content.parameters)?;
    let request = PayoutRequest::parse(&content.body)?;
    content.idempotency.names(&format!("{}/{}", request.order_date, request.payout_number))?;
    let paid = crate::payout::pay_out(&gateway, &caller, request).await?;
    refused_by_books("payout", paid.payout.status, paid.payout.failure_code.as_deref())?;
    Ok((created(paid.is_new), Json(PayoutView::from(paid.payout))).into_response())
}

pub(super) async fn query(
    State(gateway): State<Arc<Gateway>>,
    Path((date, number)): Path<(String, String)>,
    request: Request,
) -> Result<Json<PayoutView>, Problem> {
    let caller = reader(&gateway, request).await?;
    let (date, number): (_, PayoutNumber) = (fields::date("orderDate", &date)?, id_of(number)?);
    let find = || gateway.store.find_payout(caller.app(), date, number.as_str());
    let payout = caller.patience.keep(find).await?;
    Ok(Json(payout.ok_or_else(|| Problem::new(Code::NotFound, "this app has no such payout"))?.into()))
}

pub(super) fn admin_router() -> Router<Arc<Gateway>> {
    Router::new().route("/admin/v1/payouts/{payout_id}", get(one))
}

async fn one(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let missing = || Problem::new(Code::NotFound, format!("payout {id}"));
    let payout_id = Uuid::parse_str(&id).map_err(|_| missing())?;
    let payout = gateway.store.known_payout(payout_id).await?.ok_or_else(missing)?;
    Ok(Json(json!({
        "appId": payout.app_id,
        "state": payout.status,
        "networkId": payout.network_id,
        "signedAt": payout.signed_at,
        "payout": PayoutView::from(payout),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"orderDate":"2026-11-24","payoutNumber":"p1","merchantId":"M1","amountMinor":100,
        "currency":"CNY","payeeAccount":"6228","payeeName":"Shop","description":"November"}"#;

    fn parse(body: &str) -> Result<PayoutRequest, Problem> {
        PayoutRequest::parse(body.as_bytes())
    }

    #[test]
    fn the_field_that_is_wrong_is_named() {
        assert!(parse(BODY).is_ok());
        let long = "9".repeat(129);
        for (from, to, field) in [
            ("\"6228\"", "\"62 28\"", "payeeAccount"),
            ("\"6228\"", "\"\"", "payeeAccount"),
            ("6228", &long, "payeeAccount"),
            ("\"6228\"", "6228", "payeeAccount"),
            ("\"Shop\"", "\"\"", "payeeName"),
            ("Shop", "Sh\\nop", "payeeName"),
            (":100,", ":0,", "amountMinor"),
            ("\"p1\"", "\"p 1\"", "payoutNumber"),
            ("\"payeeName\":\"Shop\",", "", "payeeName"),
            ("{", "{\"method\":\"card\",", "method"),
        ] {
            let bad = BODY.replacen(from, to, 1);
            assert_eq!(parse(&bad).err().and_then(|problem| problem.field).as_deref(), Some(field), "{bad}");
        }
    }

    #[test]
    fn every_field_makes_another_request() {
        let first = parse(BODY).ok().map(|request| request.hash());
        for (from, to) in [
            ("11-24", "11-25"),
            ("p1", "p2"),
            ("M1", "M2"),
            (":100,", ":101,"),
            ("CNY", "USD"),
            ("6228", "6229"),
            ("Shop", "Shops"),
            ("November", "December"),
            (",\"description\":\"November\"", ""),
        ] {
            let other = parse(&BODY.replacen(from, to, 1)).ok().map(|request| request.hash());
            assert!(other.is_some() && other != first, "{to}");
        }
        let moved = BODY.replacen("6228", "6228S", 1).replacen("\"Shop\"", "\"hop\"", 1);
        assert_ne!(parse(&moved).ok().map(|request| request.hash()), first, "where a field ends");
    }
}
