//! Who calls, proven by a signature over the whole request, and answers signed
//! the same way. The text is METHOD, PATH, TIMESTAMP, NONCE and BODY, each
//! ended by a newline; an answer's is STATUS, TIMESTAMP, NONCE and BODY.

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use jiff::Timestamp;
use serde::Serialize;

use super::Network;
use crate::keys::MerchantKeys;
use crate::message::Refusal;

const MERCHANT: HeaderName = HeaderName::from_static("sim-merchant");
const TIMESTAMP: HeaderName = HeaderName::from_static("sim-timestamp");
const NONCE: HeaderName = HeaderName::from_static("sim-nonce");
const SIGNATURE: HeaderName = HeaderName::from_static("sim-signature");

/// How far a request's clock may be from ours.
const WINDOW_SECONDS: u64 = 60;
const NONCE_LENGTH: std::ops::RangeInclusive<usize> = 16..=64;
const MERCHANT_LENGTH_MAX: usize = 32;

/// A verified merchant, and the nonce that its answer echoes.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) merchant: String,
    pub(super) nonce: String,
}

/// Why a request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unproven {
    Headers,
    Stale,
    Signature,
}

impl Caller {
    pub(super) fn verify(parts: &Parts, body: &[u8], keys: &MerchantKeys) -> Result<Self, Unproven> {
        let header = |name| one(&parts.headers, name).ok_or(Unproven::Headers);
        let (merchant, nonce) = (header(MERCHANT)?, header(NONCE)?);
        let (timestamp, signature) = (header(TIMESTAMP)?, header(SIGNATURE)?);
        let plain = nonce.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !NONCE_LENGTH.contains(&nonce.len()) || !plain || merchant.len() > MERCHANT_LENGTH_MAX {
            return Err(Unproven::Headers);
        }
        // One spelling only: the signed text is the header's, the check is the number's.
        let seconds: i64 = timestamp.parse().map_err(|_| Unproven::Headers)?;
        if seconds.to_string() != timestamp {
            return Err(Unproven::Headers);
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let mut text = format!("{}\n{path}\n{timestamp}\n{nonce}\n", parts.method).into_bytes();
        text.extend_from_slice(body);
        text.push(b'\n');
        if !keys.verifies(merchant, &text, signature) {
            return Err(Unproven::Signature);
        }
        if Timestamp::now().as_second().abs_diff(seconds) > WINDOW_SECONDS {
            return Err(Unproven::Stale);
        }
        Ok(Self { merchant: merchant.to_owned(), nonce: nonce.to_owned() })
    }
}

fn one(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// Tells a caller who proved nothing what is wrong. The answer is signed, with
/// the nonce that was sent where there is one, and gives nothing away.
pub(super) fn refused(network: &Network, parts: &Parts, why: Unproven) -> Response {
    let (code, detail) = match why {
        Unproven::Headers => ("BadHeaders", "a Sim header is missing, repeated or malformed"),
        Unproven::Stale => ("StaleRequest", "the timestamp is more than 60 seconds off"),
        Unproven::Signature => ("BadSignature", "the signature is not this merchant's over this request"),
    };
    let text = |name| one(&parts.headers, name).filter(|v| v.len() <= 64).unwrap_or_default().to_owned();
    let caller = Caller { merchant: text(MERCHANT), nonce: text(NONCE) };
    let refusal = Refusal { code: code.to_owned(), detail: detail.to_owned() };
    respond(network, &caller, StatusCode::UNAUTHORIZED, &refusal)
}

/// Answers with the network's signature.
pub(super) fn respond(
    network: &Network,
    caller: &Caller,
    status: StatusCode,
    body: &impl Serialize,
) -> Response {
    signed(network, caller, status, body, "")
}

/// Answers with the network's signature over another text: a fault on request.
pub(super) fn respond_wrongly(
    network: &Network,
    caller: &Caller,
    status: StatusCode,
    body: &impl Serialize,
) -> Response {
    signed(network, caller, status, body, "forged")
}

fn signed(
    network: &Network,
    caller: &Caller,
    status: StatusCode,
    body: &impl Serialize,
    added: &str,
) -> Response {
    let Ok(body) = serde_json::to_string(body) else { return unsigned(StatusCode::INTERNAL_SERVER_ERROR) };
    let (code, time) = (status.as_u16(), Timestamp::now().as_second());
    let text = format!("{code}\n{time}\n{}\n{body}{added}\n", caller.nonce);
    let Some(signature) = network.key.sign(text.as_bytes()) else {
        return unsigned(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(http::header::CONTENT_TYPE, json);
    let headers = [
        (MERCHANT, caller.merchant.clone()),
        (TIMESTAMP, time.to_string()),
        (NONCE, caller.nonce.clone()),
        (SIGNATURE, signature),
    ];
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
