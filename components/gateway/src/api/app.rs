//! The app API: pay, query, close, confirm, refund, pay out, sign. Every request is signed.

use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use payplane_api::id::{OrderNumber, RefundNumber};

use super::accounts;
use super::agreements;
use super::events;
use super::fields;
use super::id_of;
use super::idempotency::Key;
use super::networks;
use super::openapi;
use super::parameters::{Parameters, no_more};
use super::path::Path;
use super::payouts;
use super::problem::{Code, Problem};
use super::signed::{IsBounded, verified};
use super::wallets;
use super::wire::{PayRequest, Payment, RefundRequest, RefundView};
use crate::gateway::{Caller, Gateway};
use crate::metrics::{Call, InFlight};
use crate::pay::nonce_used;
use crate::state::OutgoingState;
use crate::store::orders::Order;

pub fn router(gateway: Arc<Gateway>) -> Router {
    let order = "/v1/payments/{order_date}/{order_number}";
    let agreement = "/v1/agreements/{agreement_date}/{agreement_number}";
    Router::new()
        .route("/v1/payments", post(pay))
        .route(order, get(query))
        .route(&format!("{order}/close"), post(close))
        .route(&format!("{order}/confirm"), post(confirm))
        .route(&format!("{order}/refunds"), post(refund))
        .route(&format!("{order}/refunds/{{refund_number}}"), get(query_refund))
        .route("/v1/merchants/{merchant_id}/balance", get(accounts::balance))
        .route("/v1/merchants/{merchant_id}/statement", get(accounts::statement))
        .route("/v1/wallets/{customer}/balance", get(wallets::balance))
        .route("/v1/payouts", post(payouts::pay_out))
        .route("/v1/payouts/{order_date}/{payout_number}", get(payouts::query))
        .route("/v1/agreements", post(agreements::sign))
        .route(agreement, get(agreements::query))
        .route(&format!("{agreement}/confirm"), post(agreements::confirm))
        .route(&format!("{agreement}/end"), post(agreements::end))
        .route("/v1/events", get(events::own))
        .route("/v1/openapi.json", get(openapi::answer))
        .fallback(super::not_found)
        .method_not_allowed_fallback(super::not_allowed)
        .layer(from_fn_with_state(gateway.clone(), admit))
        .with_state(gateway.clone())
        .merge(networks::router(gateway))
}

/// Every request passes here: it gets a place, or is told at once to come back;
/// it is counted.
async fn admit(State(gateway): State<Arc<Gateway>>, mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let operation = match (request.method().as_str(), path.as_deref()) {
        ("POST", Some("/v1/payments")) => "pay",
        ("POST", Some("/v1/payouts")) => "payout",
        ("POST", Some("/v1/agreements")) => "sign",
        ("POST", Some(path)) if path.ends_with("/close") => "close",
        ("POST", Some(path)) if path.ends_with("/confirm") => "confirm",
        ("POST", Some(path)) if path.ends_with("/end") => "end",
        ("POST", Some(_)) => "refund",
        ("GET", Some(path)) if path.ends_with("{refund_number}") => "query_refund",
        ("GET", Some(path)) if path.ends_with("{payout_number}") => "query_payout",
        ("GET", Some(path)) if path.ends_with("{agreement_number}") => "query_agreement",
        ("GET", Some("/v1/openapi.json")) => "openapi",
        ("GET", Some("/v1/events")) => "events",
        ("GET", Some(path)) if path.ends_with("/balance") => "balance",
        ("GET", Some(path)) if path.ends_with("/statement") => "statement",
        ("GET", Some(_)) => "query",
        _ => "other",
    };
    tracing::Span::current().record("operation", operation);
    let response = match gateway.places.clone().try_acquire_owned() {
        Ok(place) => {
            // Also when the caller hangs up, it is not in flight any more.
            let _in_flight = InFlight::of(&gateway.metrics.in_flight);
            request.extensions_mut().insert(Arc::new(place));
            request.extensions_mut().insert(IsBounded(gateway.shares.bounds_one_more(began)));
            next.run(request).await
        }
        Err(_) => Problem::overloaded("this replica has its hands full").into_response(),
    };
    let call = Call { operation, status: response.status().as_u16() };
    gateway.metrics.requests.get_or_create(&call).inc();
    gateway.metrics.request_seconds.observe(began.elapsed().as_secs_f64());
    response
}

async fn pay(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Response, Problem> {
    let (caller, content) = verified(&gateway, request).await?;
    no_more(content.parameters)?;
    let request = PayRequest::parse(&content.body)?;
    content.idempotency.names(&format!("{}/{}", request.order_date, request.order_number))?;
    let paid = crate::pay::pay(&gateway, &caller, request).await?;
    Ok((created(paid.is_new), Json(Payment::from(paid.order))).into_response())
}

async fn query(
    State(gateway): State<Arc<Gateway>>,
    Path((date, number)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Payment>, Problem> {
    let caller = reader(&gateway, request).await?;
    Ok(Json(order(&gateway, &caller, &date, &number).await?.into()))
}

async fn close(
    State(gateway): State<Arc<Gateway>>,
    Path((date, number)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Payment>, Problem> {
    // To close twice is to close: its nonce is guarded as a query's.
    let idempotency = Key::of(request.headers());
    let caller = reader(&gateway, request).await?;
    idempotency.names(&format!("{date}/{number}"))?;
    let order = order(&gateway, &caller, &date, &number).await?;
    Ok(Json(crate::close::close(&gateway, &caller, order).await?.into()))
}

async fn confirm(
    State(gateway): State<Arc<Gateway>>,
    Path((date, number)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Payment>, Problem> {
    let (caller, code) = agreements::code_of(&gateway, request, &format!("{date}/{number}")).await?;
    let order = order(&gateway, &caller, &date, &number).await?;
    let Some(code) = code else { return Ok(Json(order.into())) };
    Ok(Json(crate::confirm::confirm(&gateway, &caller, order, code).await?.into()))
}

async fn refund(
    State(gateway): State<Arc<Gateway>>,
    Path((date, number)): Path<(String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (caller, content) = verified(&gateway, request).await?;
    no_more(content.parameters)?;
    let request = RefundRequest::parse(&content.body)?;
    content.idempotency.names(&format!("{date}/{number}/{}", request.refund_number))?;
    let order = order(&gateway, &caller, &date, &number).await?;
    let currency = order.currency.clone();
    let refunded = crate::refund::refund(&gateway, &caller, order, &request).await?;
    refused_by_books("refund", refunded.refund.status, refunded.refund.failure_code.as_deref())?;
    let view = RefundView::new(refunded.refund, &currency);
    Ok((created(refunded.is_new), Json(view)).into_response())
}

async fn query_refund(
    State(gateway): State<Arc<Gateway>>,
    Path((date, number, refund_number)): Path<(String, String, String)>,
    request: Request,
) -> Result<Json<RefundView>, Problem> {
    let caller = reader(&gateway, request).await?;
    let order = order(&gateway, &caller, &date, &number).await?;
    let number: RefundNumber = id_of(refund_number)?;
    let refund = caller.patience.keep(|| gateway.store.find_refund(&order, number.as_str())).await?;
    let refund = refund.ok_or_else(|| Problem::new(Code::NotFound, "this order has no such refund"))?;
    Ok(Json(RefundView::new(refund, &order.currency)))
}

/// Verifies a request that stores nothing of its own. It has no body, and no parameters.
pub(super) async fn reader(gateway: &Gateway, request: Request) -> Result<Caller, Problem> {
    let (caller, parameters) = reader_with(gateway, request).await?;
    no_more(parameters)?;
    Ok(caller)
}

/// The same of one that may have parameters.
pub(super) async fn reader_with(
    gateway: &Gateway,
    request: Request,
) -> Result<(Caller, Parameters), Problem> {
    let (caller, content) = verified(gateway, request).await?;
    if !content.body.is_empty() {
        return Err(Problem::new(Code::InvalidField, "this request has no body"));
    }
    if !caller.patience.keep(|| gateway.store.guard_read(&caller.nonce)).await? {
        return Err(nonce_used());
    }
    Ok((caller, content.parameters))
}

/// The caller's own order. Another app's does not exist for it.
async fn order(gateway: &Gateway, caller: &Caller, date: &str, number: &str) -> Result<Order, Problem> {
    let date = fields::date("orderDate", date)?;
    let number: OrderNumber = id_of(number.to_owned())?;
    let find = || gateway.store.find_order(caller.app(), date, number.as_str());
    let order = caller.patience.keep(find).await?;
    order.ok_or_else(|| Problem::new(Code::NotFound, "this app has no such order"))
}

/// What the books refused is refused again whenever it is repeated.
pub(super) fn refused_by_books(
    what: &str,
    status: OutgoingState,
    failure_code: Option<&str>,
) -> Result<(), Problem> {
    if status != OutgoingState::Failed {
        return Ok(());
    }
    let code = match failure_code {
        Some("InsufficientBalance") => Code::InsufficientBalance,
        Some("RefundExceedsPayment") => Code::RefundExceedsPayment,
        _ => return Ok(()),
    };
    Err(Problem::new(code, format!("the books refused the {what}; this {what} number is used up")))
}

pub(super) fn created(is_new: bool) -> StatusCode {
    if is_new { StatusCode::CREATED } else { StatusCode::OK }
}
