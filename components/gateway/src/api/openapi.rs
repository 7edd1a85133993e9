//! The app API as OpenAPI 3.1, made of what reads and answers it. Everybody may read it at
//! `GET /v1/openapi.json`, where it names the tenant's currencies; docs/openapi.json is the
//! same for a tenant of CNY.

mod schemas;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use self::schemas::{date, id};
use super::accounts::{ACCOUNTS, PAGE, PAGE_MAX};
use super::events;
use crate::gateway::Gateway;

pub(super) async fn answer(State(gateway): State<Arc<Gateway>>) -> Json<Value> {
    let settings = gateway.settings();
    let currencies: Vec<_> = settings.value.currencies.iter().map(ToString::to_string).collect();
    Json(document(&currencies))
}

/// The document for a tenant of these currencies.
#[must_use]
pub fn document(currencies: &[String]) -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "payplane gateway",
            "version": "v1",
            "description": "Payments, top-ups, refunds, payouts, agreements and their states. Amounts are whole minor units. \
                Unknown, repeated, missing and ill-typed fields are refused by name.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"signature": []}],
        "paths": paths(&schemas::one_of(currencies)),
        "components": {
            "securitySchemes": {"signature": {
                "type": "apiKey",
                "in": "header",
                "name": "Signature",
                "description": "An HTTP message signature (RFC 9421), with Signature-Input and Content-Digest.",
            }},
            "responses": responses(),
            "schemas": schemas::all(currencies),
        },
    })
}

fn paths(currency: &Value) -> Value {
    let order = [path("orderDate", date()), path("orderNumber", id(64))];
    let refund = [order.as_slice(), &[path("refundNumber", id(64))]].concat();
    let merchant = [path("merchantId", id(32))];
    let limit = json!({"type": "integer", "minimum": 1, "maximum": PAGE_MAX, "default": PAGE});
    let pages = [
        query("account", true, json!({"type": "string", "enum": ACCOUNTS})),
        query("currency", true, currency.clone()),
        query(
            "after",
            false,
            json!({"type": "string", "pattern": "^([0-9]+/[0-9]+/[0-9a-f]*/[0-9a-f-]{36}/[0-9]+)?$",
            "description": "`next` of the page before."}),
        ),
        query("limit", false, limit),
    ];
    let payout = [path("orderDate", date()), path("payoutNumber", id(64))];
    let mut paths = json!({
        "/v1/payments": {
            "post": operation("pay", "Pay. The same request again is answered with the same order.",
                &[], Some("PayRequest"), &made("Payment")),
        },
        "/v1/payments/{orderDate}/{orderNumber}": {
            "get": operation("query", "What became of an order.", &order, None, &found("Payment")),
        },
        "/v1/payments/{orderDate}/{orderNumber}/close": {
            "post": operation("close", "Ask the network to take no money for an order any more.",
                &order, None, &found("Payment")),
        },
        "/v1/payments/{orderDate}/{orderNumber}/refunds": {
            "post": operation("refund", "Refund a payment, in whole or in part.",
                &order, Some("RefundRequest"), &made("Refund")),
        },
        "/v1/payments/{orderDate}/{orderNumber}/refunds/{refundNumber}": {
            "get": operation("queryRefund", "What became of a refund.", &refund, None, &found("Refund")),
        },
        "/v1/merchants/{merchantId}/balance": {
            "get": operation("balance", "What the books hold for a merchant at this moment, by currency.",
                &merchant, None, &found("Balance")),
        },
        "/v1/merchants/{merchantId}/statement": {
            "get": operation("statement",
                "The entries of one of a merchant's accounts, oldest first, about a second after they are booked.",
                &[merchant.as_slice(), &pages].concat(), None, &found("Statement")),
        },
        "/v1/payments/{orderDate}/{orderNumber}/confirm": {
            "post": operation("confirm", "Bring the one-time code that the payer was sent (action OneTimeCode).",
                &order, Some("OneTimeCode"), &found("Payment")),
        },
        "/v1/payouts": {
            "post": operation("payOut", "Pay out of what a merchant has to an account.",
                &[], Some("PayoutRequest"), &made("Payout")),
        },
        "/v1/payouts/{orderDate}/{payoutNumber}": {
            "get": operation("queryPayout", "What became of a payout.", &payout, None, &found("Payout")),
        },
    });
    if let Some(all) = paths.as_object_mut() {
        all.extend(
            [agreements(), wallets(), stream()]
                .into_iter()
                .filter_map(|more| more.as_object().cloned())
                .flatten(),
        );
    }
    paths
}

fn wallets() -> Value {
    json!({
        "/v1/wallets/{customer}/balance": {
            "get": operation("walletBalance",
                "What the books hold for a customer whose wallet the app has filled, at this moment, by currency.",
                &[path("customer", id(64))], None, &found("WalletBalance")),
        },
    })
}

fn stream() -> Value {
    let number = |least: i64, most: i64, usual: i64| json!({"type": "integer", "minimum": least, "maximum": most, "default": usual});
    let after = json!({"type": "string", "pattern": "^([0-9]{1,9}-[0-9]{1,18})?$",
        "description": "`next` of the page before."});
    let pages =
        [query("after", false, after), query("limit", false, number(1, events::PAGE_MAX, events::PAGE))];
    json!({
        "/v1/events": {
            "get": operation("events", "What happened to the app's orders, in its order.", &pages, None,
                &found("Events")),
        },
    })
}

fn agreements() -> Value {
    let agreement = [path("agreementDate", date()), path("agreementNumber", id(64))];
    json!({
        "/v1/agreements": {
            "post": operation("sign", "Ask a bank for an account owner's agreement to be debited.",
                &[], Some("AgreementRequest"), &made("Agreement")),
        },
        "/v1/agreements/{agreementDate}/{agreementNumber}": {
            "get": operation("queryAgreement", "How an agreement stands.", &agreement, None, &found("Agreement")),
        },
        "/v1/agreements/{agreementDate}/{agreementNumber}/confirm": {
            "post": operation("confirmAgreement", "Bring the one-time code that the bank sent the account's owner.",
                &agreement, Some("OneTimeCode"), &found("Agreement")),
        },
        "/v1/agreements/{agreementDate}/{agreementNumber}/end": {
            "post": operation("endAgreement", "No payment begins by the agreement any more; the bank ends it.",
                &agreement, None, &found("Agreement")),
        },
    })
}

fn operation(
    id: &str,
    summary: &str,
    parameters: &[Value],
    body: Option<&str>,
    answers: &[(&str, Value)],
) -> Value {
    let refusals = ["400", "401", "403", "404", "409", "422", "500", "503"];
    let refusals =
        refusals.into_iter().filter(|status| body.is_some() || !["403", "409", "422"].contains(status));
    let refusals =
        refusals.map(|status| (status, json!({"$ref": format!("#/components/responses/{status}")})));
    let responses = answers.iter().cloned().chain(refusals).map(|(status, what)| (status.to_owned(), what));
    let mut operation = json!({
        "operationId": id,
        "summary": summary,
        "parameters": parameters,
        "responses": Value::Object(responses.collect()),
    });
    if let Some(body) = body {
        operation["requestBody"] = json!({"required": true, "content": content("application/json", body)});
    }
    operation
}

fn found(schema: &str) -> Vec<(&'static str, Value)> {
    vec![("200", json!({"description": "As it is now.", "content": content("application/json", schema)}))]
}

fn made(schema: &str) -> Vec<(&'static str, Value)> {
    let new = json!({"description": "It is new.", "content": content("application/json", schema)});
    let known =
        json!({"description": "It was made before; this is how it is now.", "content": new["content"]});
    vec![("201", new), ("200", known)]
}

fn responses() -> Value {
    let problem =
        |what: &str| json!({"description": what, "content": content("application/problem+json", "Problem")});
    let mut busy = problem("Too busy, or a part is away: send the same request again.");
    busy["headers"] = json!({"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}});
    json!({
        "400": problem("A field is not valid; `field` says which."),
        "401": problem("The signature, its key, its time or its nonce."),
        "403": problem("The app may not do that: it is suspended, closed, or not bound to this merchant."),
        "404": problem("This app has no such order, refund, payout, agreement, merchant or wallet."),
        "409": problem("The number is another request's."),
        "422": problem("It is well-formed, and refused."),
        "500": problem("It went wrong on our side; it is logged."),
        "503": busy,
    })
}

fn content(kind: &str, schema: &str) -> Value {
    json!({kind: {"schema": {"$ref": format!("#/components/schemas/{schema}")}}})
}

fn path(name: &str, schema: Value) -> Value {
    json!({"name": name, "in": "path", "required": true, "schema": schema})
}

fn query(name: &str, required: bool, schema: Value) -> Value {
    json!({"name": name, "in": "query", "required": required, "schema": schema})
}
