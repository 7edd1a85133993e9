//! What a merchant's endpoint does with a notification: it believes what the tenant
//! signed, for this very address, a moment ago; and it keeps the event's id, because the
//! same one may come again.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::header::HeaderMap;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::Deserialize;
use snafu::{OptionExt, Snafu, ensure};

/// Seconds that a signature is believed for, before and after.
const WINDOW_SECONDS: u64 = 300;
const COMPONENTS: &str = "(\"@method\" \"@target-uri\" \"content-digest\")";
/// A SubjectPublicKeyInfo of P-256 is so long before the point.
const POINT_AT: usize = 26;

#[derive(Debug, Snafu)]
pub enum NotificationError {
    #[snafu(display("no ECDSA P-256 public key (PEM) is there"))]
    NoKey,
    #[snafu(display("{url:?} is no address"))]
    Address { url: String },
    #[snafu(display("header {name} is missing, there twice, or not of the form that is used"))]
    Header { name: &'static str },
    #[snafu(display("no key {key_id} is known"))]
    UnknownKey { key_id: String },
    #[snafu(display("the signature is of {created}, not of now"))]
    Stale { created: i64 },
    #[snafu(display("the body is not the one that was signed"))]
    Digest,
    #[snafu(display("the signature does not verify"))]
    Signature,
    #[snafu(display("the body cannot be read"))]
    Body { source: serde_json::Error },
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Notification {
    /// The same for every try.
    pub event_id: uuid::Uuid,
    /// `payment.`, `refund.` or `payout.` `succeeded` or `failed`, or `payment.returned`
    pub kind: String,
    pub created_at: Timestamp,
    pub data: serde_json::Value,
}

/// The tenant's public keys, by their ids.
pub struct Verifier {
    keys: BTreeMap<String, Vec<u8>>,
}

impl Verifier {
    /// Reads `notify.pub` of the tenant's trust bundle.
    pub fn from_pem(bundle: &[u8]) -> Result<Self, NotificationError> {
        let mut keys = BTreeMap::new();
        for der in SubjectPublicKeyInfoDer::pem_slice_iter(bundle) {
            let der = der.ok().context(NoKeySnafu)?;
            let point = der.get(POINT_AT..).filter(|point| point.len() == 65).context(NoKeySnafu)?;
            keys.insert(key_id(point), point.to_vec());
        }
        ensure!(!keys.is_empty(), NoKeySnafu);
        Ok(Self { keys })
    }

    /// Reads a notification that was posted to `url`, the address as it was registered.
    pub fn verify(
        &self,
        url: &str,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Notification, NotificationError> {
        self.check(url, headers, body, now)?;
        serde_json::from_slice(body).map_err(|source| NotificationError::Body { source })
    }

    /// Did the tenant sign this body, for this address, a moment ago?
    pub fn check(
        &self,
        url: &str,
        headers: &HeaderMap,
        body: &[u8],
        now: Timestamp,
    ) -> Result<(), NotificationError> {
        let url = reqwest::Url::parse(url).ok().context(AddressSnafu { url })?;
        let content_digest = header(headers, "content-digest")?;
        let expected = format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, body)));
        ensure!(content_digest == expected, DigestSnafu);
        let bad = HeaderSnafu { name: "signature-input" };
        let input = header(headers, "signature-input")?.strip_prefix("sig1=").context(bad)?;
        let rest = input.strip_prefix(COMPONENTS).context(bad)?;
        let (mut created, mut key_id) = (None, None);
        for parameter in rest.split(';').skip(1) {
            match parameter.split_once('=').context(bad)? {
                ("created", value) => created = value.parse::<i64>().ok(),
                ("keyid", value) => key_id = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')),
                _ => {}
            }
        }
        let (created, key_id) = (created.context(bad)?, key_id.context(bad)?);
        ensure!(now.as_second().abs_diff(created) <= WINDOW_SECONDS, StaleSnafu { created });
        let point = self.keys.get(key_id).context(UnknownKeySnafu { key_id })?;
        let text = format!(
            "\"@method\": POST\n\"@target-uri\": {url}\n\"content-digest\": {content_digest}\n\
             \"@signature-params\": {input}"
        );
        let signature = header(headers, "signature")?;
        let signature = signature.strip_prefix("sig1=:").and_then(|rest| rest.strip_suffix(':'));
        let signature = signature.and_then(|text| STANDARD.decode(text).ok());
        let signature = signature.context(HeaderSnafu { name: "signature" })?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
        key.verify(text.as_bytes(), &signature).ok().context(SignatureSnafu)
    }
}

/// The first 16 hexadecimal digits of the SHA-256 of the uncompressed point.
fn key_id(point: &[u8]) -> String {
    payplane_api::config::hash(point).chars().take(16).collect()
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, NotificationError> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    value.filter(|_| values.next().is_none()).context(HeaderSnafu { name })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;
    use crate::key::{KeygenArgs, SigningKey, keygen};

    const URL: &str = "https://shop.example/paid";
    const BODY: &[u8] = br#"{"eventId":"01890a5d-ac96-774b-bcce-b302099a8057","kind":"payment.succeeded",
        "createdAt":"2026-11-29T12:00:00Z","data":{"amountMinor":1}}"#;
    const NOW: i64 = 1_800_000_000;

    /// A key, and its public half as the trust bundle has it.
    fn pair(folder: &std::path::Path, name: &str) -> (SigningKey, Vec<u8>) {
        let (key, public) = (folder.join(name), folder.join(format!("{name}.pub")));
        keygen(&KeygenArgs { key: key.clone(), public: public.clone() }).unwrap();
        (SigningKey::load(crate::key::Algorithm::Ecdsa, &key).unwrap(), std::fs::read(public).unwrap())
    }

    fn signed(key: &SigningKey, key_id: &str) -> HeaderMap {
        let digest = format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, BODY)));
        let input =
            format!("{COMPONENTS};created={NOW};nonce=\"n-1\";keyid=\"{key_id}\";alg=\"ecdsa-p256-sha256\"");
        let text = format!(
            "\"@method\": POST\n\"@target-uri\": {URL}\n\"content-digest\": {digest}\n\"@signature-params\": {input}"
        );
        let signature = STANDARD.encode(key.sign(text.as_bytes()).unwrap());
        let mut headers = HeaderMap::new();
        headers.insert("content-digest", digest.parse().unwrap());
        headers.insert("signature-input", format!("sig1={input}").parse().unwrap());
        headers.insert("signature", format!("sig1=:{signature}:").parse().unwrap());
        headers
    }

    #[test]
    fn only_what_was_signed_for_this_address_a_moment_ago_is_believed() {
        let folder = tempfile::tempdir().unwrap();
        let ((former, former_pem), (key, pem)) = (pair(folder.path(), "a"), pair(folder.path(), "b"));
        let verifier = Verifier::from_pem(&[pem.clone(), former_pem].concat()).unwrap();
        let ids: Vec<_> = verifier.keys.keys().cloned().collect();
        let own = Verifier::from_pem(&pem).unwrap().keys.into_keys().next().unwrap();
        let other = ids.iter().find(|id| **id != own).unwrap();
        let good = signed(&key, &own);
        let at = |seconds: i64| Timestamp::from_second(NOW + seconds).unwrap();
        assert_eq!(verifier.verify(URL, &good, BODY, at(300)).unwrap().kind, "payment.succeeded");
        assert!(verifier.verify("https://SHOP.example:443/paid", &good, BODY, at(-300)).is_ok());
        assert!(verifier.verify(URL, &signed(&former, other), BODY, at(0)).is_ok(), "a former key");

        let why = |url: &str, headers: &HeaderMap, body: &[u8], seconds| {
            verifier.verify(url, headers, body, at(seconds)).unwrap_err().to_string()
        };
        assert!(why(URL, &good, BODY, 301).contains("not of now"));
        assert!(why(URL, &good, BODY, -301).contains("not of now"));
        assert!(why("https://shop.example/other", &good, BODY, 0).contains("not verify"));
        assert!(why(URL, &good, &BODY[1..], 0).contains("not the one"));
        assert!(why(URL, &signed(&key, other), BODY, 0).contains("not verify"), "another one's key id");
        assert!(why(URL, &signed(&key, "0123456789abcdef"), BODY, 0).contains("no key"));
        for name in ["content-digest", "signature-input", "signature"] {
            let (mut without, mut twice, mut odd) = (good.clone(), good.clone(), good.clone());
            without.remove(name);
            twice.append(name, good[name].clone());
            odd.insert(name, HeaderValue::from_static("sig1=x"));
            for headers in [without, twice, odd] {
                assert!(verifier.verify(URL, &headers, BODY, at(0)).is_err(), "{name}");
            }
        }
        assert!(Verifier::from_pem(b"").is_err());
    }
}
