//! Answers, signed over their time, a nonce and the body. Errors are
//! `{code, message, detail?}` with an HTTP status of their own.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::book::BookError;
use crate::ids;
use crate::networks::Wechat;
use crate::sandbox::Signed;

#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: String,
}

/// A call that came to nothing, and the answer that says so.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Answer);

impl From<Answer> for Refused {
    fn from(answer: Answer) -> Self {
        Self(answer)
    }
}

impl From<BookError> for Refused {
    fn from(error: BookError) -> Self {
        Self(match error {
            // It may have reached the disk or not, so this says "ask again".
            BookError::Journal { .. } => Answer::system_error(),
            _ => Answer::busy(),
        })
    }
}

impl Answer {
    pub(super) fn ok(body: &Value) -> Self {
        Self { status: StatusCode::OK, body: body.to_string() }
    }

    pub(super) fn no_content() -> Self {
        Self { status: StatusCode::NO_CONTENT, body: String::new() }
    }

    pub(super) fn refuse(status: StatusCode, code: &str, message: &str) -> Self {
        Self { status, body: json!({"code": code, "message": message}).to_string() }
    }

    /// A field is not what it must be.
    pub(super) fn parameter(field: &str, issue: &str) -> Self {
        let detail = json!({"location": "body", "field": field, "issue": issue});
        let message = format!("输入源“{field}”{issue}");
        let body = json!({"code": "PARAM_ERROR", "message": message, "detail": detail});
        Self { status: StatusCode::BAD_REQUEST, body: body.to_string() }
    }

    pub(super) fn invalid(status: StatusCode, message: &str) -> Self {
        Self::refuse(status, "INVALID_REQUEST", message)
    }

    pub(super) fn sign_error(message: &str) -> Self {
        Self::refuse(StatusCode::UNAUTHORIZED, "SIGN_ERROR", message)
    }

    pub(super) fn not_found() -> Self {
        Self::refuse(StatusCode::NOT_FOUND, "RESOURCE_NOT_EXISTS", "请求的资源不存在")
    }

    pub(super) fn no_order() -> Self {
        Self::refuse(StatusCode::NOT_FOUND, "ORDER_NOT_EXIST", "订单不存在")
    }

    pub(super) fn order_paid() -> Self {
        Self::refuse(StatusCode::BAD_REQUEST, "ORDERPAID", "该订单已支付")
    }

    pub(super) fn order_closed() -> Self {
        Self::refuse(StatusCode::BAD_REQUEST, "ORDER_CLOSED", "该订单已关闭")
    }

    pub(super) fn system_error() -> Self {
        Self::refuse(StatusCode::INTERNAL_SERVER_ERROR, "SYSTEM_ERROR", "系统异常，请稍后重试")
    }

    pub(super) fn busy() -> Self {
        Self::refuse(StatusCode::TOO_MANY_REQUESTS, "FREQUENCY_LIMITED", "频率限制，请稍后重试")
    }
}

/// The headers that prove a text to be the network's.
pub(super) fn signature(wechat: &Wechat, body: &str, signed: Signed) -> Option<Vec<(&'static str, String)>> {
    let (time, nonce) = (Timestamp::now().as_second(), ids::random());
    let forged = if signed == Signed::Wrongly { "forged" } else { "" };
    let signature = wechat.key.sign(format!("{time}\n{nonce}\n{body}{forged}\n").as_bytes())?;
    Some(vec![
        ("Wechatpay-Timestamp", time.to_string()),
        ("Wechatpay-Nonce", nonce),
        ("Wechatpay-Signature", signature),
        ("Wechatpay-Signature-Type", "WECHATPAY2-SHA256-RSA2048".to_owned()),
        ("Wechatpay-Serial", wechat.key_id.clone()),
    ])
}

pub(super) fn sign(wechat: &Wechat, answer: &Answer, signed: Signed) -> Response {
    let mut response = unsigned(answer);
    let Some(headers) = signature(wechat, &answer.body, signed) else {
        return unsigned(&Answer::system_error());
    };
    for (name, value) in headers {
        let Ok(value) = HeaderValue::from_str(&value) else { continue };
        response.headers_mut().insert(name, value);
    }
    response
}

pub(super) fn unsigned(answer: &Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body.clone()));
    *response.status_mut() = answer.status;
    if !answer.body.is_empty() {
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
    }
    if let Ok(id) = HeaderValue::from_str(&ids::random()) {
        response.headers_mut().insert("Request-ID", id);
    }
    response
}
