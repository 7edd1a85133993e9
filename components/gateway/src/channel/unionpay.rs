//! UnionPay online (全渠道), 5.1.0, as a merchant of its own: a QR code that the payer scans,
//! and UnionPay's app. open.unionpay.com has its documents, the rules come from them and
//! from its SDK (ACPSample, AcpSDK); which rule stands in which is noted in docs/channels.md.

mod certificate;
mod codes;
mod fields;
mod message;
mod notification;
mod sign;
#[cfg(test)]
mod tests;
mod time;

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use jiff::{SignedDuration, Timestamp};
use payplane_api::config::{UnionPayNetwork, UnionPaySigning};
use payplane_api::money::Money;
use payplane_common::trace::Trace;
use reqwest::Method;

use self::certificate::{MERCHANT_CERTIFICATE, NETWORK_CA, NetworkCa, certificate_id};
use self::codes::State;
use self::message::{Looked, Merchant, in_cny, service};
use self::sign::{Hash, SECURE_KEY, Signer};
use super::connection::{Connection, Silence};
use super::credentials::{SetupError, parse, roots};
use super::endpoint::DeniedNetworks;
use super::notification::{Notification, Receipt, Unproven};
use super::rsa::{PRIVATE_KEY, SigningKey};
use super::{Channel, Found, Kind, Outcome, Pay, PrepareError, Prepared, Repay, Sent};

const BACK_PATH: &str = "/gateway/api/backTransReq.do";
const QUERY_PATH: &str = "/gateway/api/queryTrans.do";
const REFUND: &str = "refund";

/// How far clocks may differ, and how long something may be under way inside of UnionPay,
/// once an order's `payTimeout` has passed.
const MARGIN: SignedDuration = SignedDuration::from_mins(10);
/// A request whose `txnTime` is not "the current time" is refused (ACPSample: 必须取当前时间,
/// 否则会报txnTime无效). How far from it, the documents do not say; it is not a day.
const REFUND_WINDOW: SignedDuration = SignedDuration::from_hours(24);

/// A connection to UnionPay for one merchant of it.
pub struct UnionPay {
    merchant: Merchant,
    connection: Connection,
}

impl UnionPay {
    /// Reads the keys from the config's folder and prepares the https client.
    pub fn new(
        config: &UnionPayNetwork,
        folder: &Path,
        denied: Arc<DeniedNetworks>,
    ) -> Result<Self, SetupError> {
        let signer = signer(config, folder)?;
        let (mer_id, notify_url) = (config.mer_id.clone(), config.reach.notify_url.clone());
        let roots = roots(folder, config.reach.ca.as_ref())?;
        Ok(Self {
            merchant: Merchant { mer_id, notify_url, signer },
            connection: Connection::new(&config.reach.endpoint, roots, denied)?,
        })
    }

    fn request(&self, path: &str, body: String) -> Result<reqwest::Request, PrepareError> {
        self.connection
            .request(Method::POST, path)?
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded;charset=UTF-8")
            .body(body)
            .build()
            .map_err(|e| PrepareError { why: e.to_string() })
    }

    fn prepare(
        &self,
        (path, context): (&str, &str),
        (number, amount, signed_at): (&str, Money, Timestamp),
        body: String,
    ) -> Result<Prepared, PrepareError> {
        let request = self.request(path, body)?;
        Ok(Prepared { number: number.to_owned(), amount, signed_at, request, context: context.to_owned() })
    }

    /// Sends a request once. What comes back is not believed yet.
    async fn exchange(&self, request: reqwest::Request, trace: Trace) -> Result<Vec<u8>, Silence> {
        let answer = self.connection.send(request, trace).await?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(Silence::Unknown(format!("answer {status}"))),
        }
    }

    /// What UnionPay says now, and our time before it was asked: its answers bear none.
    async fn look(&self, sent: &Sent, trace: Trace) -> (Timestamp, Looked) {
        let at = Timestamp::now();
        let request = self.merchant.query(sent).and_then(|body| self.request(QUERY_PATH, body));
        let looked = match request {
            Ok(request) => match self.exchange(request, trace).await {
                Ok(body) => self.merchant.looked(sent, &body),
                Err(Silence::NotSent(why) | Silence::Unknown(why)) => Looked::Nothing(why),
            },
            Err(error) => Looked::Nothing(error.why),
        };
        (at, looked)
    }
}

fn signer(config: &UnionPayNetwork, folder: &Path) -> Result<Signer, SetupError> {
    let secure = |digest: Hash, file| {
        let key = parse(folder, file, SECURE_KEY, |bytes| digest.key(bytes))?;
        Ok(Signer::Digest { digest, key })
    };
    match &config.signing {
        UnionPaySigning::Rsa { merchant_key, merchant_certificate, network_ca } => {
            let key = parse(folder, merchant_key, PRIVATE_KEY, SigningKey::from_pem)?;
            let read_as = |pem: &[u8]| certificate_id(pem, &key);
            let certificate_id = parse(folder, merchant_certificate, MERCHANT_CERTIFICATE, read_as)?;
            let read_as = |pem: &[u8]| NetworkCa::from_pem(pem, config.reach.is_simulated);
            let network = parse(folder, network_ca, NETWORK_CA, read_as)?;
            Ok(Signer::Rsa { key, certificate_id, network })
        }
        UnionPaySigning::Sha256 { secure_key } => secure(Hash::Sha256, secure_key),
        UnionPaySigning::Sm3 { secure_key } => secure(Hash::Sm3, secure_key),
    }
}

/// `txnTime` has whole seconds, and a query gives it again: what was cut off makes a
/// request no older.
fn now_in_seconds() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// From here on what UnionPay says is final: an order cannot be paid after its `payTimeout`,
/// and a request that comes later than its time is refused.
fn closed_at(sent: &Sent) -> Timestamp {
    let end = match sent.kind {
        Kind::Payment { expires_at } => Ok(expires_at.max(sent.signed_at)),
        Kind::Refund { .. } => sent.signed_at.saturating_add(REFUND_WINDOW),
    };
    let margin = MARGIN.saturating_add(Connection::answer_max());
    end.and_then(|end| end.saturating_add(margin)).unwrap_or(Timestamp::MAX)
}

/// Until an order's `payTimeout` has passed, "failed", "in progress" and "not found" may each
/// be states on the way; a query after it tells the end (ACPSample, Form_6_2: 失败,处理中,
/// 查询不到订单均可能为中间状态; 过了payTimeout查询,得到的结果为最终结果). So a payer whose
/// first card is refused may pay with a second one, and is not told that the order failed.
fn found(sent: &Sent, at: Timestamp, looked: Looked) -> Found {
    Found::Outcome(match looked {
        Looked::NotFound => return Found::NotFound { at },
        Looked::Nothing(why) => Outcome::Unknown { why },
        Looked::Said(_, Outcome::Declined { network_id, .. }) if is_payable(sent, at) => {
            Outcome::Processing { network_id, action: None }
        }
        Looked::Said(_, outcome) => outcome,
    })
}

/// UnionPay closes no order by itself or when asked: it ends by its `payTimeout`. After that
/// one that is not paid can be judged as failed (ACPSample, payTimeout: 超过超时时间调查询接口
/// 应答origRespCode不是A6或者00的就可以判断为失败). What is under way inside of UnionPay even
/// then is left to a person and the bill.
fn closed(sent: &Sent, at: Timestamp, looked: Looked) -> Outcome {
    let (is_payment, why) = (matches!(sent.kind, Kind::Payment { .. }), "UnionPay closes no orders");
    match looked {
        Looked::Said(State::Waiting, _) | Looked::NotFound if is_payment && !is_payable(sent, at) => {
            Outcome::Closed
        }
        looked => match found(sent, at, looked) {
            Found::Outcome(Outcome::Processing { .. }) | Found::NotFound { .. } => {
                Outcome::Unknown { why: why.to_owned() }
            }
            Found::Outcome(outcome) => outcome,
        },
    }
}

fn is_payable(sent: &Sent, at: Timestamp) -> bool {
    matches!(sent.kind, Kind::Payment { .. }) && at <= closed_at(sent)
}

impl Channel for UnionPay {
    fn prepare_pay(&self, pay: &Pay<'_>) -> Result<Prepared, PrepareError> {
        in_cny(pay.amount)?;
        let why = || PrepareError { why: format!("UnionPay has no method {}", pay.method) };
        let service = service(pay.method).ok_or_else(why)?;
        let at = now_in_seconds();
        let body = self.merchant.pay(service, pay, at)?;
        self.prepare((service.path, service.method), (pay.number, pay.amount, at), body)
    }

    fn prepare_refund(&self, repay: &Repay<'_>) -> Result<Prepared, PrepareError> {
        in_cny(repay.amount)?;
        let at = now_in_seconds();
        let body = self.merchant.refund(repay, at)?;
        self.prepare((BACK_PATH, REFUND), (repay.number, repay.amount, at), body)
    }

    fn send(&self, prepared: Prepared, trace: Trace) -> BoxFuture<'_, Outcome> {
        async move {
            let Prepared { number, signed_at, request, context, .. } = prepared;
            let about = (number.as_str(), signed_at);
            match (self.exchange(request, trace).await, service(&context)) {
                (Ok(body), Some(service)) => self.merchant.ordered(service, &body, about),
                (Ok(body), None) => self.merchant.repaid(&body, about),
                (Err(Silence::NotSent(why)), _) => Outcome::NotSent { why },
                (Err(Silence::Unknown(why)), _) => Outcome::Unknown { why },
            }
        }
        .boxed()
    }

    fn query<'a>(&'a self, sent: &'a Sent, trace: Trace) -> BoxFuture<'a, Found> {
        async move {
            let (at, looked) = self.look(sent, trace).await;
            found(sent, at, looked)
        }
        .boxed()
    }

    fn close<'a>(&'a self, sent: &'a Sent, trace: Trace) -> BoxFuture<'a, Outcome> {
        async move {
            let (at, looked) = self.look(sent, trace).await;
            closed(sent, at, looked)
        }
        .boxed()
    }

    fn closed_at(&self, sent: &Sent) -> Timestamp {
        closed_at(sent)
    }

    fn read_notification(&self, _headers: &HeaderMap, body: &[u8]) -> Result<Notification, Unproven> {
        self.merchant.notified(body)
    }

    fn receipt(&self, taken: bool) -> Receipt {
        // UnionPay looks at the status only; any but 200 makes it send again.
        Receipt { body: if taken { "ok" } else { "" }.to_owned(), ..Receipt::bare(taken) }
    }
}
