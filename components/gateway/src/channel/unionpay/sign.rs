//! UnionPay's signatures, 5.1.0 (AcpSDK `AcpService.sign`, `SDKUtil.validate`): over the
//! sorted fields without the signature. 01: RSA over the hex SHA-256 of the text, 11 and
//! 12: a digest of the text, `&` and the hex digest of a key that both sides know.

use std::borrow::Cow;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use jiff::Timestamp;
use payplane_api::config::hash as sha256;
use sm3::{Digest, Sm3};

use super::certificate::NetworkCa;
use super::fields::{Fields, SIGNATURE, encode_onto, join};
use crate::channel::rsa::SigningKey;

pub(super) const VERSION: &str = "5.1.0";
pub(super) const SECURE_KEY: &str = "secure key (one line)";

/// How both sides sign. It has no Debug: it holds secrets.
pub(super) enum Signer {
    Rsa { key: SigningKey, certificate_id: String, network: NetworkCa },
    Digest { digest: Hash, key: SecureKey },
}

#[derive(Clone, Copy)]
pub(super) enum Hash {
    Sha256,
    Sm3,
}

/// The hex digest of the key that both sides know: all that is ever used of it.
pub(super) struct SecureKey(String);

impl Hash {
    fn hex(self, text: &str) -> String {
        match self {
            Self::Sha256 => sha256(text.as_bytes()),
            Self::Sm3 => hex::encode(Sm3::digest(text.as_bytes())),
        }
    }

    pub(super) fn key(self, bytes: &[u8]) -> Option<SecureKey> {
        let text = std::str::from_utf8(bytes).ok()?.trim();
        let is_one_line = !text.is_empty() && !text.chars().any(char::is_control);
        is_one_line.then(|| SecureKey(self.hex(text)))
    }
}

impl Signer {
    pub(super) fn method(&self) -> &'static str {
        match self {
            Self::Rsa { .. } => "01",
            Self::Digest { digest: Hash::Sha256, .. } => "11",
            Self::Digest { digest: Hash::Sm3, .. } => "12",
        }
    }

    /// Signs the fields of a request; its form-encoded body is returned. Empty fields are
    /// neither signed nor sent.
    pub(super) fn sign<'f>(&'f self, mut fields: Vec<(&'static str, Cow<'f, str>)>) -> Option<String> {
        fields.push(("version", VERSION.into()));
        fields.push(("encoding", "UTF-8".into()));
        fields.push(("signMethod", self.method().into()));
        if let Self::Rsa { certificate_id, .. } = self {
            fields.push(("certId", certificate_id.as_str().into()));
        }
        fields.retain(|(_, value)| !value.is_empty());
        fields.sort_unstable_by_key(|(key, _)| *key);
        let text = join(fields.iter().map(|(key, value)| (*key, value.as_ref())));
        let signature = match self {
            Self::Rsa { key, .. } => key.sign(sha256(text.as_bytes()).as_bytes())?,
            Self::Digest { digest, key } => digest.hex(&format!("{text}&{}", key.0)),
        };
        let mut body = String::with_capacity(text.len().saturating_mul(2));
        for (key, value) in &fields {
            body.extend([*key, "="]);
            encode_onto(&mut body, value);
            body.push('&');
        }
        body.extend([SIGNATURE, "="]);
        encode_onto(&mut body, &signature);
        Some(body)
    }

    /// Did the network sign these fields, by the method that was agreed on?
    pub(super) fn verifies(&self, fields: &Fields<'_>, now: Timestamp) -> bool {
        let agreed = fields.is("version", VERSION) && fields.is("signMethod", self.method());
        let Some(signature) = fields.get(SIGNATURE).filter(|_| agreed) else { return false };
        let text = &fields.signed_text;
        match self {
            Self::Rsa { network, .. } => fields
                .get("signPubKeyCert")
                .and_then(|certificate| network.verified(certificate, now))
                .is_some_and(|signer| signer.key.verifies(sha256(text.as_bytes()).as_bytes(), signature)),
            Self::Digest { digest, key } => {
                let expected = digest.hex(&format!("{text}&{}", key.0));
                verify_slices_are_equal(expected.as_bytes(), signature.as_bytes()).is_ok()
            }
        }
    }
}
