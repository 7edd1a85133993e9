//! Keys of apps: read at registration, and from the database, cached for a moment, at
//! every request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{EcdsaKeyPair, EcdsaSigningAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::data_key::DataKeys;
use crate::signature::algorithm::Algorithm;
use crate::signature::key::VerifyingKey;
use crate::store::{Store, StoreError};

/// A key that was withdrawn is refused after this time at the latest.
const FRESH: Duration = Duration::from_secs(2);
const CACHED_MAX: usize = 4096;

/// SubjectPublicKeyInfo of an uncompressed P-256 point (RFC 5480), up to the point.
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The same of SM2 (GM/T 0010, curve 1.2.156.10197.1.301).
const SPKI_SM2: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x81,
    0x1c, 0xcf, 0x55, 0x01, 0x82, 0x2d, 0x03, 0x42, 0x00,
];
const POINT_LENGTH: usize = 65;
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
const SECRET_LENGTH: std::ops::RangeInclusive<usize> = 32..=256;
const PEM_LINE: usize = 64;

/// The point of a DER public key, if it is one of P-256 and uncompressed.
#[must_use]
pub fn p256_point(der: &SubjectPublicKeyInfoDer<'_>) -> Option<Vec<u8>> {
    point(der, &SPKI_P256)
}

fn point(der: &[u8], before: &[u8]) -> Option<Vec<u8>> {
    let point = der.strip_prefix(before)?;
    (point.len() == POINT_LENGTH && point.first() == Some(&4)).then(|| point.to_vec())
}

/// Reads a public key as an administrator gives it, or says what is wrong.
pub fn read_pem(algorithm: Algorithm, pem: &str) -> Result<Vec<u8>, &'static str> {
    if pem.contains("PRIVATE KEY") {
        return Err("holds a private key; it must never leave its owner: make a new pair");
    }
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| "is not the PEM of a public key (-----BEGIN PUBLIC KEY-----)")?;
    let (material, what) = match algorithm {
        Algorithm::EcdsaP256Sha256 => (point(&der, &SPKI_P256), "is not an ECDSA P-256 key"),
        Algorithm::Sm2Sm3 => (point(&der, &SPKI_SM2), "is not an SM2 key"),
        Algorithm::RsaPssSha512 | Algorithm::RsaV15Sha256 => {
            (rsa(&der), "is not an RSA key of 2048 to 4096 bits")
        }
        Algorithm::HmacSha256 | Algorithm::HmacSm3 => (None, "has no public key; give its secret"),
    };
    let material = material.ok_or(what)?;
    VerifyingKey::new(algorithm, &material).ok_or("is no key of this algorithm: no point of its curve?")?;
    Ok(material)
}

/// A SubjectPublicKeyInfo of RSA, whole.
fn rsa(der: &[u8]) -> Option<Vec<u8>> {
    let (rest, info) = SubjectPublicKeyInfo::from_der(der).ok()?;
    let Ok(PublicKey::RSA(key)) = info.parsed() else { return None };
    (rest.is_empty() && RSA_BITS.contains(&key.key_size())).then(|| der.to_vec())
}

/// Reads a secret that both sides keep.
pub fn read_secret(text: &str) -> Result<Vec<u8>, &'static str> {
    let secret = STANDARD.decode(text).ok().filter(|secret| SECRET_LENGTH.contains(&secret.len()));
    secret.ok_or("must be 32 to 256 random bytes in base64: openssl rand -base64 32")
}

/// Writes a public key as the PEM that it was read from. A secret is never told.
#[must_use]
pub fn pem(algorithm: Algorithm, material: &[u8]) -> Option<String> {
    let der = match algorithm {
        Algorithm::EcdsaP256Sha256 => [SPKI_P256.as_slice(), material].concat(),
        Algorithm::Sm2Sm3 => [SPKI_SM2.as_slice(), material].concat(),
        Algorithm::RsaPssSha512 | Algorithm::RsaV15Sha256 => material.to_vec(),
        Algorithm::HmacSha256 | Algorithm::HmacSm3 => return None,
    };
    let text = STANDARD.encode(der);
    let (mut lines, mut rest) = (String::from("-----BEGIN PUBLIC KEY-----\n"), text.as_str());
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(PEM_LINE));
        lines.push_str(line);
        lines.push('\n');
        rest = after;
    }
    Some(lines + "-----END PUBLIC KEY-----\n")
}

/// What a secret is sealed for: elsewhere in the database it is worth nothing.
#[must_use]
pub fn whose(app: &str, key_id: &str, algorithm: Algorithm) -> String {
    format!("{app}/{key_id}/{algorithm}")
}

/// The DER of a point's SubjectPublicKeyInfo.
#[must_use]
pub fn spki(point: &[u8]) -> Vec<u8> {
    [SPKI_P256.as_slice(), point].concat()
}

/// Reads an ECDSA P-256 private key, PKCS#8 PEM, to sign in one of the two forms.
#[must_use]
pub fn signing_key(pem: &[u8], form: &'static EcdsaSigningAlgorithm) -> Option<EcdsaKeyPair> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
    EcdsaKeyPair::from_pkcs8(form, der.secret_pkcs8_der()).ok()
}

type Cached = HashMap<(String, String), (Instant, Arc<VerifyingKey>)>;

/// Keys that were read from the database a moment ago.
#[derive(Default)]
pub struct KeyCache {
    cached: Mutex<Cached>,
}

impl KeyCache {
    /// The key of an app; none where it is not registered. Only keys that are
    /// there are kept, so a new one works at once.
    pub async fn get(
        &self,
        (store, data): (&Store, &DataKeys),
        app: &str,
        key_id: &str,
    ) -> Result<Option<Arc<VerifyingKey>>, StoreError> {
        let name = (app.to_owned(), key_id.to_owned());
        if let Some(key) = self.cached(&name) {
            return Ok(Some(key));
        }
        // It may be withdrawn while it is read.
        let read_at = Instant::now();
        let Some((algorithm, material)) = store.app_key(app, key_id).await? else { return Ok(None) };
        let Some(key) = usable(data, (app, key_id), &algorithm, material).map(Arc::new) else {
            // The keeper of the vault looks at all of them, and tells of it once.
            tracing::info!(app, key_id, algorithm, "a key does not open, or is none");
            return Ok(None);
        };
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= CACHED_MAX {
            cached.retain(|_, (read_at, _)| read_at.elapsed() < FRESH);
        }
        if cached.len() < CACHED_MAX {
            cached.insert(name, (read_at, key.clone()));
        }
        Ok(Some(key))
    }

    fn cached(&self, name: &(String, String)) -> Option<Arc<VerifyingKey>> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, key) = cached.get(name)?;
        (read_at.elapsed() < FRESH).then(|| key.clone())
    }
}

/// A key as it is stored, made ready.
fn usable(
    data: &DataKeys,
    (app, key_id): (&str, &str),
    algorithm: &str,
    material: Vec<u8>,
) -> Option<VerifyingKey> {
    let algorithm = Algorithm::parse(algorithm)?;
    let material =
        if algorithm.is_shared() { data.open(&whose(app, key_id, algorithm), &material)? } else { material };
    VerifyingKey::new(algorithm, &material)
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf\n\
        w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==\n\
        -----END PUBLIC KEY-----\n";
    const ED25519: &str = "-----BEGIN PUBLIC KEY-----\n\
        MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n-----END PUBLIC KEY-----\n";
    /// openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:SM2 | openssl pkey -pubout
    const SM2: &str = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoEcz1UBgi0DQgAE8YgGNLLY2a10Hz4Gc1Z4P71Ct4By\n\
        ThK4191ChVtj0lBixI2QaByIFd3cLcogT8sOLwtyqLG8G4G7IRV+OqVoTw==\n\
        -----END PUBLIC KEY-----\n";
    /// openssl genrsa 1024 | openssl rsa -pubout
    const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----\n\
        MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCxUjN7jjLvOWWqoe5F9Ii/JZii\n\
        E/dvjZOB9WMj73ZDvstSIqXv/C88pZxGPRy2cBFT0SUhpFNwxYEMdHvYdKSbCxTm\n\
        rzejV3sx1OcjgwvCMV7gGwlhaBpxvCZsjq3fdNHdqbNQBApXtmUhSYBqqubO5oYT\n\
        DQ0xyxXwQKNQ7XvlyQIDAQAB\n\
        -----END PUBLIC KEY-----\n";

    #[test]
    fn a_public_key_is_one_of_its_algorithm() {
        let (_, rsa) = crate::channel::rsa::test_pair();
        let off_curve = P256.replace("NnoXQ==", "NnoXg==");
        let private = "-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n";
        for algorithm in Algorithm::ALL {
            for (kind, pem) in [
                ("P-256", P256),
                ("SM2", SM2),
                ("RSA", &rsa),
                ("", ED25519),
                ("", &off_curve),
                ("", RSA_1024),
            ] {
                let fits = match algorithm {
                    Algorithm::EcdsaP256Sha256 => kind == "P-256",
                    Algorithm::RsaPssSha512 | Algorithm::RsaV15Sha256 => kind == "RSA",
                    Algorithm::Sm2Sm3 => kind == "SM2",
                    Algorithm::HmacSha256 | Algorithm::HmacSm3 => false,
                };
                let read = read_pem(algorithm, pem);
                assert_eq!(read.is_ok(), fits, "{algorithm} {kind} {read:?}");
                if let Ok(material) = read {
                    let again = super::pem(algorithm, &material).unwrap();
                    assert_eq!(read_pem(algorithm, &again), Ok(material));
                    assert!(kind == "RSA" || again == pem, "{again}");
                }
            }
            assert!(read_pem(algorithm, "").unwrap_err().contains("PEM"));
            assert!(read_pem(algorithm, private).unwrap_err().contains("private"));
        }
        assert!(read_pem(Algorithm::EcdsaP256Sha256, &off_curve).unwrap_err().contains("point"));
    }

    #[test]
    fn a_secret_is_long_enough_and_told_to_nobody() {
        for (length, good) in [(0, false), (31, false), (32, true), (256, true), (257, false)] {
            assert_eq!(read_secret(&STANDARD.encode(vec![1; length])).is_ok(), good, "{length}");
        }
        assert!(read_secret(&"*".repeat(44)).is_err());
        assert!(super::pem(Algorithm::HmacSha256, &[1; 32]).is_none());
        assert!(super::pem(Algorithm::HmacSm3, &[1; 32]).is_none());
    }
}
