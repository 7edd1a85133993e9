//! Signatures of bank direct: DER ECDSA P-256 over lines that hold the body's digest.
//! docs/bank-direct.md says what each line is.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use jiff::Timestamp;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

use crate::channel::connection::header;
use crate::keys::{p256_point, signing_key, spki};

pub(super) const PARTICIPANT: &str = "bank-participant";
pub(super) const KEY: &str = "bank-key";
pub(super) const TIME: &str = "bank-time";
pub(super) const NONCE: &str = "bank-nonce";
pub(super) const SIGNATURE: &str = "bank-signature";

/// How far the bank's clock may be from ours.
const WINDOW_SECONDS: u64 = 300;
/// Those in force while a key is changed.
const KEYS_MAX: usize = 4;
const KEY_ID_CHARS: usize = 16;

/// What is signed: first line, and what binds it to its place.
pub(super) enum Said<'a> {
    Request { path: &'a str },
    Answer { status: u16 },
    Notification,
}

/// The lines that follow the first.
pub(super) struct Lines<'a> {
    pub participant: &'a str,
    pub key_id: &'a str,
    pub time: &'a str,
    pub nonce: &'a str,
    pub body: &'a [u8],
}

impl Said<'_> {
    pub(super) fn text(&self, lines: &Lines<'_>) -> String {
        let head = match self {
            Self::Request { path } => format!("request\nPOST {path}"),
            Self::Answer { status } => format!("answer\n{status}"),
            Self::Notification => "notification".to_owned(),
        };
        let Lines { participant, key_id, time, nonce, body } = lines;
        let hash = payplane_api::config::hash(body);
        format!("bank-direct/1 {head}\n{participant}\n{key_id}\n{time}\n{nonce}\n{hash}\n")
    }
}

/// A key's name: the beginning of the digest of its DER.
fn key_id(point: &[u8]) -> String {
    let mut id = hex::encode(digest(&SHA256, &spki(point)));
    id.truncate(KEY_ID_CHARS);
    id
}

/// Our private key. It has no Debug: it is a secret.
pub(super) struct OwnKey {
    pub id: String,
    pair: EcdsaKeyPair,
}

impl OwnKey {
    pub(super) fn from_pem(pem: &[u8]) -> Option<Self> {
        let pair = signing_key(pem, &ECDSA_P256_SHA256_ASN1_SIGNING)?;
        Some(Self { id: key_id(pair.public_key().as_ref()), pair })
    }

    pub(super) fn sign(&self, text: &str) -> Option<String> {
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).ok()?;
        Some(STANDARD.encode(signature.as_ref()))
    }
}

/// The bank's public keys in force, by their names.
pub(super) struct BankKeys(Vec<(String, ParsedPublicKey)>);

impl BankKeys {
    /// Nothing where one of them is no key, or there are too many.
    pub(super) fn from_pem(pem: &[u8]) -> Option<Self> {
        let read = |der: SubjectPublicKeyInfoDer<'_>| {
            let point = p256_point(&der)?;
            let id = key_id(&point);
            Some((id, ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).ok()?))
        };
        let all = SubjectPublicKeyInfoDer::pem_slice_iter(pem).map(|der| read(der.ok()?));
        let all: Vec<_> = all.collect::<Option<_>>()?;
        (1..=KEYS_MAX).contains(&all.len()).then_some(Self(all))
    }

    #[cfg(test)]
    pub(super) fn ids(&self) -> Vec<&str> {
        self.0.iter().map(|(id, _)| id.as_str()).collect()
    }

    /// Verifies an answer or a notification for a participant: its time and its nonce.
    pub(super) fn verify<'a>(
        &self,
        said: &Said<'_>,
        headers: &'a HeaderMap,
        participant: &str,
        body: &[u8],
    ) -> Option<(Timestamp, &'a str)> {
        let header = |name| header(headers, name);
        let (time, nonce, id) = (header(TIME)?, header(NONCE)?, header(KEY)?);
        let seconds: i64 = time.parse().ok()?;
        let near = Timestamp::now().as_second().abs_diff(seconds) <= WINDOW_SECONDS;
        // One spelling only: the signed text is the header's, the check is the number's.
        if header(PARTICIPANT)? != participant || !near || seconds.to_string() != time {
            return None;
        }
        let (_, key) = self.0.iter().find(|(known, _)| known == id)?;
        let text = said.text(&Lines { participant, key_id: id, time, nonce, body });
        let signature = STANDARD.decode(header(SIGNATURE)?).ok()?;
        key.verify_sig(text.as_bytes(), &signature).ok()?;
        Some((Timestamp::from_second(seconds).ok()?, nonce))
    }
}
