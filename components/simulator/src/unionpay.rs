//! UnionPay's online gateway, version 5.1.0: QR and app orders, queries,
//! refunds and undoing; cards that are opened, and paid by their tokens. Requests are forms; answers are `name=value` joined by
//! `&` and not escaped, as the network's kits (ACPSample) read them.
//! Source: <https://open.unionpay.com/tjweb/acproduct/APIList>.

mod answer;
mod message;
pub mod notice;
mod order;
mod query;
mod refund;
mod secret;
mod signature;
mod token;

#[cfg(test)]
#[path = "unionpay/tests.rs"]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::Response;
use axum::routing::post;
use http::{Request, StatusCode};

use self::answer::{Answer, Refused};
use self::message::Message;
use crate::sandbox::{After, Sandbox};

/// Real requests have some 1,000 bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

pub fn router(sandbox: Arc<Sandbox>) -> Router {
    Router::new()
        .route("/gateway/api/backTransReq.do", post(back))
        .route("/gateway/api/appTransReq.do", post(app))
        .route("/gateway/api/queryTrans.do", post(ask))
        .with_state(sandbox)
}

/// What a call comes to.
type Outcome = crate::sandbox::Outcome<Answer>;

/// The three addresses, each for transactions of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Address {
    Back,
    App,
    Query,
}

async fn back(State(sandbox): State<Arc<Sandbox>>, request: Request<Body>) -> Response {
    handle(sandbox, request, Address::Back).await
}

async fn app(State(sandbox): State<Arc<Sandbox>>, request: Request<Body>) -> Response {
    handle(sandbox, request, Address::App).await
}

async fn ask(State(sandbox): State<Arc<Sandbox>>, request: Request<Body>) -> Response {
    handle(sandbox, request, Address::Query).await
}

async fn handle(sandbox: Arc<Sandbox>, request: Request<Body>, address: Address) -> Response {
    let networks = sandbox.networks();
    let Some(union) = &networks.value.union else { return answer::plain(StatusCode::NOT_FOUND) };
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return answer::plain(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let Some(message) = Message::read(&parts, &body) else { return answer::plain(StatusCode::BAD_REQUEST) };
    let outcome = match message.verify(union) {
        Ok(()) => dispatch(&sandbox, &message, address).await,
        Err(refused) => Err(refused),
    };
    match outcome {
        Ok(Outcome::Answer(answer, after)) => {
            sandbox.answer(after, |signed| answer::respond(union, &message, answer, signed)).await
        }
        Ok(Outcome::Silence) => sandbox.silence().await,
        Err(Refused(code, text)) => {
            let answer = Answer::of(&message, code, &text);
            sandbox.answer(After::Answer, |signed| answer::respond(union, &message, answer, signed)).await
        }
    }
}

async fn dispatch(sandbox: &Arc<Sandbox>, message: &Message, address: Address) -> Result<Outcome, Refused> {
    match (address, message.text("txnType"), message.text("txnSubType")) {
        (Address::Back, "01", "07") => order::make(sandbox, message, order::Kind::Qr).await,
        (Address::Back, "01", "01") => order::make(sandbox, message, order::Kind::Token).await,
        (Address::Back, "77", "00") => token::send_code(sandbox, message).await,
        (Address::Back, "79", "00") => token::open(sandbox, message).await,
        (Address::Back, "78", "02") => token::opened(sandbox, message).await,
        (Address::Back, "74", "01") => token::delete(sandbox, message).await,
        (Address::App, "01", "01") => order::make(sandbox, message, order::Kind::App).await,
        (Address::Back, "04", "00") => refund::make(sandbox, message, refund::Kind::Refund).await,
        (Address::Back, "31", "00") => refund::make(sandbox, message, refund::Kind::Undo).await,
        (Address::Query, "00", "00") => query::query(sandbox, message).await,
        _ => Err(Refused::format("txnType")),
    }
}
