//! What a channel's Secret must hold: the gateway would refuse its whole config
//! for one key that it cannot use, so each is read here first.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, ParsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde_json::Value;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

const BYTES_MAX: usize = 64 * 1024;

/// A key of a Secret, and the file that the gateway gets of it.
pub struct KeyFile {
    pub key: &'static str,
    pub suffix: &'static str,
    pub what: &'static str,
    pub is_usable: fn(&[u8]) -> bool,
}

/// What the simulated network needs.
pub const SIMULATOR: [KeyFile; 3] = [
    KeyFile {
        key: "merchant.key",
        suffix: "key",
        what: "an ECDSA P-256 private key (PKCS#8 PEM)",
        is_usable: is_private_key,
    },
    KeyFile {
        key: "network.pub",
        suffix: "pub",
        what: "an ECDSA P-256 public key (PEM)",
        is_usable: is_public_key,
    },
    KeyFile { key: "ca.crt", suffix: "ca", what: "a CA certificate (PEM)", is_usable: is_bundle },
];

/// The bytes under a Secret's key, where they are there.
#[must_use]
pub fn bytes(secret: &Value, key: &str) -> Option<Vec<u8>> {
    STANDARD.decode(secret["data"][key].as_str()?).ok()
}

fn is_private_key(pem: &[u8]) -> bool {
    let Ok(der) = PrivatePkcs8KeyDer::from_pem_slice(pem) else { return false };
    pem.len() <= BYTES_MAX
        && EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der()).is_ok()
}

fn is_public_key(pem: &[u8]) -> bool {
    let Ok(der) = SubjectPublicKeyInfoDer::from_pem_slice(pem) else { return false };
    let Ok((_, info)) = SubjectPublicKeyInfo::from_der(&der) else { return false };
    let Ok(PublicKey::EC(point)) = info.parsed() else { return false };
    pem.len() <= BYTES_MAX && ParsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point.data()).is_ok()
}

fn is_bundle(pem: &[u8]) -> bool {
    pem.len() <= BYTES_MAX && are_certificates(pem)
}

/// One certificate or several, and nothing that is none.
#[must_use]
pub fn are_certificates(pem: &[u8]) -> bool {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let usable = |der: &CertificateDer<'_>| X509Certificate::from_der(der).is_ok();
    all.is_ok_and(|all| !all.is_empty() && all.iter().all(usable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_gateway_can_use_is_taken() {
        let pair = crate::pki::authority("t").unwrap();
        let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let [private, public, bundle] = SIMULATOR.map(|file| file.is_usable);
        assert!(private(p256.serialize_pem().as_bytes()));
        assert!(public(p256.public_key_pem().as_bytes()));
        assert!(bundle(pair.certificate.as_bytes()));
        assert!(bundle((pair.certificate.clone() + &pair.certificate).as_bytes()));
        for other in [&p384.serialize_pem(), &p384.public_key_pem(), "-----BEGIN EC PARAMETERS-----\n", ""] {
            assert!(!private(other.as_bytes()) && !public(other.as_bytes()), "{other}");
            assert!(!bundle(other.as_bytes()), "{other}");
        }
        assert!(!private(p256.public_key_pem().as_bytes()) && !public(p256.serialize_pem().as_bytes()));
    }
}
