//! WeChat Pay, API v3, for merchants of their own: native and JSAPI orders,
//! queries, closing, domestic refunds.
//! Source: <https://pay.weixin.qq.com/doc/v3/merchant/4012791858> and the pages beside it.

mod answer;
mod auth;
mod body;
pub mod notice;
mod order;
mod query;
mod refund;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::Response;
use axum::routing::any;
use http::request::Parts;
use http::{Method, Request, StatusCode};

use self::answer::{Answer, Refused};
use crate::networks::WechatMerchant;
use crate::sandbox::Sandbox;

/// Real orders have some 500 bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

pub fn router(sandbox: Arc<Sandbox>) -> Router {
    Router::new().route("/v3/{*path}", any(handle)).with_state(sandbox)
}

/// A verified merchant.
struct Caller<'a> {
    mchid: String,
    merchant: &'a WechatMerchant,
}

/// What a call comes to.
type Outcome = crate::sandbox::Outcome<Answer>;

async fn handle(State(sandbox): State<Arc<Sandbox>>, request: Request<Body>) -> Response {
    let networks = sandbox.networks();
    let Some(wechat) = &networks.value.wechat else { return answer::unsigned(&Answer::not_found()) };
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_BYTES_MAX).await else {
        return answer::unsigned(&Answer::invalid(StatusCode::PAYLOAD_TOO_LARGE, "请求体过大"));
    };
    // An answer is signed only for those whose own signature was right.
    let caller = match auth::verify(&parts, &body, wechat) {
        Ok(caller) => caller,
        Err(refused) => return answer::unsigned(&refused),
    };
    let outcome = match auth::check_headers(&parts, wechat) {
        Ok(()) => dispatch(&sandbox, &caller, &parts, &body).await.unwrap_or_else(|Refused(why)| why.into()),
        Err(refused) => refused.into(),
    };
    match outcome {
        Outcome::Answer(answer, after) => {
            sandbox.answer(after, |signed| answer::sign(wechat, &answer, signed)).await
        }
        Outcome::Silence => sandbox.silence().await,
    }
}

async fn dispatch(
    sandbox: &Arc<Sandbox>,
    caller: &Caller<'_>,
    parts: &Parts,
    content: &[u8],
) -> Result<Outcome, Refused> {
    let path: Option<Vec<String>> =
        parts.uri.path().trim_start_matches("/v3/").split('/').map(segment).collect();
    let path = path.ok_or_else(|| Answer::parameter("path", "无法解析"))?;
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let query = parts.uri.query().unwrap_or_default();
    match (&parts.method, path.as_slice()) {
        (&Method::POST, ["pay", "transactions", "native"]) => {
            order::make(sandbox, caller, body::Kind::Native, content).await
        }
        (&Method::POST, ["pay", "transactions", "jsapi"]) => {
            order::make(sandbox, caller, body::Kind::Jsapi, content).await
        }
        (&Method::GET, ["pay", "transactions", "out-trade-no", number]) => {
            query::by_number(sandbox, caller, number, query).await
        }
        (&Method::GET, ["pay", "transactions", "id", id]) => query::by_id(sandbox, caller, id, query).await,
        (&Method::POST, ["pay", "transactions", "out-trade-no", number, "close"]) => {
            query::close(sandbox, caller, number, content).await
        }
        (&Method::POST, ["refund", "domestic", "refunds"]) => refund::make(sandbox, caller, content).await,
        (&Method::GET, ["refund", "domestic", "refunds", number]) => {
            refund::query(sandbox, caller, number).await
        }
        _ => Err(Answer::not_found().into()),
    }
}

/// A part of the path. A plus stands for itself there.
fn segment(text: &str) -> Option<String> {
    let fields = crate::form::read(format!("s={}", text.replace('+', "%2B")).as_bytes()).ok()?;
    fields.get("s").cloned()
}

#[cfg(test)]
#[path = "wechat/tests.rs"]
mod tests;
