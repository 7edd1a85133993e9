//! Public keys of apps: read from PEM at registration, and from the database,
//! cached for a moment, at every request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::signature::{EcdsaKeyPair, EcdsaSigningAlgorithm, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use crate::store::{Store, StoreError};

/// A key that was withdrawn is refused after this time at the latest.
const FRESH: Duration = Duration::from_secs(2);
const CACHED_MAX: usize = 4096;

/// SubjectPublicKeyInfo of an uncompressed P-256 point (RFC 5480), up to the point.
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const POINT_LENGTH: usize = 65;

/// The point of a DER public key, if it is one of P-256 and uncompressed.
#[must_use]
pub fn p256_point(der: &SubjectPublicKeyInfoDer<'_>) -> Option<Vec<u8>> {
    let point = der.strip_prefix(SPKI_P256.as_slice())?;
    (point.len() == POINT_LENGTH && point.first() == Some(&4)).then(|| point.to_vec())
}

/// Reads a public key as an administrator gives it, or says what is wrong.
pub fn read_pem(pem: &str) -> Result<Vec<u8>, &'static str> {
    if pem.contains("PRIVATE KEY") {
        return Err("holds a private key; it must never leave its owner: make a new pair");
    }
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes())
        .map_err(|_| "is not the PEM of a public key (-----BEGIN PUBLIC KEY-----)")?;
    let point = p256_point(&der).ok_or("is not an ECDSA P-256 key")?;
    crate::signature::public_key(&point).ok_or("is not a point of P-256")?;
    Ok(point)
}

/// The DER of a point's SubjectPublicKeyInfo.
#[must_use]
pub fn spki(point: &[u8]) -> Vec<u8> {
    [SPKI_P256.as_slice(), point].concat()
}

/// Writes a point as the PEM that it was read from.
#[must_use]
pub fn pem(point: &[u8]) -> String {
    let text = STANDARD.encode(spki(point));
    let (first, second) = text.split_at(text.len().min(64));
    format!("-----BEGIN PUBLIC KEY-----\n{first}\n{second}\n-----END PUBLIC KEY-----\n")
}

/// Reads an ECDSA P-256 private key, PKCS#8 PEM, to sign in one of the two forms.
#[must_use]
pub fn signing_key(pem: &[u8], form: &'static EcdsaSigningAlgorithm) -> Option<EcdsaKeyPair> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
    EcdsaKeyPair::from_pkcs8(form, der.secret_pkcs8_der()).ok()
}

type Cached = HashMap<(String, String), (Instant, Arc<ParsedPublicKey>)>;

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
        store: &Store,
        app: &str,
        key_id: &str,
    ) -> Result<Option<Arc<ParsedPublicKey>>, StoreError> {
        let name = (app.to_owned(), key_id.to_owned());
        if let Some(key) = self.cached(&name) {
            return Ok(Some(key));
        }
        let point = store.app_key(app, key_id).await?;
        let Some(key) = point.and_then(|p| crate::signature::public_key(&p)).map(Arc::new) else {
            return Ok(None);
        };
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= CACHED_MAX {
            cached.retain(|_, (read_at, _)| read_at.elapsed() < FRESH);
        }
        if cached.len() < CACHED_MAX {
            cached.insert(name, (Instant::now(), key.clone()));
        }
        Ok(Some(key))
    }

    fn cached(&self, name: &(String, String)) -> Option<Arc<ParsedPublicKey>> {
        let cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        let (read_at, key) = cached.get(name)?;
        (read_at.elapsed() < FRESH).then(|| key.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::read_pem;

    #[test]
    fn only_p256_public_keys_are_taken() {
        let good = "-----BEGIN PUBLIC KEY-----\n\
            MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf\n\
            w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==\n\
            -----END PUBLIC KEY-----\n";
        assert_eq!(super::pem(&read_pem(good).unwrap()), good);
        let off_curve = good.replace("NnoXQ==", "NnoXg==");
        let ed25519 = "-----BEGIN PUBLIC KEY-----\n\
            MCowBQYDK2VwAyEAJrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs=\n-----END PUBLIC KEY-----\n";
        for (pem, why) in [
            ("", "PEM"),
            (ed25519, "P-256 key"),
            (off_curve.as_str(), "point"),
            ("-----BEGIN PRIVATE KEY-----\nMA==\n-----END PRIVATE KEY-----\n", "private"),
        ] {
            assert!(read_pem(pem).unwrap_err().contains(why), "{pem}");
        }
    }
}
