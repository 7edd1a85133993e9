//! WeChat Pay's notifications: a signed envelope with a sealed resource
//! (pay.weixin.qq.com/doc/v3/merchant/4012791861, decryption /4012071382).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::message::{Refund, Transaction};
use crate::channel::notification::{About, Notification, Unproven};

pub(super) const API_V3_KEY: &str = "32 characters (the API v3 key)";

/// The key that resources are sealed with. It has no Debug: it is a secret.
pub(super) struct ApiV3Key(LessSafeKey);

#[derive(Deserialize)]
struct Envelope {
    event_type: String,
    resource: Resource,
}

#[derive(Deserialize)]
struct Resource {
    algorithm: String,
    ciphertext: String,
    nonce: String,
    #[serde(default)]
    associated_data: Option<String>,
}

impl ApiV3Key {
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?.trim_end();
        UnboundKey::new(&AES_256_GCM, text.as_bytes()).ok().map(|key| Self(LessSafeKey::new(key)))
    }

    fn open(&self, resource: &Resource) -> Option<Vec<u8>> {
        if resource.algorithm != "AEAD_AES_256_GCM" {
            return None;
        }
        let mut text = STANDARD.decode(&resource.ciphertext).ok()?;
        let nonce = Nonce::try_assume_unique_for_key(resource.nonce.as_bytes()).ok()?;
        let data = Aad::from(resource.associated_data.as_deref().unwrap_or_default());
        Some(self.0.open_in_place(nonce, data, &mut text).ok()?.to_vec())
    }
}

/// Reads the body of a notification whose signature verified.
pub(super) fn read(
    body: &[u8],
    key: &ApiV3Key,
    (mchid, appid): (&str, &str),
) -> Result<Notification, Unproven> {
    let envelope: Envelope =
        serde_json::from_slice(body).map_err(|_| Unproven::because("a notification that cannot be read"))?;
    let plain = key.open(&envelope.resource);
    let plain = plain.ok_or_else(|| Unproven::because("a resource that cannot be opened"))?;
    let unreadable = |_| Unproven::because("a resource that cannot be read");
    if envelope.event_type.starts_with("TRANSACTION.") {
        let transaction: Transaction = serde_json::from_slice(&plain).map_err(unreadable)?;
        if transaction.mchid != mchid || transaction.appid != appid {
            return Err(Unproven::because("a notification for another merchant"));
        }
        let outcome = transaction.outcome();
        return Ok(Notification {
            number: transaction.out_trade_no,
            about: About::Payment,
            currency: None,
            outcome,
        });
    }
    if envelope.event_type.starts_with("REFUND.") {
        let refund: Refund = serde_json::from_slice(&plain).map_err(unreadable)?;
        if refund.mchid.as_deref() != Some(mchid) {
            return Err(Unproven::because("a notification for another merchant"));
        }
        let outcome = refund.outcome();
        return Ok(Notification {
            number: refund.out_refund_no,
            about: About::Refund,
            currency: None,
            outcome,
        });
    }
    Err(Unproven::because(format!("a notification of {:?}", envelope.event_type)))
}
