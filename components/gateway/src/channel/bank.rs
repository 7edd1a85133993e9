//! Bank direct: the core of a bank, by the contract in docs/bank-direct.md. JSON over https,
//! signed on both sides; an account is debited at once, or later.

mod agreement;
mod codes;
mod message;
mod notification;
mod sign;
#[cfg(test)]
mod trials;

use std::path::Path;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use jiff::{SignedDuration, Timestamp};
use payplane_api::config::BankDirectNetwork;
use payplane_api::money::Money;
use payplane_common::trace::Trace;
use reqwest::Method;
use serde::Serialize;

use self::message::{Entry, NumberBody, PayBody, PayoutBody, RefundBody};
use self::sign::{BankKeys, Lines, OwnKey, Said};
use super::agreement::{Agreements, WrongCode};
use super::connection::{Answer, Connection, Silence};
use super::credentials::{SetupError, identity, parse, roots};
use super::endpoint::DeniedNetworks;
use super::notification::{Notification, Unproven};
use super::{Channel, Found, Kind, Outcome, Pay, Payout, PrepareError, Prepared, Repay, Sent, record};

pub const ACCOUNT: &str = "bank-account";

const PAY: &str = "/bank/v1/pay";
const REFUND: &str = "/bank/v1/refund";
const PAYOUT: &str = "/bank/v1/payout";
const QUERY: &str = "/bank/v1/query";
const CLOSE: &str = "/bank/v1/close";

/// The bank refuses a request whose time is further than this from its clock,
const WINDOW: SignedDuration = SignedDuration::from_secs(60);
/// and needs this long until a query finds what it took, by whichever of its clocks.
const STORED_MAX: SignedDuration = SignedDuration::from_secs(10);
const DESCRIPTION_CHARS_MAX: usize = 128;

/// A connection to a bank for one participant of it.
pub struct BankDirect {
    participant: String,
    /// Does the bank have agreements?
    agreements: bool,
    notify_url: String,
    key: OwnKey,
    bank: BankKeys,
    connection: Connection,
}

/// A request that is signed, and the nonce that its answer bears.
struct Signed {
    request: reqwest::Request,
    signed_at: Timestamp,
    nonce: String,
}

/// An answer that verified, and its time.
struct Verified {
    status: u16,
    at: Timestamp,
    body: Vec<u8>,
}

impl BankDirect {
    /// Reads the keys from the config's folder and prepares the https client.
    pub fn new(
        config: &BankDirectNetwork,
        folder: &Path,
        denied: Arc<DeniedNetworks>,
    ) -> Result<Self, SetupError> {
        let what = "ECDSA P-256 private key (PKCS#8 PEM)";
        let key = parse(folder, &config.merchant_key, what, OwnKey::from_pem)?;
        let what = "1 to 4 ECDSA P-256 public keys (PEM)";
        let bank = parse(folder, &config.network_key, what, BankKeys::from_pem)?;
        let roots = roots(folder, config.reach.ca.as_ref())?;
        let identity = identity(folder, config.client.as_ref())?;
        Ok(Self {
            participant: config.participant_id.clone(),
            agreements: config.agreements,
            notify_url: config.reach.notify_url.clone(),
            key,
            bank,
            connection: Connection::showing(identity, &config.reach.endpoint, roots, denied)?,
        })
    }

    fn sign(&self, path: &str, body: &impl Serialize) -> Result<Signed, PrepareError> {
        let failed = |why: String| PrepareError { why };
        let body = serde_json::to_string(body).map_err(|e| failed(e.to_string()))?;
        let now = Timestamp::now();
        let (seconds, nonce) = (now.as_second(), uuid::Uuid::new_v4().simple().to_string());
        let time = seconds.to_string();
        let lines = Lines {
            participant: &self.participant,
            key_id: &self.key.id,
            time: &time,
            nonce: &nonce,
            body: body.as_bytes(),
        };
        let signature = self.key.sign(&Said::Request { path }.text(&lines));
        let request = self
            .connection
            .request(Method::POST, path)?
            .header("content-type", "application/json")
            .header(sign::PARTICIPANT, &self.participant)
            .header(sign::KEY, &self.key.id)
            .header(sign::TIME, time)
            .header(sign::NONCE, &nonce)
            .header(sign::SIGNATURE, signature.ok_or_else(|| failed("signing failed".to_owned()))?)
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
    async fn exchange(
        &self,
        request: reqwest::Request,
        nonce: &str,
        trace: Trace,
    ) -> Result<Verified, Silence> {
        let answer = self.connection.send(request, trace).await?;
        let status = answer.status;
        match self.answered_at(&answer, nonce) {
            Some(at) => {
                record::verified();
                Ok(Verified { status, at, body: answer.body })
            }
            None => Err(Silence::Unknown(format!("an answer {status} whose signature does not verify"))),
        }
    }

    /// The time of an answer to the request with this nonce, where it is one.
    fn answered_at(&self, answer: &Answer, nonce: &str) -> Option<Timestamp> {
        let said = Said::Answer { status: answer.status };
        let verified = self.bank.verify(&said, &answer.headers, &self.participant, &answer.body);
        verified.filter(|(_, echoed)| *echoed == nonce).map(|(at, _)| at)
    }

    /// Asks about a number that was sent before.
    async fn ask(&self, path: &str, number: &str, trace: Trace) -> Result<Verified, String> {
        let signed = self.sign(path, &NumberBody { number }).map_err(|error| error.why)?;
        let answer = self.exchange(signed.request, &signed.nonce, trace).await;
        answer.map_err(|(Silence::NotSent(why) | Silence::Unknown(why))| why)
    }
}

/// As much of a description as the bank takes.
fn shown(description: &str) -> String {
    description.chars().take(DESCRIPTION_CHARS_MAX).collect()
}

/// What an answer says of what was sent.
fn read(sent: &Sent, body: &[u8]) -> Outcome {
    match Entry::read(body) {
        Some(entry) => entry.outcome_of(sent),
        None => Outcome::Unknown { why: "an answer that cannot be read".to_owned() },
    }
}

impl Channel for BankDirect {
    fn prepare_pay(&self, pay: &Pay<'_>) -> Result<Prepared, PrepareError> {
        let failed = |why: String| PrepareError { why };
        if pay.method != ACCOUNT {
            return Err(failed(format!("bank direct has no method {}", pay.method)));
        }
        let body = PayBody {
            number: pay.number,
            amount_minor: pay.amount.minor(),
            currency: pay.amount.currency(),
            payer_account: pay.payer.ok_or_else(|| failed("payerId (the account) is missing".to_owned()))?,
            description: shown(pay.description),
            expires_at: pay.expires_at,
            notify_url: &self.notify_url,
        };
        self.prepare((PAY, &body), (pay.number, pay.amount))
    }

    fn prepare_refund(&self, repay: &Repay<'_>) -> Result<Prepared, PrepareError> {
        let body = RefundBody {
            number: repay.number,
            original_number: &repay.original.number,
            amount_minor: repay.amount.minor(),
            currency: repay.amount.currency(),
            notify_url: &self.notify_url,
        };
        self.prepare((REFUND, &body), (repay.number, repay.amount))
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
            description: shown(payout.description),
            notify_url: &self.notify_url,
        };
        self.prepare((PAYOUT, &body), (payout.number, payout.amount))
    }

    fn send(&self, prepared: Prepared, trace: Trace) -> BoxFuture<'_, Outcome> {
        async move {
            let Prepared { number, amount, signed_at, request, context: nonce } = prepared;
            let kind = match request.url().path() {
                REFUND => Kind::Refund { original_number: String::new() },
                PAYOUT => Kind::Payout,
                _ => Kind::Payment { expires_at: Timestamp::MAX },
            };
            let sent = Sent { number, amount, signed_at, network_id: None, kind };
            match self.exchange(request, &nonce, trace).await {
                Ok(Verified { status: 200, body, .. }) => read(&sent, &body),
                Ok(Verified { status, body, .. }) => {
                    codes::refused(status, &message::code(&body).unwrap_or_default())
                }
                Err(Silence::NotSent(why)) => Outcome::NotSent { why },
                Err(Silence::Unknown(why)) => Outcome::Unknown { why },
            }
        }
        .boxed()
    }

    fn query<'a>(&'a self, sent: &'a Sent, trace: Trace) -> BoxFuture<'a, Found> {
        let unknown = |why: String| Found::Outcome(Outcome::Unknown { why });
        async move {
            match self.ask(QUERY, &sent.number, trace).await {
                Ok(Verified { status: 200, body, .. }) => Found::Outcome(read(sent, &body)),
                Ok(Verified { status: 404, at, body })
                    if message::code(&body).as_deref() == Some("NotFound") =>
                {
                    Found::NotFound { at }
                }
                Ok(Verified { status, .. }) => unknown(format!("answer {status}")),
                Err(why) => unknown(why),
            }
        }
        .boxed()
    }

    fn close<'a>(&'a self, sent: &'a Sent, trace: Trace) -> BoxFuture<'a, Outcome> {
        async move {
            match self.ask(CLOSE, &sent.number, trace).await {
                Ok(Verified { status: 200, body, .. }) => read(sent, &body),
                Ok(Verified { status, .. }) => Outcome::Unknown { why: format!("answer {status}") },
                Err(why) => Outcome::Unknown { why },
            }
        }
        .boxed()
    }

    fn closed_at(&self, sent: &Sent) -> Timestamp {
        self.sign_closed_at(sent.signed_at)
    }

    fn confirm<'a>(
        &'a self,
        sent: &'a Sent,
        code: &'a str,
        trace: Trace,
    ) -> BoxFuture<'a, Result<Outcome, WrongCode>> {
        self.confirm_payment(sent, code, trace).boxed()
    }

    fn takes_top_ups(&self) -> bool {
        true
    }

    fn agreements(&self) -> Option<&dyn Agreements> {
        Some(self)
    }

    fn signs(&self, _method: &str) -> bool {
        self.agreements
    }

    fn needs_payer(&self, _method: &str) -> bool {
        true
    }

    fn read_notification(&self, headers: &HeaderMap, body: &[u8]) -> Result<Notification, Unproven> {
        if self.bank.verify(&Said::Notification, headers, &self.participant, body).is_none() {
            return Err(Unproven::because("the signature does not verify"));
        }
        notification::read(body)
    }
}
