//! Answers repeat what the message said and add `respCode` and `respMsg`.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};

use super::message::Message;
use super::signature::{CERTIFICATE, SIGNATURE, sign};
use crate::book::BookError;
use crate::form::Fields;
use crate::networks::Union;
use crate::sandbox::Signed;

/// What an answer repeats.
const REPEATED: [&str; 12] = [
    "version",
    "encoding",
    "signMethod",
    "txnType",
    "txnSubType",
    "bizType",
    "accessType",
    "merId",
    "orderId",
    "txnTime",
    "txnAmt",
    "reqReserved",
];

#[derive(Clone, Debug)]
pub(super) struct Answer(Fields);

/// A message that came to nothing: `respCode` and what it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused(pub(super) &'static str, pub(super) String);

impl Refused {
    pub(super) fn new(code: &'static str, text: &str) -> Self {
        Self(code, text.to_owned())
    }

    pub(super) fn format(field: &str) -> Self {
        Self("10", format!("报文格式错误:{field}"))
    }

    pub(super) fn not_opened() -> Self {
        Self::new("77", "银行卡未开通认证支付")
    }

    pub(super) fn busy() -> Self {
        Self::new("06", "系统繁忙，请稍后再试")
    }
}

impl From<BookError> for Refused {
    fn from(_: BookError) -> Self {
        Self::busy()
    }
}

/// A text with the seven digits that the network adds.
pub(super) fn told(code: &str, text: &str) -> String {
    format!("{text}[{code}00000]")
}

impl Answer {
    pub(super) fn of(message: &Message, code: &str, text: &str) -> Self {
        let fields = REPEATED.into_iter().filter_map(|name| message.0.get_key_value(name));
        let fields: Fields = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self(fields).with("respCode", code).with("respMsg", &told(code, text))
    }

    pub(super) fn success(message: &Message) -> Self {
        Self::of(message, "00", "成功")
    }

    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }
}

pub(super) fn respond(union: &Union, message: &Message, answer: Answer, signed: Signed) -> Response {
    let Answer(mut fields) = answer;
    let added = if signed == Signed::Wrongly { "forged" } else { "" };
    let merchant = union.merchants.get(message.text("merId"));
    if sign(&mut fields, union, merchant, added).is_none() {
        return plain(StatusCode::INTERNAL_SERVER_ERROR);
    }
    // The certificate and the signature come last.
    let last = [CERTIFICATE, SIGNATURE].map(|name| fields.remove_entry(name));
    let pairs = fields.into_iter().chain(last.into_iter().flatten());
    let pairs: Vec<String> = pairs.map(|(name, value)| format!("{name}={value}")).collect();
    let mut response = Response::new(Body::from(pairs.join("&")));
    let text = HeaderValue::from_static("text/html;charset=UTF-8");
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response
}

/// An answer that nobody should believe.
pub(super) fn plain(status: StatusCode) -> Response {
    let mut response =
        Response::new(Body::from(if status == StatusCode::BAD_REQUEST { "Invalid request." } else { "" }));
    *response.status_mut() = status;
    response
}
