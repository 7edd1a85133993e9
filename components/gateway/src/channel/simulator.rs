//! The simulated network as a channel. Its rules are those of its own manual,
//! docs/simulator.md: JSON over https, requests signed with the merchant's key,
//! answers with the network's.

mod message;
mod sign;

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use payplane_api::config::SimulatorNetwork;
use payplane_api::money::Money;
use payplane_common::trace::Trace;
use reqwest::Method;
use serde::Serialize;

use self::message::{Answer, PayBody, PayoutBody, QueryBody, RefundBody};
use self::sign::{MerchantKey, NetworkKey};
use super::connection::{Connection, Silence};
use super::credentials::{SetupError, parse, roots};
use super::endpoint::DeniedNetworks;
use super::{Channel, Found, Outcome, Pay, Payout, PrepareError, Prepared, Repay, Sent, record};

/// The network refuses a request whose timestamp is further than this from its
/// own clock.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);

/// A connection to the simulated network for one merchant of it.
pub struct Simulator {
    merchant: String,
    key: MerchantKey,
    network: NetworkKey,
    connection: Connection,
}

/// A request that is signed, and the nonce that its answer echoes.
struct Signed {
    request: reqwest::Request,
    signed_at: Timestamp,
    nonce: String,
}

impl Simulator {
    /// Reads the keys from the config's folder and prepares the https client.
    pub fn new(
        config: &SimulatorNetwork,
        folder: &Path,
        denied: Arc<DeniedNetworks>,
    ) -> Result<Self, SetupError> {
        let what = "ECDSA P-256 private key (PKCS#8 PEM)";
        let key = parse(folder, &config.merchant_key, what, MerchantKey::from_pem)?;
        let what = "ECDSA P-256 public key (PEM)";
        let network = parse(folder, &config.network_key, what, NetworkKey::from_pem)?;
        let connection = Connection::new(&config.endpoint, roots(folder, Some(&config.ca))?, denied)?;
        Ok(Self { merchant: config.merchant_id.to_string(), key, network, connection })
    }

    fn sign(&self, path: &str, body: &impl Serialize) -> Result<Signed, PrepareError> {
        let failed = |why: String| PrepareError { why };
        let body = serde_json::to_string(body).map_err(|e| failed(e.to_string()))?;
        let now = Timestamp::now();
        let (seconds, nonce) = (now.as_second(), uuid::Uuid::new_v4().simple().to_string());
        let text = format!("POST\n{path}\n{seconds}\n{nonce}\n{body}\n");
        let signature = self.key.sign(text.as_bytes()).ok_or_else(|| failed("signing failed".to_owned()))?;
        let request = self
            .connection
            .request(Method::POST, path)?
            .header("content-type", "application/json")
            .header("sim-merchant", &self.merchant)
            .header("sim-timestamp", seconds)
            .header("sim-nonce", &nonce)
            .header("sim-signature", signature)
            .body(body)
            .build()
            .map_err(|e| failed(e.to_string()))?;
        // The signature bears whole seconds; what was cut off makes it no older.
        Ok(Signed { request, signed_at: Timestamp::from_second(seconds).unwrap_or(now), nonce })
    }

    fn prepare(
        &self,
        (path, body): (&str, &impl Serialize),
        (number, amount): (&str, Money),
    ) -> Result<Prepared, PrepareError> {
        let Signed { request, signed_at, nonce } = self.sign(path, body)?;
        Ok(Prepared { number: number.to_owned(), amount, signed_at, request, context: nonce })
    }

    /// Sends a request once, and verifies what comes back.
    async fn exchange(&self, request: reqwest::Request, nonce: &str, trace: Trace) -> Exchanged {
        match self.connection.send(request, trace).await {
            Ok(answer) => match self.network.verify(&answer, nonce) {
                Some(at) => {
                    record::verified();
                    Exchanged::Answer { status: answer.status, at, body: answer.body }
                }
                None => {
                    let status = answer.status;
                    Exchanged::Unknown(format!("an answer {status} whose signature does not verify"))
                }
            },
            Err(Silence::NotSent(why)) => Exchanged::NotSent(why),
            Err(Silence::Unknown(why)) => Exchanged::Unknown(why),
        }
    }

    async fn ask(&self, path: &str, number: &str, trace: Trace) -> Exchanged {
        match self.sign(path, &QueryBody { number }) {
            Ok(signed) => self.exchange(signed.request, &signed.nonce, trace).await,
            Err(error) => Exchanged::NotSent(error.why),
        }
    }
}

enum Exchanged {
    Answer { status: u16, at: Timestamp, body: Vec<u8> },
    NotSent(String),
    Unknown(String),
}

impl Channel for Simulator {
    fn prepare_pay(&self, pay: &Pay<'_>) -> Result<Prepared, PrepareError> {
        let body = PayBody {
            number: pay.number,
            amount_minor: pay.amount.minor(),
            currency: pay.amount.currency(),
            method: pay.method,
        };
        self.prepare(("/sim/v1/pay", &body), (pay.number, pay.amount))
    }

    fn prepare_refund(&self, repay: &Repay<'_>) -> Result<Prepared, PrepareError> {
        let body = RefundBody {
            number: repay.number,
            original_number: &repay.original.number,
            amount_minor: repay.amount.minor(),
        };
        self.prepare(("/sim/v1/refund", &body), (repay.number, repay.amount))
    }

    fn pays_out(&self) -> bool {
        true
    }

    fn prepare_payout(&self, payout: &Payout<'_>) -> Result<Prepared, PrepareError> {
        let body = PayoutBody {
            number: payout.number,
            amount_minor: payout.amount.minor(),
            currency: payout.amount.currency(),
            payee_account: payout.account,
            payee_name: payout.name,
        };
        self.prepare(("/sim/v1/payout", &body), (payout.number, payout.amount))
    }

    fn send(&self, prepared: Prepared, trace: Trace) -> BoxFuture<'_, Outcome> {
        async move {
            let Prepared { number, request, context: nonce, .. } = prepared;
            match self.exchange(request, &nonce, trace).await {
                Exchanged::Answer { status: 200..=299, body, .. } => Answer::outcome(&body, &number),
                // Verified, and not an outcome: it may have come after an effect, unless it says that it did not.
                Exchanged::Answer { status, body, .. } => match message::refused_unread(status, &body) {
                    Some(code) => Outcome::NotSent { why: format!("refused unread: {code}") },
                    None => Outcome::Unknown { why: format!("answer {status}") },
                },
                Exchanged::NotSent(why) => Outcome::NotSent { why },
                Exchanged::Unknown(why) => Outcome::Unknown { why },
            }
        }
        .boxed()
    }

    fn query<'a>(&'a self, sent: &'a Sent, trace: Trace) -> BoxFuture<'a, Found> {
        let unknown = |why: String| Found::Outcome(Outcome::Unknown { why });
        async move {
            match self.ask("/sim/v1/query", &sent.number, trace).await {
                Exchanged::Answer { status: 200..=299, body, .. } => {
                    Found::Outcome(Answer::outcome(&body, &sent.number))
                }
                Exchanged::Answer { status: 404, at, body } if message::is_not_found(&body) => {
                    Found::NotFound { at }
                }
                Exchanged::Answer { status, .. } => unknown(format!("answer {status}")),
                Exchanged::NotSent(why) | Exchanged::Unknown(why) => unknown(why),
            }
        }
        .boxed()
    }

    fn close<'a>(&'a self, sent: &'a Sent, trace: Trace) -> BoxFuture<'a, Outcome> {
        async move {
            match self.ask("/sim/v1/close", &sent.number, trace).await {
                Exchanged::Answer { status: 200..=299, body, .. } => Answer::outcome(&body, &sent.number),
                Exchanged::Answer { status, .. } => Outcome::Unknown { why: format!("answer {status}") },
                Exchanged::NotSent(why) | Exchanged::Unknown(why) => Outcome::Unknown { why },
            }
        }
        .boxed()
    }

    fn closed_at(&self, sent: &Sent) -> Timestamp {
        // It may have looked before it stamped its answer, by as long as we wait for one.
        let late = WINDOW.saturating_add(Connection::answer_max());
        sent.signed_at.saturating_add(late).unwrap_or(Timestamp::MAX)
    }
}
