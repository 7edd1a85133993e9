//! The three ways to sign: with a certificate over the hex of the digest, or
//! with a shared key and SHA-256 or SM3.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use sm3::{Digest, Sm3};

use crate::form::{Fields, signed_text};
use crate::networks::{Union, UnionMerchant};
use crate::rsa::VerifyingKey;

pub(super) const SIGNATURE: &str = "signature";
pub(super) const CERTIFICATE: &str = "signPubKeyCert";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SignMethod {
    Certificate,
    Sha256,
    Sm3,
}

impl SignMethod {
    pub(super) fn read(text: &str) -> Option<Self> {
        match text {
            "01" => Some(Self::Certificate),
            "11" => Some(Self::Sha256),
            "12" => Some(Self::Sm3),
            _ => None,
        }
    }

    fn hex(self, text: &str) -> String {
        match self {
            Self::Certificate | Self::Sha256 => hex::encode(digest(&SHA256, text.as_bytes())),
            Self::Sm3 => hex::encode(Sm3::digest(text.as_bytes())),
        }
    }

    /// The signature of the methods with a shared key.
    pub(super) fn keyed(self, text: &str, key: &str) -> String {
        self.hex(&format!("{text}&{}", self.hex(key)))
    }
}

/// Is a message signed by a certificate's key?
pub(super) fn is_certified(fields: &Fields, key: &VerifyingKey) -> bool {
    let text = SignMethod::Certificate.hex(&signed_text(fields, &[SIGNATURE]));
    fields.get(SIGNATURE).is_some_and(|signature| key.verifies(text.as_bytes(), signature))
}

/// Is a message signed by its merchant?
pub(super) fn verifies(fields: &Fields, merchant: &UnionMerchant, method: SignMethod) -> bool {
    if method == SignMethod::Certificate {
        let key = fields.get("certId").and_then(|id| merchant.keys.get(id));
        return key.is_some_and(|key| is_certified(fields, key));
    }
    let (Some(secret), Some(sent)) = (&merchant.secure_key, fields.get(SIGNATURE)) else { return false };
    let right = method.keyed(&signed_text(fields, &[SIGNATURE]), secret);
    verify_slices_are_equal(right.as_bytes(), sent.as_bytes()).is_ok()
}

/// Signs a message of the network; `added` makes the signature a wrong one.
pub(super) fn sign(
    fields: &mut Fields,
    union: &Union,
    merchant: Option<&UnionMerchant>,
    added: &str,
) -> Option<()> {
    let method = fields.get("signMethod").and_then(|text| SignMethod::read(text));
    let secret = merchant.and_then(|merchant| merchant.secure_key.as_ref());
    let signature = match (method, secret) {
        (Some(method @ (SignMethod::Sha256 | SignMethod::Sm3)), Some(secret)) => {
            method.keyed(&format!("{}{added}", signed_text(fields, &[SIGNATURE])), secret)
        }
        _ => {
            fields.insert("signMethod".to_owned(), "01".to_owned());
            let certificate = union.certificate.replace("\r\n", "\n").replace('\n', "\r\n");
            fields.insert(CERTIFICATE.to_owned(), certificate);
            let text = SignMethod::Certificate.hex(&signed_text(fields, &[SIGNATURE]));
            union.key.sign(format!("{text}{added}").as_bytes())?
        }
    };
    fields.insert(SIGNATURE.to_owned(), signature);
    Some(())
}
