//! Signatures of the network's own kind: ECDSA P-256 with SHA-256 in DER, over
//! lines of text. Keys are read from PEM.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};
use snafu::{OptionExt, ResultExt, Snafu};

/// DER of a SubjectPublicKeyInfo for P-256 up to the uncompressed point.
pub(crate) const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const POINT_LENGTH: usize = 65;
const MERCHANTS_MAX: usize = 1000;

#[derive(Debug, Snafu)]
pub enum KeyError {
    #[snafu(display("cannot read {}", path.display()))]
    Read { path: PathBuf, source: std::io::Error },
    #[snafu(display("{what} is not an ECDSA P-256 key in PEM"))]
    Unusable { what: String },
    #[snafu(display("this is not a JSON list of merchants"))]
    Merchants { source: serde_json::Error },
    #[snafu(display("more than {MERCHANTS_MAX} merchants are listed, or one twice"))]
    MerchantsList,
}

/// A merchant of the network, as the merchants' file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Merchant {
    pub merchant_id: String,
    pub public_key_pem: String,
}

/// The key that signs answers. It has no Debug: it is a secret.
pub struct NetworkKey(EcdsaKeyPair);

impl NetworkKey {
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let pem = std::fs::read(path).context(ReadSnafu { path })?;
        let unusable = UnusableSnafu { what: path.display().to_string() };
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).ok().context(unusable.clone())?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der());
        Ok(Self(pair.ok().context(unusable)?))
    }

    /// Signs a text; base64 of the DER signature.
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> Option<String> {
        let signature = self.0.sign(&SystemRandom::new(), text).ok()?;
        Some(STANDARD.encode(signature.as_ref()))
    }
}

/// The merchants' public keys.
pub struct MerchantKeys(HashMap<String, UnparsedPublicKey<Vec<u8>>>);

impl MerchantKeys {
    /// Reads the merchants' file.
    pub fn parse(json: &[u8]) -> Result<Self, KeyError> {
        let merchants: Vec<Merchant> = serde_json::from_slice(json).context(MerchantsSnafu)?;
        let count = merchants.len();
        let keys: HashMap<_, _> = merchants.into_iter().map(public_key).collect::<Result<_, _>>()?;
        if keys.len() != count || count > MERCHANTS_MAX {
            return MerchantsListSnafu.fail();
        }
        Ok(Self(keys))
    }

    /// Is this base64 text the merchant's signature over these bytes?
    #[must_use]
    pub fn verifies(&self, merchant: &str, text: &[u8], signature: &str) -> bool {
        let Some(key) = self.0.get(merchant) else { return false };
        STANDARD.decode(signature).is_ok_and(|signature| key.verify(text, &signature).is_ok())
    }
}

fn public_key(merchant: Merchant) -> Result<(String, UnparsedPublicKey<Vec<u8>>), KeyError> {
    let unusable = UnusableSnafu { what: format!("the public key of merchant {}", merchant.merchant_id) };
    let der = SubjectPublicKeyInfoDer::from_pem_slice(merchant.public_key_pem.as_bytes()).ok();
    let der = der.context(unusable.clone())?;
    let point = der.strip_prefix(&SPKI_PREFIX).filter(|point| point.len() == POINT_LENGTH);
    let point = point.context(unusable)?.to_vec();
    Ok((merchant.merchant_id, UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point)))
}
