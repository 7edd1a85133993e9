//! A key that verifies, of any algorithm.

use aws_lc_rs::hmac::{HMAC_SHA256, Key, verify};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA512,
};
use hmac::{Hmac, KeyInit, Mac};
use sm2::dsa::signature::Verifier;
use sm2::dsa::{Signature, VerifyingKey as Sm2Key};

use super::algorithm::Algorithm;

/// Who signs, as SM2 hashes it in: the default of GM/T 0009.
pub const SM2_USER_ID: &str = "1234567812345678";

type HmacSm3 = Hmac<sm3::Sm3>;

/// It has no Debug: it may be a secret.
pub struct VerifyingKey {
    pub algorithm: Algorithm,
    kind: Kind,
}

enum Kind {
    Public(ParsedPublicKey),
    Sm2(Box<Sm2Key>),
    Shared(Box<Key>),
    SharedSm3(Box<HmacSm3>),
}

impl VerifyingKey {
    /// From a point (elliptic curves), a SubjectPublicKeyInfo (RSA) or a secret.
    #[must_use]
    pub fn new(algorithm: Algorithm, material: &[u8]) -> Option<Self> {
        let kind = match algorithm {
            Algorithm::EcdsaP256Sha256 => {
                Kind::Public(ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, material).ok()?)
            }
            Algorithm::RsaPssSha512 => {
                Kind::Public(ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA512, material).ok()?)
            }
            Algorithm::RsaV15Sha256 => {
                Kind::Public(ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, material).ok()?)
            }
            Algorithm::Sm2Sm3 => Kind::Sm2(Box::new(Sm2Key::from_sec1_bytes(SM2_USER_ID, material).ok()?)),
            Algorithm::HmacSha256 => Kind::Shared(Box::new(Key::new(HMAC_SHA256, material))),
            Algorithm::HmacSm3 => Kind::SharedSm3(Box::new(HmacSm3::new_from_slice(material).ok()?)),
        };
        Some(Self { algorithm, kind })
    }

    /// Is it this key's signature of the text? A tag is compared whole, in constant time.
    #[must_use]
    pub fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        match &self.kind {
            Kind::Public(key) => key.verify_sig(text, signature).is_ok(),
            Kind::Sm2(key) => {
                Signature::from_slice(signature).is_ok_and(|signature| key.verify(text, &signature).is_ok())
            }
            Kind::Shared(key) => verify(key, text, signature).is_ok(),
            Kind::SharedSm3(key) => key.clone().chain_update(text).verify_slice(signature).is_ok(),
        }
    }
}
