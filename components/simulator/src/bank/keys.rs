//! Keys of both sides: ECDSA P-256, named by the digest of their public part.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use crate::keys::SPKI_PREFIX;

const POINT_LENGTH: usize = 65;

/// The first 16 hexadecimal digits of the DER's SHA-256.
fn id(spki: &[u8]) -> String {
    digest(&SHA256, spki).as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The bank's own key. It has no Debug: it is a secret.
pub struct BankKey {
    pub id: String,
    pair: EcdsaKeyPair,
}

impl BankKey {
    #[must_use]
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der()).ok()?;
        Some(Self { id: id(&[&SPKI_PREFIX, pair.public_key().as_ref()].concat()), pair })
    }

    pub(super) fn sign(&self, text: &str) -> Option<String> {
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).ok()?;
        Some(STANDARD.encode(signature.as_ref()))
    }
}

/// A participant's public key.
pub struct ParticipantKey {
    pub id: String,
    key: UnparsedPublicKey<Vec<u8>>,
}

impl ParticipantKey {
    #[must_use]
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?;
        let point = der.strip_prefix(&SPKI_PREFIX).filter(|point| point.len() == POINT_LENGTH)?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point.to_vec());
        Some(Self { id: id(&der), key })
    }

    pub(super) fn verifies(&self, text: &str, signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        self.key.verify(text.as_bytes(), &signature).is_ok()
    }
}
