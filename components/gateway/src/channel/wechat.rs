//! WeChat Pay, API v3, as a merchant of its own: Native (the payer scans a QR code) and
//! JSAPI (inside of WeChat). pay.weixin.qq.com/doc/v3/merchant has its documents; which
//! rule stands in which is noted in docs/channels.md.

mod message;
mod notification;
mod sign;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use payplane_api::config::WechatPayNetwork;
use payplane_api::money::Money;
use payplane_common::trace::Trace;
use reqwest::Method;
use serde::Serialize;
use serde_json::{Value, json};

use self::message::{CURRENCY, CloseBody, PayBody, Payer, Prepaid, Refund, RefundAmount, RefundBody};
use self::message::{Total, Transaction};
use self::notification::{API_V3_KEY, ApiV3Key};
use self::sign::{Merchant, Network};
use super::china;
use super::connection::{Connection, Silence};
use super::credentials::{SetupError, parse, roots};
use super::endpoint::DeniedNetworks;
use super::notification::{Notification, Receipt, Unproven};
use super::rsa::{PRIVATE_KEY, PUBLIC_KEY, SigningKey, VerifyingKey};
use super::{Channel, Found, Kind, Outcome, Pay, PrepareError, Prepared, Repay, Sent, record};

pub const NATIVE: &str = "wechat-native";
pub const JSAPI: &str = "wechat-jsapi";
const REFUND: &str = "refund";

/// The network refuses a request whose timestamp is further than this from its clock.
const WINDOW: SignedDuration = SignedDuration::from_mins(5);
const DESCRIPTION_CHARS_MAX: usize = 127;

/// A connection to WeChat Pay for one merchant and one app of it.
pub struct WechatPay {
    appid: String,
    notify_url: String,
    merchant: Merchant,
    network: Network,
    api_v3_key: ApiV3Key,
    connection: Connection,
}

/// An answer that verified, and its time.
struct Verified {
    status: u16,
    at: Timestamp,
    body: Vec<u8>,
}

impl WechatPay {
    /// Reads the keys from the config's folder and prepares the https client.
    pub fn new(
        config: &WechatPayNetwork,
        folder: &Path,
        denied: Arc<DeniedNetworks>,
    ) -> Result<Self, SetupError> {
        let key = parse(folder, &config.merchant_key, PRIVATE_KEY, SigningKey::from_pem)?;
        let (mchid, serial) = (config.mchid.clone(), config.merchant_serial.clone());
        let network_key = parse(folder, &config.network_key, PUBLIC_KEY, VerifyingKey::from_pem)?;
        let roots = roots(folder, config.reach.ca.as_ref())?;
        Ok(Self {
            appid: config.appid.clone(),
            notify_url: config.reach.notify_url.clone(),
            merchant: Merchant { mchid, serial, key },
            network: Network { key_id: config.public_key_id.clone(), key: network_key },
            api_v3_key: parse(folder, &config.api_v3_key, API_V3_KEY, ApiV3Key::from_bytes)?,
            connection: Connection::new(&config.reach.endpoint, roots, denied)?,
        })
    }

    fn sign(
        &self,
        method: Method,
        target: &str,
        body: String,
    ) -> Result<(reqwest::Request, Timestamp), PrepareError> {
        let failed = |why: &str| PrepareError { why: why.to_owned() };
        let now = Timestamp::now();
        let (seconds, nonce) = (now.as_second(), nonce());
        let value = self.merchant.authorization((method.as_str(), target), &body, (seconds, &nonce));
        let request = self
            .connection
            .request(method, target)?
            .header("authorization", value.ok_or_else(|| failed("signing failed"))?)
            .header("wechatpay-serial", &self.network.key_id)
            .header("accept", "application/json")
            .header("content-type", "application/json")
            .header("user-agent", "payplane")
            .body(body)
            .build()
            .map_err(|e| failed(&e.to_string()))?;
        // The signature bears whole seconds; what was cut off makes it no older.
        Ok((request, Timestamp::from_second(seconds).unwrap_or(now)))
    }

    fn prepare(
        &self,
        (target, body): (&str, &impl Serialize),
        (number, amount, context): (&str, Money, &str),
    ) -> Result<Prepared, PrepareError> {
        if amount.currency().as_str() != CURRENCY {
            return Err(PrepareError { why: format!("WeChat Pay takes {CURRENCY} only") });
        }
        let body = serde_json::to_string(body).map_err(|e| PrepareError { why: e.to_string() })?;
        let (request, signed_at) = self.sign(Method::POST, target, body)?;
        Ok(Prepared { number: number.to_owned(), amount, signed_at, request, context: context.to_owned() })
    }

    /// Sends a request once, and verifies what comes back.
    async fn exchange(&self, request: reqwest::Request, trace: Trace) -> Result<Verified, Silence> {
        let answer = self.connection.send(request, trace).await?;
        match self.network.verify(&answer.headers, &answer.body) {
            Some(at) => {
                record::verified();
                Ok(Verified { status: answer.status, at, body: answer.body })
            }
            None => {
                let status = answer.status;
                Err(Silence::Unknown(format!("an answer {status} whose signature does not verify")))
            }
        }
    }

    async fn ask(
        &self,
        method: Method,
        target: &str,
        body: String,
        trace: Trace,
    ) -> Result<Verified, String> {
        let (request, _) = self.sign(method, target, body).map_err(|error| error.why)?;
        self.exchange(request, trace).await.map_err(|(Silence::NotSent(why) | Silence::Unknown(why))| why)
    }

    /// What the payer does with the answer to a new order.
    fn action(&self, product: &str, body: &[u8]) -> Option<Value> {
        let prepaid: Prepaid = serde_json::from_slice(body).ok()?;
        if product == NATIVE {
            return Some(json!({"type": "QrCode", "qrCode": prepaid.code_url?}));
        }
        let (seconds, nonce) = (Timestamp::now().as_second(), nonce());
        let package = format!("prepay_id={}", prepaid.prepay_id?);
        let signature = self.merchant.pay_sign(&self.appid, (seconds, &nonce), &package)?;
        Some(json!({"type": "WechatJsapi", "appId": self.appid, "timeStamp": seconds.to_string(),
            "nonceStr": nonce, "package": package, "signType": "RSA", "paySign": signature}))
    }

    /// What an answer says of a payment or a refund that was asked for.
    fn read(&self, sent: &Sent, body: &[u8]) -> Outcome {
        let read = match sent.kind {
            Kind::Payment { .. } => serde_json::from_slice::<Transaction>(body).ok().map(|transaction| {
                let ours = transaction.mchid == self.merchant.mchid && transaction.appid == self.appid;
                (ours && transaction.out_trade_no == sent.number, transaction.outcome())
            }),
            Kind::Refund { .. } => serde_json::from_slice::<Refund>(body)
                .ok()
                .map(|refund| (refund.out_refund_no == sent.number, refund.outcome())),
            Kind::Payout => None,
        };
        match read {
            Some((true, outcome)) => outcome,
            Some((false, _)) => Outcome::Unknown { why: "an answer about something else".to_owned() },
            None => Outcome::Unknown { why: "an answer that cannot be read".to_owned() },
        }
    }
}

impl Channel for WechatPay {
    fn prepare_pay(&self, pay: &Pay<'_>) -> Result<Prepared, PrepareError> {
        let payer = match (pay.method, pay.payer) {
            (NATIVE, _) => None,
            (JSAPI, Some(openid)) => Some(Payer { openid }),
            (JSAPI, None) => return Err(PrepareError { why: "payerId (the openid) is missing".to_owned() }),
            (other, _) => return Err(PrepareError { why: format!("WeChat Pay has no method {other}") }),
        };
        let path = if payer.is_some() { "jsapi" } else { "native" };
        let body = PayBody {
            appid: &self.appid,
            mchid: &self.merchant.mchid,
            description: pay.description.chars().take(DESCRIPTION_CHARS_MAX).collect(),
            out_trade_no: pay.number,
            time_expire: in_china(pay.expires_at),
            notify_url: &self.notify_url,
            amount: Total { total: pay.amount.minor(), currency: CURRENCY },
            payer,
        };
        let target = format!("/v3/pay/transactions/{path}");
        self.prepare((&target, &body), (pay.number, pay.amount, pay.method))
    }

    fn prepare_refund(&self, repay: &Repay<'_>) -> Result<Prepared, PrepareError> {
        let body = RefundBody {
            out_trade_no: &repay.original.number,
            out_refund_no: repay.number,
            notify_url: &self.notify_url,
            amount: RefundAmount {
                refund: repay.amount.minor(),
                total: repay.original.amount.minor(),
                currency: CURRENCY,
            },
        };
        self.prepare(("/v3/refund/domestic/refunds", &body), (repay.number, repay.amount, REFUND))
    }

    fn send(&self, prepared: Prepared, trace: Trace) -> BoxFuture<'_, Outcome> {
        async move {
            let Prepared { number, amount, signed_at, request, context } = prepared;
            let verified = match self.exchange(request, trace).await {
                Ok(verified) => verified,
                Err(Silence::NotSent(why)) => return Outcome::NotSent { why },
                Err(Silence::Unknown(why)) => return Outcome::Unknown { why },
            };
            match verified.status {
                200..=299 if context == REFUND => {
                    let kind = Kind::Refund { original_number: String::new() };
                    self.read(&Sent { number, amount, signed_at, network_id: None, kind }, &verified.body)
                }
                200..=299 => match self.action(&context, &verified.body) {
                    Some(action) => Outcome::Processing { network_id: None, action: Some(action) },
                    None => Outcome::Unknown { why: "an answer that cannot be read".to_owned() },
                },
                status => message::refused(status, &message::code(&verified.body).unwrap_or_default()),
            }
        }
        .boxed()
    }

    fn query<'a>(&'a self, sent: &'a Sent, trace: Trace) -> BoxFuture<'a, Found> {
        async move {
            let unknown = |why: String| Found::Outcome(Outcome::Unknown { why });
            let number = &sent.number;
            let target = match sent.kind {
                Kind::Payment { .. } => {
                    let mchid = &self.merchant.mchid;
                    format!("/v3/pay/transactions/out-trade-no/{number}?mchid={mchid}")
                }
                Kind::Refund { .. } => format!("/v3/refund/domestic/refunds/{number}"),
                Kind::Payout => return unknown("no payout is asked for here".to_owned()),
            };
            match self.ask(Method::GET, &target, String::new(), trace).await {
                Ok(Verified { status: 200, body, .. }) => Found::Outcome(self.read(sent, &body)),
                Ok(Verified { status: 404, at, body }) => match message::code(&body).as_deref() {
                    Some("ORDER_NOT_EXIST" | "ORDERNOTEXIST" | "RESOURCE_NOT_EXISTS") => {
                        Found::NotFound { at }
                    }
                    code => unknown(format!("answer 404 {code:?}")),
                },
                Ok(Verified { status, .. }) => unknown(format!("answer {status}")),
                Err(why) => unknown(why),
            }
        }
        .boxed()
    }

    fn close<'a>(&'a self, sent: &'a Sent, trace: Trace) -> BoxFuture<'a, Outcome> {
        async move {
            let target = format!("/v3/pay/transactions/out-trade-no/{}/close", sent.number);
            let body = serde_json::to_string(&CloseBody { mchid: &self.merchant.mchid }).unwrap_or_default();
            match self.ask(Method::POST, &target, body, trace).await {
                Ok(Verified { status: 204, .. }) => Outcome::Closed,
                // It has an end already: a query tells which.
                Ok(Verified { status: 400..=499, .. }) => match self.query(sent, trace).await {
                    Found::Outcome(Outcome::Processing { .. }) | Found::NotFound { .. } => {
                        Outcome::Unknown { why: "the network did not close it".to_owned() }
                    }
                    Found::Outcome(outcome) => outcome,
                },
                Ok(Verified { status, .. }) => Outcome::Unknown { why: format!("answer {status}") },
                Err(why) => Outcome::Unknown { why },
            }
        }
        .boxed()
    }

    fn closed_at(&self, sent: &Sent) -> Timestamp {
        // It may have looked before it stamped its answer, by as long as we wait for one.
        let late = WINDOW.saturating_add(Connection::answer_max());
        sent.signed_at.saturating_add(late).unwrap_or(Timestamp::MAX)
    }

    fn needs_payer(&self, method: &str) -> bool {
        method == JSAPI
    }

    fn read_notification(&self, headers: &HeaderMap, body: &[u8]) -> Result<Notification, Unproven> {
        if self.network.verify(headers, body).is_none() {
            return Err(Unproven::because("the signature does not verify"));
        }
        notification::read(body, &self.api_v3_key, (&self.merchant.mchid, &self.appid))
    }

    fn receipt(&self, taken: bool) -> Receipt {
        if taken {
            return Receipt::bare(true);
        }
        let body = json!({"code": "FAIL", "message": "not taken"}).to_string();
        Receipt { status: 500, content_type: "application/json", body }
    }
}

fn nonce() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

/// RFC 3339 with China's offset, in whole seconds.
fn in_china(at: Timestamp) -> String {
    at.to_zoned(china::zone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}
