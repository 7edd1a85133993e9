//! From a request to its verified sender.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Bytes;
use axum::extract::Request;
use http::request::Parts;
use jiff::{SignedDuration, Timestamp};
use payplane_common::trace::Trace;

use super::idempotency::Key;
use super::parameters::{self, Parameters};
use super::problem::{Code, Problem};
use super::{read_body, sorted};
use crate::gateway::{Caller, Gateway, Place};
use crate::patience::{Patience, REQUEST_MAX};
use crate::signature::{Claim, SignatureError, WINDOW_SECONDS, is_by_headers};
use crate::store::nonces::Nonce;

/// Whether the request may be refused for others that are worked on, as it stood on arrival.
#[derive(Clone, Copy)]
pub(super) struct IsBounded(pub(super) bool);

/// How much longer than its window a nonce is kept.
const MARGIN_SECONDS: i64 = 10;

/// What a verified request asks for, without its signature.
pub(super) struct Content {
    pub(super) body: Bytes,
    /// Of a GET.
    pub(super) parameters: Parameters,
    pub(super) idempotency: Key,
}

fn bad(error: SignatureError) -> Problem {
    let detail = payplane_common::telemetry::chain(&error as &dyn std::error::Error);
    Problem::new(Code::BadSignature, detail)
}

/// Reads the one signature of a request, in either style.
fn claim(parts: &Parts, body: Bytes) -> Result<(Claim, Bytes, Parameters), Problem> {
    if !is_by_headers(&parts.headers) {
        return sorted::read(parts, &body);
    }
    if sorted::is_in(parts.uri.query()) {
        return Err(Problem::new(Code::BadSignature, "the request is signed in two styles: choose one"));
    }
    let claim = Claim::read(parts, &body).map_err(bad)?;
    Ok((claim, body, parameters::read(parts.uri.query())?))
}

/// Reads a signed request. Its nonce is not stored yet: that happens in the
/// transaction of what it asks for.
pub(super) async fn verified(gateway: &Gateway, request: Request) -> Result<(Caller, Content), Problem> {
    let (patience, arrived) = (Patience::of(REQUEST_MAX), Timestamp::now());
    let (parts, body) = read_body(request).await?;
    let (claim, body, parameters) = claim(&parts, body)?;
    let (app, key_id) = (claim.app.as_str(), &claim.key_id);
    let is_bounded = parts.extensions.get::<IsBounded>().is_some_and(|known| known.0);
    let busy = || Problem::overloaded("this replica has its hands full of this app");
    if is_bounded && gateway.shares.is_full(app, Instant::now()) {
        return Err(busy());
    }
    let with = (&gateway.store, &gateway.data_keys);
    let key = patience.keep(|| gateway.keys.get(with, app, key_id)).await?;
    let key = key.ok_or_else(|| Problem::new(Code::UnknownKey, format!("key {app}/{key_id}")))?;
    claim.verify(&key).map_err(bad)?;
    if !claim.is_fresh(arrived.as_second()) {
        let detail = format!("the time of signing must lie within {WINDOW_SECONDS} s of the gateway's clock");
        return Err(Problem::new(Code::StaleRequest, detail));
    }
    let kept = SignedDuration::from_secs(WINDOW_SECONDS.saturating_add(MARGIN_SECONDS));
    let created = Timestamp::from_second(claim.created).unwrap_or(Timestamp::MAX);
    let nonce = Nonce {
        app: app.to_owned(),
        nonce: claim.nonce.clone(),
        digest: claim.digest(),
        expires_at: created.saturating_add(kept).unwrap_or(Timestamp::MAX),
    };
    let share = gateway.shares.take(app, is_bounded, Instant::now()).ok_or_else(busy)?;
    let (trace, place) = (Trace::of(&parts.extensions), Arc::new((place(&parts)?, share)));
    let content = Content { body, parameters, idempotency: Key::of(&parts.headers) };
    Ok((Caller { nonce, trace, place, patience }, content))
}

/// The place that the request was given.
fn place(parts: &Parts) -> Result<Place, Problem> {
    let place = parts.extensions.get::<Place>().cloned();
    place.ok_or_else(|| Problem::new(Code::Internal, "the request has no place"))
}
