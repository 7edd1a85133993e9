//! Signed requests to either gateway. Each is recorded before it leaves, and so is what
//! came back before it counts. Nothing is sent twice by itself.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use payplane_client::key::SigningKey;
use payplane_client::load::journal::Journal;
use payplane_client::message::Problem;
use reqwest::{Certificate, Client, Method, Response, StatusCode};
use serde_json::json;

use super::counts::Counts;
use super::record::{Call, Line, Said, Sent};
use super::stage::{APP, MERCHANT, Stage};
use crate::harness::DATE;

/// Connections to each gateway.
const CONNECTIONS: usize = 6;
/// How long it waits for an answer: as callers should, and as some do.
const PATIENT: Duration = Duration::from_secs(30);
const IMPATIENT: Duration = Duration::from_secs(3);

/// A signed request, whose bytes can be sent more than once.
#[derive(Clone)]
pub(super) struct Signed {
    method: Method,
    path: String,
    body: Vec<u8>,
    headers: [(&'static str, String); 3],
    pub(super) nonce: String,
}

pub(super) struct Caller {
    key: SigningKey,
    gateways: Vec<String>,
    clients: [Vec<Client>; 2],
    turn: AtomicU64,
    next: AtomicU64,
    pub(super) journal: Journal,
    pub(super) counts: Arc<Counts>,
}

impl Caller {
    pub(super) fn new(stage: &Stage, record: &Path, counts: Arc<Counts>) -> Result<Self> {
        let roots = Certificate::from_pem_bundle(&std::fs::read(stage.trust.join("ca.crt"))?)?;
        let client = |timeout| {
            let builder = Client::builder().https_only(true).tls_certs_only(roots.clone()).no_proxy();
            let pings = Duration::from_secs(3);
            let builder = builder.http2_keep_alive_interval(pings).http2_keep_alive_timeout(pings);
            builder.retry(reqwest::retry::never()).connect_timeout(pings).timeout(timeout).build()
        };
        let clients = |timeout| (0..CONNECTIONS).map(|_| client(timeout)).collect::<Result<Vec<_>, _>>();
        let url =
            |link: &payplane_e2e::chaos::proxy::Proxy| format!("https://localhost:{}", link.address.port());
        Ok(Self {
            key: SigningKey::load(payplane_client::key::Algorithm::default(), &stage.key())?,
            gateways: stage.links.shop.iter().map(url).collect(),
            clients: [clients(PATIENT)?, clients(IMPATIENT)?],
            turn: AtomicU64::new(0),
            next: AtomicU64::new(0),
            journal: Journal::create(record)?,
            counts,
        })
    }

    /// A request for `sent`; with a nonce of its own unless one is given.
    pub(super) fn sign(&self, sent: &Sent, nonce: Option<String>) -> Result<Signed> {
        let (method, path, body) = request(sent)?;
        let nonce = nonce.unwrap_or_else(|| uuid::Uuid::new_v4().simple().to_string());
        let content_digest = format!("sha-256=:{}:", STANDARD.encode(digest(&SHA256, &body)));
        let params = format!(
            "(\"@method\" \"@path\" \"@query\" \"content-digest\");created={};nonce=\"{nonce}\";keyid=\"{APP}/k1\";\
             alg=\"ecdsa-p256-sha256\"",
            jiff::Timestamp::now().as_second()
        );
        let text = format!(
            "\"@method\": {method}\n\"@path\": {path}\n\"@query\": ?\n\"content-digest\": {content_digest}\n\
             \"@signature-params\": {params}"
        );
        let signature = STANDARD.encode(self.key.sign(text.as_bytes()).context("no signature")?);
        let headers = [
            ("content-digest", content_digest),
            ("signature-input", format!("sig1={params}")),
            ("signature", format!("sig1=:{signature}:")),
        ];
        Ok(Signed { method, path, body, headers, nonce })
    }

    /// Records, sends, and records what came back.
    pub(super) async fn ask(&self, sent: &Sent, signed: &Signed, hurried: bool) -> Result<Said> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.journal.write(&Line::Sent(Sent { id, ..sent.clone() })).await?;
        self.counts.left(sent.gateway);
        let said = self.send(sent, signed, hurried).await;
        let recorded = self.journal.write(&Line::Answered { id, said: said.clone() }).await;
        self.counts.ended(sent.gateway, said.is_answer());
        recorded?;
        Ok(said)
    }

    async fn send(&self, sent: &Sent, signed: &Signed, hurried: bool) -> Said {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) as usize;
        let client = &self.clients[usize::from(hurried)][turn % CONNECTIONS];
        let url = format!("{}{}", self.gateways[sent.gateway], signed.path);
        let mut request = client.request(signed.method.clone(), url).body(signed.body.clone());
        for (name, value) in &signed.headers {
            request = request.header(*name, value);
        }
        match request.send().await {
            Ok(response) => read(sent.call, response).await,
            Err(error) if error.is_connect() => Said::NotSent,
            Err(error) => Said::Unknown { why: error.to_string() },
        }
    }
}

fn request(sent: &Sent) -> Result<(Method, String, Vec<u8>)> {
    let order = format!("/v1/payments/{DATE}/{}", sent.number);
    let refunds = format!("{order}/refunds");
    let one =
        || sent.refund.as_ref().map(|number| format!("{refunds}/{number}")).context("a refund's number");
    let (post, get) = (Method::POST, Method::GET);
    Ok(match sent.call {
        Call::Pay | Call::PayOtherwise | Call::PayAnew => {
            let body = json!({"orderDate": DATE, "orderNumber": sent.number, "merchantId": MERCHANT,
                "method": sent.method, "amountMinor": sent.amount_minor, "currency": "CNY", "expiresInSeconds": 60});
            (post, "/v1/payments".to_owned(), serde_json::to_vec(&body)?)
        }
        Call::Refund => {
            let body = json!({"refundNumber": sent.refund, "amountMinor": sent.amount_minor});
            (post, refunds, serde_json::to_vec(&body)?)
        }
        Call::Close => (post, format!("{order}/close"), vec![]),
        Call::Query => (get, order, vec![]),
        Call::QueryRefund => (get, one()?, vec![]),
    })
}

async fn read(call: Call, response: Response) -> Said {
    let status = response.status();
    let body = match response.bytes().await {
        Ok(body) => body,
        Err(error) => return Said::Unknown { why: error.to_string() },
    };
    if !status.is_success() {
        let Problem { code, .. } = serde_json::from_slice(&body).unwrap_or_default();
        return Said::Refused { status: status.as_u16(), code };
    }
    let is_new = status == StatusCode::CREATED;
    let said = match call {
        Call::Refund | Call::QueryRefund => {
            serde_json::from_slice(&body).map(|refund| Said::Refund { is_new, refund })
        }
        _ => serde_json::from_slice(&body).map(|payment| Said::Payment { is_new, payment }),
    };
    said.unwrap_or_else(|error| Said::Refused { status: status.as_u16(), code: error.to_string() })
}
