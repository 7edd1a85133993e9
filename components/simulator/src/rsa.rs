//! RSA with SHA-256 and PKCS#1 v1.5, which all three networks sign with. Keys
//! are parsed once.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{Pkcs1PrivateDecryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use snafu::{OptionExt, Snafu};
use x509_parser::prelude::{FromDer, X509Certificate};

#[derive(Debug, Snafu)]
pub enum RsaError {
    #[snafu(display("{what} is not an RSA private key of at least 2048 bits in PKCS#8 PEM"))]
    Private { what: String },
    #[snafu(display("{what} is not an RSA public key of at least 2048 bits in PEM"))]
    Public { what: String },
    #[snafu(display("{what} is not a PEM certificate with such a key"))]
    Certificate { what: String },
}

/// A key that signs. It has no Debug: it is a secret.
pub struct SigningKey(RsaKeyPair);

impl SigningKey {
    pub fn from_pem(pem: &[u8], what: &str) -> Result<Self, RsaError> {
        let unusable = PrivateSnafu { what };
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok().context(unusable)?;
        Ok(Self(RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).ok().context(unusable)?))
    }

    /// Signs a text; base64.
    #[must_use]
    pub fn sign(&self, text: &[u8]) -> Option<String> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature).ok()?;
        Some(STANDARD.encode(signature))
    }
}

/// A key that decrypts (PKCS#1 v1.5). It has no Debug: it is a secret.
pub struct DecryptingKey(Pkcs1PrivateDecryptingKey);

impl DecryptingKey {
    pub fn from_pem(pem: &[u8], what: &str) -> Result<Self, RsaError> {
        let unusable = PrivateSnafu { what };
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem).ok().context(unusable)?;
        let key = PrivateDecryptingKey::from_pkcs8(der.secret_pkcs8_der()).ok().context(unusable)?;
        Ok(Self(Pkcs1PrivateDecryptingKey::new(key).ok().context(unusable)?))
    }

    /// The text that stands in base64 behind its encryption.
    #[must_use]
    pub fn decrypt(&self, text: &str) -> Option<String> {
        let encrypted = STANDARD.decode(text).ok()?;
        let mut plain = vec![0; self.0.min_output_size()];
        let plain = self.0.decrypt(&encrypted, &mut plain).ok()?;
        String::from_utf8(plain.to_vec()).ok()
    }
}

/// A key that verifies.
pub struct VerifyingKey(ParsedPublicKey);

impl VerifyingKey {
    pub fn from_pem(pem: &[u8], what: &str) -> Result<Self, RsaError> {
        let unusable = PublicSnafu { what };
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok().context(unusable)?;
        Self::from_spki(&der).context(unusable)
    }

    fn from_spki(der: &[u8]) -> Option<Self> {
        Some(Self(ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).ok()?))
    }

    /// Is this base64 text the key's signature over these bytes?
    #[must_use]
    pub fn verifies(&self, text: &[u8], signature: &str) -> bool {
        STANDARD.decode(signature).is_ok_and(|signature| self.0.verify_sig(text, &signature).is_ok())
    }
}

/// A certificate's key, and its serial number as a big-endian number.
pub struct Certified {
    pub key: VerifyingKey,
    pub serial: Vec<u8>,
}

impl Certified {
    pub fn from_pem(pem: &[u8], what: &str) -> Result<Self, RsaError> {
        let unusable = CertificateSnafu { what };
        let der = CertificateDer::from_pem_slice(pem).ok().context(unusable)?;
        let (_, certificate) = X509Certificate::from_der(&der).ok().context(unusable)?;
        let key = VerifyingKey::from_spki(certificate.public_key().raw).context(unusable)?;
        Ok(Self { key, serial: certificate.tbs_certificate.serial.to_bytes_be() })
    }

    /// The serial number as WeChat Pay writes it: upper-case hex.
    #[must_use]
    pub fn serial_hex(&self) -> String {
        hex::encode_upper(&self.serial)
    }

    /// The serial number as UnionPay writes it: decimal.
    #[must_use]
    pub fn serial_decimal(&self) -> String {
        let mut digits = vec![0u8];
        for byte in &self.serial {
            let mut carry = u32::from(*byte);
            for digit in &mut digits {
                let value = u32::from(*digit).wrapping_mul(256).wrapping_add(carry);
                *digit = u8::try_from(value.rem_euclid(10)).unwrap_or_default();
                carry = value.div_euclid(10);
            }
            while carry > 0 {
                digits.push(u8::try_from(carry.rem_euclid(10)).unwrap_or_default());
                carry = carry.div_euclid(10);
            }
        }
        digits.iter().rev().map(|digit| (b'0'.wrapping_add(*digit)) as char).collect()
    }
}
