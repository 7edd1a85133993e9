//! RSA with SHA-256 and PKCS#1 v1.5, base64: how the Chinese networks sign.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

pub const PRIVATE_KEY: &str = "RSA private key of 2048 bits or more (PKCS#8 PEM)";
pub const PUBLIC_KEY: &str = "RSA public key of 2048 bits or more (PEM)";
const BITS_MIN: usize = 2048;

/// A merchant's private key. It has no Debug: it is a secret.
pub struct SigningKey(KeyPair);

impl SigningKey {
    #[must_use]
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
        let pair = KeyPair::from_pkcs8(der.secret_pkcs8_der()).ok()?;
        (pair.public_modulus_len().saturating_mul(8) >= BITS_MIN).then_some(Self(pair))
    }

    #[must_use]
    pub fn sign(&self, text: &[u8]) -> Option<String> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).ok()?;
        Some(STANDARD.encode(signature))
    }
}

/// A network's public key.
pub struct VerifyingKey(ParsedPublicKey);

impl VerifyingKey {
    #[must_use]
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        Self::from_spki(&SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?)
    }

    /// From the DER of a SubjectPublicKeyInfo.
    #[must_use]
    pub fn from_spki(der: &[u8]) -> Option<Self> {
        ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).ok().map(Self)
    }

    #[must_use]
    pub fn verifies(&self, text: &[u8], signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        self.0.verify_sig(text, &signature).is_ok()
    }
}

/// A new pair for tests: the private key's PEM, and the public one's.
#[cfg(test)]
#[must_use]
pub fn test_pair() -> (String, String) {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
    use aws_lc_rs::signature::KeyPair as _;
    let pem = |label: &str, der: &[u8]| {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    };
    let pair = KeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
    (pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", public.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pair_and_the_text_verify() {
        let (private, public) = test_pair();
        let key = SigningKey::from_pem(private.as_bytes()).unwrap();
        let network = VerifyingKey::from_pem(public.as_bytes()).unwrap();
        let signature = key.sign(b"text").unwrap();
        assert!(network.verifies(b"text", &signature));
        for (text, signature) in [("Text", signature.as_str()), ("text", ""), ("text", "AAAA"), ("text", "*")]
        {
            assert!(!network.verifies(text.as_bytes(), signature), "{signature}");
        }
        assert!(SigningKey::from_pem(public.as_bytes()).is_none());
        assert!(VerifyingKey::from_pem(private.as_bytes()).is_none());
    }
}
