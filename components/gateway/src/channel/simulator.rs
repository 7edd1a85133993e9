//! The simulated network as a channel. Its rules are those of its own manual,
//! docs/simulator.md: JSON over https, requests signed with the merchant's key,
//! answers with the network's.

mod message;
mod sign;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use payplane_api::config::{KeyFile, SimulatorNetwork};
use payplane_common::trace::Trace;
use reqwest::{Client, Method, Url};
use serde::Serialize;
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use self::message::{Answer, PayBody, QueryBody, RefundBody};
use self::sign::{MerchantKey, NetworkKey};
use super::endpoint::{self, DeniedNetworks, reason};
use super::resolver::GuardedResolver;
use super::{Channel, Found, Outcome, Pay, PrepareError, Prepared, Repay};

/// The network refuses a request whose timestamp is further than this from its
/// own clock.
const WINDOW: SignedDuration = SignedDuration::from_secs(60);
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// While no connection was made nothing has left, so a moment without DNS or a
/// route to the network need not fail a payment.
const CONNECT_TRIES: u32 = 3;
const CONNECT_AGAIN: Duration = Duration::from_millis(500);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Snafu)]
pub enum SimulatorError {
    #[snafu(display("{why}"))]
    Endpoint { why: String },
    #[snafu(display("key file {file:?} is not the name of a file beside the config"))]
    KeyName { file: String },
    #[snafu(display("cannot read key file {file}"))]
    KeyRead { file: String, source: std::io::Error },
    #[snafu(display("key file {file} is not the one that the config means: its SHA-256 differs"))]
    KeyDigest { file: String },
    #[snafu(display("key file {file} holds no {what}"))]
    Key { file: String, what: &'static str },
    #[snafu(display("the https client cannot be built"))]
    Client { source: reqwest::Error },
}

/// A connection to the simulated network for one merchant of it.
pub struct Simulator {
    endpoint: Url,
    merchant: String,
    key: MerchantKey,
    network: NetworkKey,
    client: Client,
}

impl Simulator {
    /// Reads the keys from the config's folder and prepares the https client.
    pub fn new(
        config: &SimulatorNetwork,
        folder: &Path,
        denied: Arc<DeniedNetworks>,
    ) -> Result<Self, SimulatorError> {
        let endpoint =
            endpoint::parse(&config.endpoint, &denied).map_err(|why| SimulatorError::Endpoint { why })?;
        let file = &config.merchant_key;
        let key = MerchantKey::from_pem(&read(folder, file)?)
            .context(KeySnafu { file: &file.file, what: "ECDSA P-256 private key (PKCS#8 PEM)" })?;
        let file = &config.network_key;
        let network = NetworkKey::from_pem(&read(folder, file)?)
            .context(KeySnafu { file: &file.file, what: "ECDSA P-256 public key (PEM)" })?;
        let file = &config.ca;
        let roots = reqwest::Certificate::from_pem_bundle(&read(folder, file)?).unwrap_or_default();
        ensure!(!roots.is_empty(), KeySnafu { file: &file.file, what: "certificate (PEM)" });
        let client = endpoint::client(roots, GuardedResolver::new(&endpoint, denied));
        let client = client.timeout(ANSWER_MAX).pool_max_idle_per_host(64).build().context(ClientSnafu)?;
        Ok(Self { endpoint, merchant: config.merchant_id.to_string(), key, network, client })
    }

    fn prepare(&self, path: &str, number: &str, body: &impl Serialize) -> Result<Prepared, PrepareError> {
        let failed = |why: String| PrepareError { why };
        let body = serde_json::to_string(body).map_err(|e| failed(e.to_string()))?;
        let url = self.endpoint.join(path).map_err(|e| failed(e.to_string()))?;
        let now = Timestamp::now();
        let (seconds, nonce) = (now.as_second(), uuid::Uuid::new_v4().simple().to_string());
        let text = format!("POST\n{path}\n{seconds}\n{nonce}\n{body}\n");
        let signature = self.key.sign(text.as_bytes()).ok_or_else(|| failed("signing failed".to_owned()))?;
        let request = self
            .client
            .request(Method::POST, url)
            .header("content-type", "application/json")
            .header("sim-merchant", &self.merchant)
            .header("sim-timestamp", seconds)
            .header("sim-nonce", &nonce)
            .header("sim-signature", signature)
            .body(body)
            .build()
            .map_err(|e| failed(e.to_string()))?;
        // The signature bears whole seconds; what was cut off makes it no older.
        let signed_at = Timestamp::from_second(seconds).unwrap_or(now);
        Ok(Prepared { number: number.to_owned(), signed_at, request, nonce })
    }

    async fn connect_and_send(&self, request: reqwest::Request) -> reqwest::Result<reqwest::Response> {
        for _ in 1..CONNECT_TRIES {
            let Some(copy) = request.try_clone() else { break };
            match self.client.execute(copy).await {
                Err(error) if error.is_connect() => tokio::time::sleep(CONNECT_AGAIN).await,
                done => return done,
            }
        }
        self.client.execute(request).await
    }

    /// Sends a request once, and verifies what comes back.
    async fn exchange(&self, prepared: Prepared, trace: Trace) -> Exchanged {
        let Prepared { mut request, nonce, .. } = prepared;
        trace.put(request.headers_mut());
        let mut response = match self.connect_and_send(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => return Exchanged::NotSent(reason(&error)),
            Err(error) => return Exchanged::Unknown(reason(&error)),
        };
        let status = response.status().as_u16();
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len().saturating_add(chunk.len()) <= ANSWER_BYTES_MAX => {
                    body.extend_from_slice(&chunk);
                }
                Ok(Some(_)) => return Exchanged::Unknown("the answer is too long".to_owned()),
                Ok(None) => break,
                Err(error) => return Exchanged::Unknown(reason(&error)),
            }
        }
        match self.network.verify(response.headers(), status, &nonce, &body) {
            Some(at) => Exchanged::Answer { status, at, body },
            None => Exchanged::Unknown(format!("an answer {status} whose signature does not verify")),
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
        self.prepare("/sim/v1/pay", pay.number, &body)
    }

    fn prepare_refund(&self, repay: &Repay<'_>) -> Result<Prepared, PrepareError> {
        let body = RefundBody {
            number: repay.number,
            original_number: repay.original_number,
            amount_minor: repay.amount.minor(),
        };
        self.prepare("/sim/v1/refund", repay.number, &body)
    }

    fn send(&self, prepared: Prepared, trace: Trace) -> BoxFuture<'_, Outcome> {
        async move {
            let number = prepared.number.clone();
            match self.exchange(prepared, trace).await {
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

    fn query<'a>(&'a self, number: &'a str, trace: Trace) -> BoxFuture<'a, Found> {
        let unknown = |why: String| Found::Outcome(Outcome::Unknown { why });
        async move {
            let prepared = match self.prepare("/sim/v1/query", number, &QueryBody { number }) {
                Ok(prepared) => prepared,
                Err(error) => return unknown(error.why),
            };
            match self.exchange(prepared, trace).await {
                Exchanged::Answer { status: 200..=299, body, .. } => {
                    Found::Outcome(Answer::outcome(&body, number))
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

    fn close<'a>(&'a self, number: &'a str, trace: Trace) -> BoxFuture<'a, Outcome> {
        async move {
            let prepared = match self.prepare("/sim/v1/close", number, &QueryBody { number }) {
                Ok(prepared) => prepared,
                Err(error) => return Outcome::Unknown { why: error.why },
            };
            match self.exchange(prepared, trace).await {
                Exchanged::Answer { status: 200..=299, body, .. } => Answer::outcome(&body, number),
                Exchanged::Answer { status, .. } => Outcome::Unknown { why: format!("answer {status}") },
                Exchanged::NotSent(why) | Exchanged::Unknown(why) => Outcome::Unknown { why },
            }
        }
        .boxed()
    }

    fn closed_at(&self, signed_at: Timestamp) -> Timestamp {
        // It may have looked before it stamped its answer, by as long as we wait for one.
        let late = SignedDuration::try_from(ANSWER_MAX).unwrap_or(SignedDuration::MAX);
        signed_at.saturating_add(WINDOW.saturating_add(late)).unwrap_or(Timestamp::MAX)
    }
}

/// Reads a key file and compares it with the digest in the config.
fn read(folder: &Path, key: &KeyFile) -> Result<Vec<u8>, SimulatorError> {
    let file = &key.file;
    ensure!(!file.is_empty() && !file.contains('/') && file != "..", KeyNameSnafu { file });
    let bytes = std::fs::read(folder.join(file)).context(KeyReadSnafu { file })?;
    ensure!(payplane_api::config::hash(&bytes) == key.sha256, KeyDigestSnafu { file });
    Ok(bytes)
}
