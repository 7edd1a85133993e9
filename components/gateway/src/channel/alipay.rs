//! Alipay's open platform, RSA2: face to face, where the payer scans a QR code of the
//! merchant. opendocs.alipay.com has its documents, and alipay/alipay-sdk-java-all says in
//! code what these leave open.
//!
//! Answers bear no time and no nonce, so that one is of this moment is known from TLS and
//! from our own clock; a signature is by the key that Alipay keeps for this app, so that
//! an answer is for it.
//!
//! Until somebody scans a QR code there is no trade: a query then says ACQ.TRADE_NOT_EXIST
//! of an order that was accepted and can still be paid. So "not found" means nothing before
//! the code ran out. Alipay documents no time after which it refuses a request; what makes
//! a late one harmless is `time_expire`: an order that arrives, or is scanned, after it is
//! refused (ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR). Once a query that was sent a margin after
//! it finds no trade, none was made and none can be. That holds for an order that was
//! accepted (Processing) as well as for one whose request may be frozen in a process or on
//! its way (Sending, Unknown), and its code would be shown to nobody: its attempt has ended.

mod answer;
mod china;
mod codes;
mod form;
mod message;
mod notification;
mod refund;
mod sign;
mod trade;
#[cfg(test)]
mod trials;
mod yuan;

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use payplane_api::config::AlipayNetwork;
use payplane_api::money::Money;
use payplane_common::trace::Trace;
use reqwest::Method;
use serde::Serialize;

use self::message::{CLOSE, Head, PRECREATE, PrecreateBody, QUERY, REFUND, REFUND_QUERY};
use self::message::{RefundBody, RefundQueryBody, TradeBody, is_payable, unknown};
use super::connection::{Connection, Silence};
use super::credentials::{SetupError, parse, roots};
use super::endpoint::DeniedNetworks;
use super::notification::{Notification, Receipt, Unproven};
use super::rsa::{PRIVATE_KEY, PUBLIC_KEY, SigningKey, VerifyingKey};
use super::{Channel, Found, Kind, Outcome, Pay, PrepareError, Prepared, Repay, Sent, record};

pub const QR: &str = "alipay-qr";

/// How far Alipay's clock, by which an order runs out, may be behind ours.
const MARGIN: SignedDuration = SignedDuration::from_mins(5);
/// A refund has no time after which Alipay refuses it. Ours is begun within `SEND_MAX` and
/// given up by our own timers seconds later; a process that was frozen while it wrote finds
/// that the other side has not kept the connection for a day. That is weaker than a time
/// that the request bears, so the time is long.
const REFUND_LATE: SignedDuration = SignedDuration::from_hours(24);

/// A connection to Alipay for one app of a merchant.
pub struct Alipay {
    app_id: String,
    notify_url: String,
    key: SigningKey,
    network: VerifyingKey,
    connection: Connection,
}

/// An answer that verified.
struct Verified {
    head: Head,
    text: Vec<u8>,
}

impl Alipay {
    /// Reads the keys from the config's folder and prepares the https client.
    pub fn new(
        config: &AlipayNetwork,
        folder: &Path,
        denied: Arc<DeniedNetworks>,
    ) -> Result<Self, SetupError> {
        let roots = roots(folder, config.reach.ca.as_ref())?;
        Ok(Self {
            app_id: config.app_id.clone(),
            notify_url: config.reach.notify_url.clone(),
            key: parse(folder, &config.merchant_key, PRIVATE_KEY, SigningKey::from_pem)?,
            network: parse(folder, &config.network_key, PUBLIC_KEY, VerifyingKey::from_pem)?,
            connection: Connection::new(&config.reach.endpoint, roots, denied)?,
        })
    }

    /// What all methods have in common stands in the query, the rest in the body, as the
    /// network's SDKs send it.
    fn sign(
        &self,
        method: &str,
        body: &impl Serialize,
    ) -> Result<(reqwest::Request, Timestamp), PrepareError> {
        let failed = |why: String| PrepareError { why };
        let content = serde_json::to_string(body).map_err(|e| failed(e.to_string()))?;
        let now = Timestamp::now();
        let timestamp = china::text(now);
        let notify_url = if method == PRECREATE { self.notify_url.as_str() } else { "" };
        let biz_content = ("biz_content", content.as_str());
        let common = [
            ("app_id", self.app_id.as_str()),
            ("charset", "utf-8"),
            ("format", "JSON"),
            ("method", method),
            ("notify_url", notify_url),
            ("sign_type", sign::RSA2),
            ("timestamp", &timestamp),
            ("version", "1.0"),
        ];
        let text = sign::of_request(common.into_iter().chain([biz_content]));
        let signature = text.and_then(|text| self.key.sign(text.as_bytes()));
        let signature = signature.ok_or_else(|| failed("signing failed".to_owned()))?;
        let mut query: Vec<_> = common.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        query.push(("sign", &signature));
        let request = self
            .connection
            .request(Method::POST, &format!("/gateway.do?{}", form::encode(&query)))?
            .header("content-type", "application/x-www-form-urlencoded;charset=utf-8")
            .header("user-agent", "payplane")
            .body(form::encode(&[biz_content]))
            .build()
            .map_err(|e| failed(e.to_string()))?;
        // The signature bears whole seconds; what was cut off makes it no older.
        Ok((request, Timestamp::from_second(now.as_second()).unwrap_or(now)))
    }

    fn prepare(
        &self,
        (method, body): (&str, &impl Serialize),
        (number, amount, context): (&str, Money, &str),
    ) -> Result<Prepared, PrepareError> {
        if !is_payable(amount) {
            return Err(PrepareError { why: "Alipay takes 0.01 to 100,000,000 CNY".to_owned() });
        }
        let (request, signed_at) = self.sign(method, body)?;
        Ok(Prepared { number: number.to_owned(), amount, signed_at, request, context: context.to_owned() })
    }

    /// Sends a request once, and verifies what comes back.
    async fn exchange(
        &self,
        method: &str,
        request: reqwest::Request,
        trace: Trace,
    ) -> Result<Verified, Silence> {
        let answer = self.connection.send(request, trace).await?;
        let status = answer.status;
        let text = answer::verified(&answer.body, method, &self.network).filter(|_| status == 200);
        let text = text.map(std::borrow::Cow::into_owned);
        let text = text.ok_or_else(|| Silence::Unknown(format!("answer {status} does not verify")))?;
        record::verified();
        let head = serde_json::from_slice(&text);
        let head = head.map_err(|_| Silence::Unknown("an answer that cannot be read".to_owned()))?;
        Ok(Verified { head, text })
    }

    async fn ask(&self, method: &str, body: &impl Serialize, trace: Trace) -> Result<Verified, Outcome> {
        let (request, _) = self.sign(method, body).map_err(|error| unknown(error.why))?;
        let exchanged = self.exchange(method, request, trace).await;
        exchanged.map_err(|(Silence::NotSent(why) | Silence::Unknown(why))| unknown(why))
    }

    async fn query_trade(&self, sent: &Sent, trace: Trace) -> Result<Found, Outcome> {
        let (number, at) = (sent.number.as_str(), Timestamp::now());
        let Verified { head, text } = self.ask(QUERY, &TradeBody { out_trade_no: number }, trace).await?;
        if head.is_success() {
            return Ok(Found::Outcome(trade::queried(&head, &text, (number, at))));
        }
        if !codes::is_not_found(&head) || head.names(number) == Some(false) {
            return Err(head.unknown());
        }
        Ok(not_found(at, self.closed_at(sent)))
    }

    async fn query_refund(&self, sent: &Sent, original: &str, trace: Trace) -> Result<Found, Outcome> {
        let at = Timestamp::now();
        let (out_request_no, query_options) = (sent.number.as_str(), &["gmt_refund_pay"]);
        let body = RefundQueryBody { out_trade_no: original, out_request_no, query_options };
        let Verified { head, text } = self.ask(REFUND_QUERY, &body, trace).await?;
        Ok(refund::queried(&head, &text, (sent, original), at))
    }

    async fn close_trade(&self, number: &str, trace: Trace) -> Result<Outcome, Outcome> {
        let Verified { head, .. } = self.ask(CLOSE, &TradeBody { out_trade_no: number }, trace).await?;
        Ok(trade::closed(&head, number))
    }
}

/// No trade was there at a query that was sent `at` this time: none can come any more, or
/// one still may.
fn not_found(at: Timestamp, closed_at: Timestamp) -> Found {
    if at > closed_at { Found::Outcome(Outcome::Closed) } else { Found::NotFound { at } }
}

impl Channel for Alipay {
    fn prepare_pay(&self, pay: &Pay<'_>) -> Result<Prepared, PrepareError> {
        if pay.method != QR {
            return Err(PrepareError { why: format!("Alipay has no method {}", pay.method) });
        }
        self.prepare((PRECREATE, &PrecreateBody::new(pay)), (pay.number, pay.amount, ""))
    }

    fn prepare_refund(&self, repay: &Repay<'_>) -> Result<Prepared, PrepareError> {
        let context = (repay.number, repay.amount, repay.original.number.as_str());
        self.prepare((REFUND, &RefundBody::new(repay)), context)
    }

    fn send(&self, prepared: Prepared, trace: Trace) -> BoxFuture<'_, Outcome> {
        async move {
            if let Some(too_old) = prepared.too_old() {
                return too_old;
            }
            let Prepared { number, amount, request, context: original, .. } = prepared;
            let now = Timestamp::now();
            let method = if original.is_empty() { PRECREATE } else { REFUND };
            match self.exchange(method, request, trace).await {
                Ok(Verified { head, text }) if original.is_empty() => {
                    trade::precreated(&head, &text, &number)
                }
                Ok(Verified { head, text }) => {
                    refund::refunded(&head, &text, (&number, &original), (amount.minor(), now))
                }
                Err(Silence::NotSent(why)) => Outcome::NotSent { why },
                Err(Silence::Unknown(why)) => Outcome::Unknown { why },
            }
        }
        .boxed()
    }

    fn query<'a>(&'a self, sent: &'a Sent, trace: Trace) -> BoxFuture<'a, Found> {
        async move {
            let found = match &sent.kind {
                Kind::Payment { .. } => self.query_trade(sent, trace).await,
                Kind::Refund { original_number } => self.query_refund(sent, original_number, trace).await,
                Kind::Payout => Err(unknown("no payout is asked for here")),
            };
            found.unwrap_or_else(Found::Outcome)
        }
        .boxed()
    }

    /// Not by alipay.trade.cancel: that gives back what is paid meanwhile, perhaps after it
    /// was booked. A trade that is paid is not closed by alipay.trade.close. Where nobody has
    /// scanned the code there is no trade to close; it ends when its time has run out.
    fn close<'a>(&'a self, sent: &'a Sent, trace: Trace) -> BoxFuture<'a, Outcome> {
        async move {
            if !matches!(sent.kind, Kind::Payment { .. }) {
                return unknown("only a payment can be closed");
            }
            match self.query(sent, trace).await {
                Found::Outcome(Outcome::Processing { .. }) => {
                    self.close_trade(&sent.number, trace).await.unwrap_or_else(|unknown| unknown)
                }
                Found::NotFound { .. } => unknown("nobody has scanned it, so there is nothing to close yet"),
                Found::Outcome(outcome) => outcome,
            }
        }
        .boxed()
    }

    fn closed_at(&self, sent: &Sent) -> Timestamp {
        let (from, late) = match sent.kind {
            Kind::Payment { expires_at } => (expires_at, MARGIN),
            Kind::Refund { .. } => (sent.signed_at, REFUND_LATE),
            Kind::Payout => return Timestamp::MAX,
        };
        from.saturating_add(late).unwrap_or(Timestamp::MAX)
    }

    fn read_notification(&self, _headers: &HeaderMap, body: &[u8]) -> Result<Notification, Unproven> {
        notification::read(body, &self.network, &self.app_id)
    }

    /// Whatever is not this word, the network sends again.
    fn receipt(&self, taken: bool) -> Receipt {
        Receipt { body: if taken { "success" } else { "fail" }.to_owned(), ..Receipt::bare(taken) }
    }
}
