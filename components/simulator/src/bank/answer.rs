//! Answers: an entry, or a refusal `{code, detail}`, each signed with its status.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::auth::{Claimed, body_digest};
use crate::book::{Asked, BookError, Payment, agreements};
use crate::journal::JournalError;
use crate::message::State;
use crate::networks::Bank;
use crate::sandbox::Signed;

/// The code of what was closed, as the book has it.
const CLOSED: &str = "Closed";

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
            BookError::NotFound => {
                Answer::refuse(StatusCode::NOT_FOUND, "NotFound", "nothing has this number")
            }
            BookError::Conflict => Answer::conflict(),
            BookError::Full | BookError::Journal { source: JournalError::Full } => Answer::busy(),
            // It may have reached the disk or not.
            BookError::Journal { .. } => Answer::internal(),
        })
    }
}

impl Answer {
    pub(super) fn entry(payment: &Payment) -> Self {
        Self { status: StatusCode::OK, body: entry(payment).to_string() }
    }

    pub(super) fn refuse(status: StatusCode, code: &str, detail: &str) -> Self {
        Self { status, body: json!({"code": code, "detail": detail}).to_string() }
    }

    pub(super) fn unauthorized(code: &str, detail: &str) -> Self {
        Self::refuse(StatusCode::UNAUTHORIZED, code, detail)
    }

    pub(super) fn invalid_body(detail: &str) -> Self {
        Self::refuse(StatusCode::BAD_REQUEST, "InvalidBody", detail)
    }

    pub(super) fn invalid_field(detail: &str) -> Self {
        Self::refuse(StatusCode::BAD_REQUEST, "InvalidField", detail)
    }

    pub(super) fn no_call() -> Self {
        Self::refuse(StatusCode::NOT_FOUND, "UnknownCall", "there is no such path")
    }

    pub(super) fn conflict() -> Self {
        Self::refuse(StatusCode::CONFLICT, "NumberConflict", "the number was used for another request")
    }

    pub(super) fn busy() -> Self {
        Self::refuse(StatusCode::TOO_MANY_REQUESTS, "Busy", "too much at once: come again")
    }

    pub(super) fn wrong_code() -> Self {
        Self::refuse(StatusCode::UNPROCESSABLE_ENTITY, "WrongCode", "this is not the code that the payer got")
    }

    pub(super) fn internal() -> Self {
        Self::refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "ask for the number")
    }
}

/// An entry as answers and notifications tell it.
pub(super) fn entry(payment: &Payment) -> Value {
    let kind = match payment.asked {
        Asked::Close if payment.details.get(agreements::ENDED).is_some() => "Sign",
        Asked::Pay { .. } | Asked::Close => "Pay",
        Asked::Refund { .. } => "Refund",
        Asked::Payout { .. } => "Payout",
        Asked::Sign => "Sign",
    };
    let state = match payment.state {
        State::Processing => "Processing",
        State::Succeeded => "Succeeded",
        State::Declined if payment.code.as_deref() == Some(CLOSED) => "Closed",
        State::Declined => "Declined",
    };
    let mut told = json!({"number": payment.number, "kind": kind, "state": state});
    let Some(fields) = told.as_object_mut() else { return told };
    if !matches!(payment.asked, Asked::Close | Asked::Sign) {
        fields.insert("amountMinor".to_owned(), payment.amount_minor.into());
        fields.insert("currency".to_owned(), payment.details.text("currency").into());
    }
    if payment.asked != Asked::Close {
        fields.insert("bankId".to_owned(), payment.network_id.clone().into());
    }
    if agreements::awaits_code(payment) {
        fields.insert("confirm".to_owned(), payment.details.text(agreements::CONFIRM).into());
    }
    match (payment.state, &payment.code) {
        (State::Succeeded, _) => {
            fields.insert("bookedAt".to_owned(), payment.network_time.to_string().into());
            let of_agreement = [agreements::TOKEN, agreements::ENDED].into_iter();
            let known = of_agreement.filter_map(|name| Some((name, payment.details.get(name)?)));
            fields.extend(known.map(|(name, value)| (name.to_owned(), value.into())));
        }
        (State::Declined, Some(code)) if code != CLOSED => {
            fields.insert("code".to_owned(), code.clone().into());
        }
        _ => {}
    }
    told
}

/// The headers of an answer or a notification; `head` is the first line, or the first two.
pub(super) fn headers(
    bank: &Bank,
    head: &str,
    claimed: &Claimed,
    body: &str,
    signed: Signed,
) -> Option<Vec<(&'static str, String)>> {
    let (time, key_id) = (Timestamp::now().as_second().to_string(), bank.key.id.clone());
    let forged = if signed == Signed::Wrongly { "forged" } else { "" };
    let digest = body_digest(body.as_bytes());
    let Claimed { participant, nonce } = claimed;
    let text = format!("{head}\n{participant}\n{key_id}\n{time}\n{nonce}\n{digest}{forged}\n");
    Some(vec![
        ("bank-participant", participant.clone()),
        ("bank-key", key_id),
        ("bank-time", time),
        ("bank-nonce", nonce.clone()),
        ("bank-signature", bank.key.sign(&text)?),
    ])
}

pub(super) fn sign(bank: &Bank, claimed: &Claimed, answer: &Answer, signed: Signed) -> Response {
    let head = format!("bank-direct/1 answer\n{}", answer.status.as_u16());
    let Some(headers) = headers(bank, &head, claimed, &answer.body, signed) else {
        return unsigned(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut response = Response::new(Body::from(answer.body.clone()));
    *response.status_mut() = answer.status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    for (name, value) in headers {
        let Ok(value) = HeaderValue::from_str(&value) else { continue };
        response.headers_mut().insert(name, value);
    }
    response
}

/// An answer that nobody should believe.
pub(super) fn unsigned(status: StatusCode) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
