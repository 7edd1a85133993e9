//! WeChat Pay's signatures: requests bear `Authorization`, answers and notifications
//! `Wechatpay-*` headers (pay.weixin.qq.com/doc/v3/merchant/4012365342, /4013053249).

use http::HeaderMap;
use jiff::Timestamp;

use crate::channel::connection::header;
use crate::channel::rsa::{SigningKey, VerifyingKey};

/// How far the network's clock may be from ours.
const WINDOW_SECONDS: u64 = 300;

/// The merchant's side.
pub(super) struct Merchant {
    pub mchid: String,
    pub serial: String,
    pub key: SigningKey,
}

impl Merchant {
    /// The value of `Authorization` for a request; `target` is its path with its query.
    pub(super) fn authorization(
        &self,
        (method, target): (&str, &str),
        body: &str,
        (seconds, nonce): (i64, &str),
    ) -> Option<String> {
        let text = format!("{method}\n{target}\n{seconds}\n{nonce}\n{body}\n");
        let signature = self.key.sign(text.as_bytes())?;
        let (mchid, serial) = (&self.mchid, &self.serial);
        Some(format!(
            "WECHATPAY2-SHA256-RSA2048 mchid=\"{mchid}\",nonce_str=\"{nonce}\",signature=\"{signature}\",\
             timestamp=\"{seconds}\",serial_no=\"{serial}\""
        ))
    }

    /// What the payer's WeChat wants to see signed before it pays (`paySign`).
    pub(super) fn pay_sign(
        &self,
        appid: &str,
        (seconds, nonce): (i64, &str),
        package: &str,
    ) -> Option<String> {
        self.key.sign(format!("{appid}\n{seconds}\n{nonce}\n{package}\n").as_bytes())
    }
}

/// The network's side.
pub(super) struct Network {
    pub key_id: String,
    pub key: VerifyingKey,
}

impl Network {
    /// Verifies an answer or a notification; its time is returned.
    pub(super) fn verify(&self, headers: &HeaderMap, body: &[u8]) -> Option<Timestamp> {
        let header = |name| header(headers, name);
        let (timestamp, nonce) = (header("wechatpay-timestamp")?, header("wechatpay-nonce")?);
        let (signature, serial) = (header("wechatpay-signature")?, header("wechatpay-serial")?);
        let seconds: i64 = timestamp.parse().ok()?;
        let near = Timestamp::now().as_second().abs_diff(seconds) <= WINDOW_SECONDS;
        if serial != self.key_id || !near {
            return None;
        }
        let mut text = format!("{timestamp}\n{nonce}\n").into_bytes();
        text.extend_from_slice(body);
        text.push(b'\n');
        if !self.key.verifies(&text, signature) {
            return None;
        }
        Timestamp::from_second(seconds).ok()
    }
}
