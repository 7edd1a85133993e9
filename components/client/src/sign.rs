//! Signs a request by RFC 9421: method, path, query and the body's digest. `sorted` is the
//! other style.

use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::Url;

use crate::key::{Algorithm, KeyError, SigningKey};

/// Who signs.
pub struct Signer {
    pub(crate) key: SigningKey,
    pub(crate) app: String,
    pub(crate) key_id: String,
}

/// The headers that carry a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureHeaders {
    pub content_digest: String,
    pub signature_input: String,
    pub signature: String,
}

impl Signer {
    pub fn load(app: &str, key_id: &str, key: &Path) -> Result<Self, KeyError> {
        Self::with(app, key_id, key, Algorithm::default())
    }

    pub fn with(app: &str, key_id: &str, key: &Path, algorithm: Algorithm) -> Result<Self, KeyError> {
        let key = SigningKey::load(algorithm, key)?;
        Ok(Self { key, app: app.to_owned(), key_id: key_id.to_owned() })
    }

    /// Signs any text.
    #[must_use]
    pub fn sign_text(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.key.sign(text)
    }

    /// Signs a request that is about to leave.
    #[must_use]
    pub fn sign(&self, method: &str, url: &Url, body: &[u8]) -> Option<SignatureHeaders> {
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let key_id = format!("{}/{}", self.app, self.key_id);
        let with = (key_id.as_str(), self.key.algorithm.name());
        let (base, signature_input, content_digest) =
            base(method, url, body, with, Timestamp::now().as_second(), &nonce);
        let signature = format!("sig1=:{}:", STANDARD.encode(self.key.sign(base.as_bytes())?));
        Some(SignatureHeaders { content_digest, signature_input, signature })
    }
}

/// The text that is signed, the Signature-Input header and the Content-Digest.
fn base(
    method: &str,
    url: &Url,
    body: &[u8],
    (key_id, algorithm): (&str, &str),
    created: i64,
    nonce: &str,
) -> (String, String, String) {
    let content_digest = format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, body)));
    let params = format!(
        "(\"@method\" \"@path\" \"@query\" \"content-digest\")\
         ;created={created};nonce=\"{nonce}\";keyid=\"{key_id}\";alg=\"{algorithm}\""
    );
    let text = format!(
        "\"@method\": {method}\n\"@path\": {}\n\"@query\": ?{}\n\"content-digest\": {content_digest}\n\
         \"@signature-params\": {params}",
        url.path(),
        url.query().unwrap_or_default(),
    );
    (text, format!("sig1={params}"), content_digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_text_is_that_of_the_standard() {
        let url = "https://gateway.ptn-demo.svc:8443/v1/payments?a=b".parse().unwrap();
        let (text, input, digest) =
            base("POST", &url, b"{}", ("app1/k1", "ecdsa-p256-sha256"), 1_700_000_000, "0123456789abcdef");
        assert_eq!(digest, "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:");
        let params = "(\"@method\" \"@path\" \"@query\" \"content-digest\");created=1700000000;\
            nonce=\"0123456789abcdef\";keyid=\"app1/k1\";alg=\"ecdsa-p256-sha256\"";
        assert_eq!(input, format!("sig1={params}"));
        let expected = format!(
            "\"@method\": POST\n\"@path\": /v1/payments\n\"@query\": ?a=b\n\"content-digest\": {digest}\n\
             \"@signature-params\": {params}"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_signature_verifies_with_the_public_key() {
        use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
        use rustls_pki_types::SubjectPublicKeyInfoDer;
        use rustls_pki_types::pem::PemObject;
        let folder = tempfile::tempdir().unwrap();
        let (key, public) = (folder.path().join("app.key"), folder.path().join("app.pub"));
        crate::key::keygen(&crate::key::KeygenArgs { key: key.clone(), public: public.clone() }).unwrap();
        let signer = Signer::load("app1", "k1", &key).unwrap();
        let signature = signer.key.sign(b"text").unwrap();
        let pem = std::fs::read(&public).unwrap();
        let der = SubjectPublicKeyInfoDer::from_pem_slice(&pem).unwrap();
        let verifier = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &der[26..]);
        assert!(verifier.verify(b"text", &signature).is_ok());
        assert!(verifier.verify(b"other", &signature).is_err());
        let before = std::fs::read(&key).unwrap();
        crate::key::keygen(&crate::key::KeygenArgs { key: key.clone(), public: public.clone() }).unwrap();
        assert_eq!(std::fs::read(&key).unwrap(), before, "an existing key is kept");
    }
}
