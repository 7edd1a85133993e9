//! Who calls: headers that sign the path, the participant, the key, a time, a nonce and the
//! body's digest, a line each.

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use http::request::Parts;
use jiff::Timestamp;

use super::answer::{Answer, Refused};
use crate::networks::Bank;

/// How far a request's clock may be from ours.
const WINDOW_SECONDS: u64 = 60;
const NONCE_LENGTH: std::ops::RangeInclusive<usize> = 16..=64;
const PARTICIPANT_LENGTH_MAX: usize = 32;

/// Participant and nonce as they were sent: every answer bears them.
#[derive(Clone, Debug, Default)]
pub(super) struct Claimed {
    pub(super) participant: String,
    pub(super) nonce: String,
}

impl Claimed {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name| one(headers, name).filter(|text| text.len() <= 64).unwrap_or_default().to_owned();
        Self { participant: text("bank-participant"), nonce: text("bank-nonce") }
    }
}

/// A body as the signed text names it.
pub(super) fn body_digest(body: &[u8]) -> String {
    digest(&SHA256, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Verifies who sent exactly these bytes, and when.
pub(super) fn verify(parts: &Parts, body: &[u8], bank: &Bank) -> Result<String, Refused> {
    let refuse = |code, detail| Refused(Answer::unauthorized(code, detail));
    let malformed = || refuse("BadHeaders", "a Bank header is missing, repeated or ill-formed");
    let header = |name| one(&parts.headers, name).ok_or_else(malformed);
    let (participant, key_id) = (header("bank-participant")?, header("bank-key")?);
    let (time, nonce) = (header("bank-time")?, header("bank-nonce")?);
    let signature = header("bank-signature")?;
    let plain = nonce.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let seconds: u64 = time.parse().map_err(|_| malformed())?;
    let long = participant.len() > PARTICIPANT_LENGTH_MAX || !NONCE_LENGTH.contains(&nonce.len());
    if long || !plain || seconds.to_string() != time {
        return Err(malformed());
    }
    let keys = bank.participants.get(participant);
    let keys = keys.ok_or_else(|| refuse("UnknownParticipant", "nobody has this Bank-Participant"))?;
    let key = keys.get(key_id);
    let key = key.ok_or_else(|| refuse("UnknownKey", "the participant has no such Bank-Key"))?;
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let text = [
        "bank-direct/1 request",
        &format!("{} {path}", parts.method),
        participant,
        key_id,
        time,
        nonce,
        &body_digest(body),
    ];
    if !key.verifies(&(text.join("\n") + "\n"), signature) {
        return Err(refuse("BadSignature", "Bank-Signature is not this key's over this request"));
    }
    let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
    if now.abs_diff(seconds) > WINDOW_SECONDS {
        return Err(refuse("StaleRequest", "Bank-Time is more than 60 seconds off"));
    }
    Ok(participant.to_owned())
}

fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}
