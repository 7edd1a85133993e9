//! Answers: `{"<method>_response":{...},"sign":"..."}`. The signature is over
//! the node's text as it stands there, escaped slashes included.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde_json::{Map, Value};

use crate::book::BookError;
use crate::rsa::SigningKey;
use crate::sandbox::Signed;

/// The fields of a node, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer(Map<String, Value>);

/// A call that came to nothing, and the answer that says so.
#[derive(Debug)]
pub(super) struct Refused(pub(super) Answer);

impl From<Answer> for Refused {
    fn from(answer: Answer) -> Self {
        Self(answer)
    }
}

impl From<BookError> for Refused {
    fn from(_: BookError) -> Self {
        Self(Answer::system_error())
    }
}

impl Answer {
    fn new(code: &str, message: &str) -> Self {
        Self(Map::new()).with("code", code).with("msg", message)
    }

    pub(super) fn success() -> Self {
        Self::new("10000", "Success")
    }

    fn refused(code: &str, message: &str, sub_code: &str, sub_message: &str) -> Self {
        Self::new(code, message).with("sub_code", sub_code).with("sub_msg", sub_message)
    }

    pub(super) fn missing(sub_code: &str, message: &str) -> Self {
        Self::refused("40001", "Missing Required Arguments", sub_code, message)
    }

    pub(super) fn invalid(sub_code: &str, message: &str) -> Self {
        Self::refused("40002", "Invalid Arguments", sub_code, message)
    }

    pub(super) fn business(sub_code: &str, message: &str) -> Self {
        Self::refused("40004", "Business Failed", sub_code, message)
    }

    /// Whether anything happened is unknown.
    pub(super) fn system_error() -> Self {
        Self::refused("20000", "Service Currently Unavailable", "aop.ACQ.SYSTEM_ERROR", "系统异常")
    }

    pub(super) fn no_trade() -> Self {
        Self::business("ACQ.TRADE_NOT_EXIST", "交易不存在")
    }

    pub(super) fn parameter(field: &str) -> Self {
        Self::business("ACQ.INVALID_PARAMETER", &format!("参数无效：{field}"))
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// The node as it is sent: slashes are escaped, as the network does it.
    pub(super) fn node(&self) -> String {
        Value::Object(self.0.clone()).to_string().replace('/', "\\/")
    }
}

pub(super) fn respond(key: Option<&SigningKey>, node: &str, answer: &Answer, signed: Signed) -> Response {
    let text = answer.node();
    let forged = if signed == Signed::Wrongly { "forged" } else { "" };
    let sign = key.and_then(|key| key.sign(format!("{text}{forged}").as_bytes()));
    let body = match sign {
        Some(sign) => format!("{{\"{node}\":{text},\"sign\":\"{sign}\"}}"),
        None => format!("{{\"{node}\":{text}}}"),
    };
    let mut response = Response::new(Body::from(body));
    let html = HeaderValue::from_static("text/html;charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, html);
    response
}

/// An answer that nobody should believe.
pub(super) fn plain(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
