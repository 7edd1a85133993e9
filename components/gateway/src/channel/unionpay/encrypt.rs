//! Whose card it is, encrypted for UnionPay alone (AcpSDK `AcpService.encryptData`,
//! `getCustomerInfoWithEncrypt`): RSA, PKCS#1 v1.5, by the certificate that UnionPay gives for that.

use aws_lc_rs::rsa::{Pkcs1PublicEncryptingKey, PublicEncryptingKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::certificate::key_and_id;
use super::fields::join;

pub(super) const ENCRYPTION_CERTIFICATE: &str = "certificate of an RSA key of 2048 bits or more (PEM)";
const BITS_MIN: usize = 2048;

/// The certificate that fields are encrypted for.
pub(super) struct Encryption {
    key: Pkcs1PublicEncryptingKey,
    /// `encryptCertId`: its serial number, decimal.
    pub certificate_id: String,
}

/// Else it would be read as two.
pub(super) fn is_one_field(text: &str) -> bool {
    !text.contains(['&', '=', '{', '}', '[', ']'])
}

impl Encryption {
    pub(super) fn from_pem(pem: &[u8]) -> Option<Self> {
        let (key, certificate_id) = key_and_id(pem)?;
        let key = Pkcs1PublicEncryptingKey::new(PublicEncryptingKey::from_der(&key).ok()?).ok()?;
        (key.key_size_bits() >= BITS_MIN).then_some(Self { key, certificate_id })
    }

    /// None where it is too long.
    pub(super) fn encrypt(&self, text: &str) -> Option<String> {
        let mut encrypted = vec![0; self.key.ciphertext_size()];
        let encrypted = self.key.encrypt(text.as_bytes(), &mut encrypted).ok()?;
        Some(STANDARD.encode(encrypted))
    }

    /// `customerInfo`. As UnionPay's kit has it, phone numbers are encrypted, names and codes stand
    /// beside. None where a text would be read as another field.
    pub(super) fn customer(&self, phone: &str, beside: &[(&str, &str)]) -> Option<String> {
        let mut texts = beside.iter().map(|(_, text)| *text).chain([phone]);
        if !texts.all(is_one_field) {
            return None;
        }
        let encrypted = self.encrypt(&join([("phoneNo", phone)].into_iter()))?;
        let all = beside.iter().copied().chain([("encryptedInfo", encrypted.as_str())]);
        Some(STANDARD.encode(format!("{{{}}}", join(all))))
    }
}
