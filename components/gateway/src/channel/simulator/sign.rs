//! The simulated network's signatures: DER ECDSA P-256 over lines.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, ParsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

use crate::channel::connection::{Answer, header};

/// How far the network's clock may be from ours in an answer.
const ANSWER_WINDOW_SECONDS: u64 = 300;

/// The merchant's private key. It has no Debug: it is a secret.
pub(super) struct MerchantKey(EcdsaKeyPair);

impl MerchantKey {
    pub(super) fn from_pem(pem: &[u8]) -> Option<Self> {
        crate::keys::signing_key(pem, &ECDSA_P256_SHA256_ASN1_SIGNING).map(Self)
    }

    pub(super) fn sign(&self, text: &[u8]) -> Option<String> {
        let signature = self.0.sign(&SystemRandom::new(), text).ok()?;
        Some(STANDARD.encode(signature.as_ref()))
    }
}

/// The network's public key.
pub(super) struct NetworkKey(ParsedPublicKey);

impl NetworkKey {
    pub(super) fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?;
        let point = crate::keys::p256_point(&der)?;
        ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).ok().map(Self)
    }

    /// Verifies an answer to the request with this nonce; its time is returned.
    pub(super) fn verify(&self, answer: &Answer, nonce: &str) -> Option<Timestamp> {
        let header = |name| header(&answer.headers, name);
        let (timestamp, echoed) = (header("sim-timestamp")?, header("sim-nonce")?);
        let signature = STANDARD.decode(header("sim-signature")?).ok()?;
        let seconds: i64 = timestamp.parse().ok()?;
        let near = Timestamp::now().as_second().abs_diff(seconds) <= ANSWER_WINDOW_SECONDS;
        if echoed != nonce || !near {
            return None;
        }
        let mut text = format!("{}\n{timestamp}\n{nonce}\n", answer.status).into_bytes();
        text.extend_from_slice(&answer.body);
        text.push(b'\n');
        self.0.verify_sig(&text, &signature).ok()?;
        Timestamp::from_second(seconds).ok()
    }
}
