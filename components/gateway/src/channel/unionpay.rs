//! UnionPay online (全渠道), 5.1.0, as a merchant of its own: a QR code that the payer scans,
//! UnionPay's app, and cards whose owners have agreed. open.unionpay.com has its documents, the rules come from them and
//! from its SDK (ACPSample, AcpSDK); which rule stands in which is noted in docs/channels.md.

mod agreement;
mod certificate;
mod codes;
mod encrypt;
mod ending;
mod fields;
mod message;
mod notification;
mod request;
mod sign;
mod time;
mod token;
#[cfg(test)]
mod trials;

pub(crate) use self::fields::pieces;

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use jiff::Timestamp;
use payplane_api::config::{UnionPayNetwork, UnionPaySigning};
use payplane_api::money::Money;
use payplane_common::trace::Trace;
use reqwest::Method;

use self::certificate::{MERCHANT_CERTIFICATE, NETWORK_CA, NetworkCa, certificate_id};
use self::encrypt::{ENCRYPTION_CERTIFICATE, Encryption};
use self::ending::{closed, found};
use self::message::Looked;
use self::request::{Merchant, TOKEN, in_cny, service};
use self::sign::{Hash, SECURE_KEY, Signer};
use self::token::Tokens;
use super::agreement::Agreements;
use super::connection::{Connection, Silence};
use super::credentials::{SetupError, parse, roots};
use super::endpoint::DeniedNetworks;
use super::notification::{Notification, Receipt, Unproven};
use super::rsa::{PRIVATE_KEY, SigningKey};
use super::{Channel, Found, Outcome, Pay, PrepareError, Prepared, Repay, Sent};

const BACK_PATH: &str = "/gateway/api/backTransReq.do";
const QUERY_PATH: &str = "/gateway/api/queryTrans.do";
const REFUND: &str = "refund";

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
        let tokens = config.tokens.as_ref().map(|tokens| -> Result<_, SetupError> {
            let file = &tokens.encryption_certificate;
            let encryption = parse(folder, file, ENCRYPTION_CERTIFICATE, Encryption::from_pem)?;
            Ok(Tokens { requestor: tokens.requestor.clone(), encryption })
        });
        Ok(Self {
            merchant: Merchant { mer_id, notify_url, signer, tokens: tokens.transpose()? },
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
            if let Some(too_old) = prepared.too_old() {
                return too_old;
            }
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
        ending::closed_at(sent)
    }

    fn takes_top_ups(&self) -> bool {
        true
    }

    fn agreements(&self) -> Option<&dyn Agreements> {
        self.merchant.tokens.is_some().then_some(self as &dyn Agreements)
    }

    fn signs(&self, method: &str) -> bool {
        self.merchant.tokens.is_some() && method == TOKEN.method
    }

    fn is_agreed_alone(&self, method: &str) -> bool {
        method == TOKEN.method
    }

    fn read_notification(&self, _headers: &HeaderMap, body: &[u8]) -> Result<Notification, Unproven> {
        self.merchant.notified(body)
    }

    fn receipt(&self, taken: bool) -> Receipt {
        // UnionPay looks at the status only; any but 200 makes it send again.
        Receipt { body: if taken { "ok" } else { "" }.to_owned(), ..Receipt::bare(taken) }
    }
}
