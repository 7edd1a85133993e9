//! Notifications, and one-time codes for the bank's sender, are signed by RFC 9421 with a key of the tenant, whose public part is
//! `notify.pub` in its trust bundle.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use payplane_common::telemetry::chain;
use reqwest::Url;
use snafu::{OptionExt, ResultExt, Snafu};

#[derive(Debug, Snafu)]
pub enum NotifyKeyError {
    #[snafu(display("cannot read {}", path.display()))]
    Read { path: PathBuf, source: std::io::Error },
    #[snafu(display("{} holds no ECDSA P-256 private key (PKCS#8 PEM)", path.display()))]
    Unusable { path: PathBuf },
}

/// It has no Debug: it is a secret.
pub struct NotifyKey {
    path: PathBuf,
    pair: EcdsaKeyPair,
    /// Names the key among those in `notify.pub`.
    key_id: String,
}

impl NotifyKey {
    pub fn load(path: &Path) -> Result<Self, NotifyKeyError> {
        let pem = std::fs::read(path).context(ReadSnafu { path })?;
        let pair = crate::keys::signing_key(&pem, &ECDSA_P256_SHA256_FIXED_SIGNING);
        let pair = pair.context(UnusableSnafu { path })?;
        let key_id = key_id(pair.public_key().as_ref());
        Ok(Self { path: path.to_owned(), pair, key_id })
    }

    /// Another key, where the file holds one by now.
    #[must_use]
    pub fn newer(&self) -> Option<Self> {
        let newer = Self::load(&self.path);
        let newer = newer.inspect_err(|error| tracing::info!(error = chain(error), "key kept")).ok()?;
        (newer.key_id != self.key_id).then(|| {
            tracing::info!(key_id = newer.key_id, "notifications are signed with another key");
            newer
        })
    }

    /// The headers of a POST with this body, signed at `created` (Unix seconds).
    #[must_use]
    pub fn sign(&self, url: &Url, body: &[u8], created: i64, nonce: &str) -> Option<HeaderMap> {
        let (text, input, content_digest) = base(url, body, created, nonce, &self.key_id);
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes()).ok()?;
        let signature = format!("sig1=:{}:", STANDARD.encode(signature.as_ref()));
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("content-digest", content_digest), ("signature-input", input), ("signature", signature)]
        {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?);
        }
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Some(headers)
    }
}

/// The key in use, for all who sign with it.
#[derive(Clone)]
pub struct FollowedKey(Arc<RwLock<Arc<NotifyKey>>>);

impl FollowedKey {
    #[must_use]
    pub fn new(key: NotifyKey) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(key))))
    }

    #[must_use]
    pub fn now(&self) -> Arc<NotifyKey> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Signs with a newer key from now on, where there is one.
    pub fn follow(&self) {
        if let Some(newer) = self.now().newer() {
            *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(newer);
        }
    }
}

/// The first 16 hexadecimal digits of the SHA-256 of the uncompressed point.
fn key_id(point: &[u8]) -> String {
    payplane_api::config::hash(point).chars().take(16).collect()
}

/// The text that is signed, the Signature-Input header and the Content-Digest.
fn base(url: &Url, body: &[u8], created: i64, nonce: &str, key_id: &str) -> (String, String, String) {
    let content_digest = format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, body)));
    let params = format!(
        "(\"@method\" \"@target-uri\" \"content-digest\")\
         ;created={created};nonce=\"{nonce}\";keyid=\"{key_id}\";alg=\"ecdsa-p256-sha256\""
    );
    let text = format!(
        "\"@method\": POST\n\"@target-uri\": {url}\n\"content-digest\": {content_digest}\n\
         \"@signature-params\": {params}"
    );
    (text, format!("sig1={params}"), content_digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signed_text_is_that_of_the_standard() {
        let url = "https://shop.example/paid".parse().unwrap();
        let (text, input, digest) = base(&url, b"{}", 1_700_000_000, "n", "k");
        let params = "(\"@method\" \"@target-uri\" \"content-digest\");created=1700000000;nonce=\"n\";\
            keyid=\"k\";alg=\"ecdsa-p256-sha256\"";
        assert_eq!(input, format!("sig1={params}"));
        assert_eq!(digest, "sha-256=:RBNvo1WzZ4oRRq0W9+hknpT7T8If536DEMBg9hyq/4o=:");
        let lines = ["\"@method\": POST", "\"@target-uri\": https://shop.example/paid"];
        let last = [format!("\"content-digest\": {digest}"), format!("\"@signature-params\": {params}")];
        assert_eq!(text.lines().collect::<Vec<_>>(), [lines[0], lines[1], &last[0], &last[1]]);
    }
}
