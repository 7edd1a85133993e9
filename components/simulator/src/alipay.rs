//! Alipay's open platform, RSA2: a trade is precreated as a QR code, exists
//! once the payer scanned it, and is paid, closed, cancelled or refunded.
//! Source: <https://opendocs.alipay.com/open-v3/> and the pages of `alipay.trade.*`.

mod answer;
mod biz;
pub mod notice;
mod query;
mod refund;
mod request;
mod trade;

#[cfg(test)]
#[path = "alipay/tests.rs"]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::Response;
use axum::routing::any;
use http::{Request, StatusCode};

use self::answer::{Answer, Refused};
use self::request::{Call, Method};
use crate::sandbox::{Sandbox, Signed};

/// Real requests have some 1,500 bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

pub fn router(sandbox: Arc<Sandbox>) -> Router {
    Router::new().route("/gateway.do", any(handle)).with_state(sandbox)
}

/// What a call comes to.
type Outcome = crate::sandbox::Outcome<Answer>;

async fn handle(State(sandbox): State<Arc<Sandbox>>, request: Request<Body>) -> Response {
    let networks = sandbox.networks();
    let Some(alipay) = &networks.value.alipay else { return answer::plain(StatusCode::NOT_FOUND) };
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return answer::plain(StatusCode::PAYLOAD_TOO_LARGE);
    };
    let call = match Call::read(&parts, &body, alipay) {
        Ok(call) => call,
        Err(request::Unread { node, answer, known }) => {
            // Nobody can tell whose key an unknown application would verify with.
            return answer::respond(known.then_some(&alipay.key), &node, &answer, Signed::Rightly);
        }
    };
    let outcome = dispatch(&sandbox, &call).await.unwrap_or_else(|Refused(answer)| answer.into());
    let node = call.method.node();
    match outcome {
        Outcome::Answer(answer, after) => {
            let sign = |signed| answer::respond(Some(&alipay.key), node, &answer, signed);
            sandbox.answer(after, sign).await
        }
        Outcome::Silence => sandbox.silence().await,
    }
}

async fn dispatch(sandbox: &Arc<Sandbox>, call: &Call) -> Result<Outcome, Refused> {
    match call.method {
        Method::Precreate => trade::precreate(sandbox, call).await,
        Method::Query => query::query(sandbox, call).await,
        Method::Close => trade::close(sandbox, call).await,
        Method::Cancel => trade::cancel(sandbox, call).await,
        Method::Refund => refund::refund(sandbox, call).await,
        Method::RefundQuery => refund::query(sandbox, call).await,
    }
}
