//! A bank's sender of one-time codes: over TLS, it verifies what comes, and answers as it is told to.

use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use jiff::Timestamp;
use payplane_client::notification::Verifier;
use payplane_common::serve;
use payplane_common::shutdown::Shutdown;
use payplane_common::tls::{self, Files};
use payplane_testkit::port;
use serde_json::{Value, json};

use crate::harness::Stack;
use crate::risk::{in_force, policy};

/// Answers nothing, until it is told what.
pub(crate) const SILENT: u16 = 0;
pub(crate) const TAKES: u16 = 204;
pub(crate) const CANNOT: u16 = 422;
pub(crate) const AWAY: u16 = 503;
const SOON: Duration = Duration::from_secs(20);

pub(crate) struct CodeSender {
    pub(crate) url: String,
    ca_pem: String,
    verifier: Verifier,
    answer: AtomicU16,
    pub(crate) forged: AtomicUsize,
    /// Whatever came in, whether it was taken or not.
    asked: Mutex<Vec<Value>>,
    shutdown: Shutdown,
}

impl CodeSender {
    /// One that takes codes, beside a stack.
    pub(crate) async fn start(stack: &Stack) -> Result<Arc<Self>> {
        let pki = &stack.postgres.pki;
        let identity = Some(pki.leaf("codes", &["localhost"])?);
        let port = port::free()?;
        let sender = Arc::new(Self {
            url: format!("https://localhost:{port}/send"),
            ca_pem: std::fs::read_to_string(pki.trust().join("ca.crt"))?,
            verifier: Verifier::from_pem(&std::fs::read(stack.folder.path().join("notify.pub"))?)?,
            answer: AtomicU16::new(TAKES),
            forged: AtomicUsize::new(0),
            asked: Mutex::default(),
            shutdown: Shutdown::default(),
        });
        let router = axum::Router::new().fallback(answer).with_state(sender.clone());
        let listener = serve::listen(([127, 0, 0, 1], port).into()).await?;
        let config = tls::server(Files { identity, trust: None })?;
        tokio::spawn(serve::tls(listener, config, router, sender.shutdown.clone()));
        Ok(sender)
    }

    /// As a config names it.
    pub(crate) fn config(&self) -> Value {
        json!({"url": self.url, "caPem": self.ca_pem})
    }

    pub(crate) fn answers(&self, status: u16) {
        self.answer.store(status, Ordering::SeqCst);
    }

    /// What it was asked to send for an order, oldest first.
    pub(crate) fn asked(&self, order: &str) -> Vec<Value> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.iter().filter(|message| message["orderNumber"] == order).cloned().collect()
    }

    /// The latest code of an order.
    pub(crate) fn code(&self, order: &str) -> Result<String> {
        let last = self.asked(order).pop().context("no code came")?;
        Ok(last["code"].as_str().context("a code")?.to_owned())
    }

    /// Waits until it was asked so often.
    pub(crate) async fn is_asked(&self, order: &str, times: usize) -> Result<()> {
        let began = Instant::now();
        while self.asked(order).len() < times {
            ensure!(began.elapsed() < SOON, "{order} was asked for {} times", self.asked(order).len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

impl Drop for CodeSender {
    fn drop(&mut self) {
        self.shutdown.closing.cancel();
    }
}

async fn answer(
    State(sender): State<Arc<CodeSender>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let checked = sender.verifier.check(&sender.url, &headers, &body, Timestamp::now());
    if checked.is_err() || uri.path() != "/send" {
        sender.forged.fetch_add(1, Ordering::SeqCst);
        return StatusCode::UNAUTHORIZED;
    }
    let message = serde_json::from_slice(&body).unwrap_or_default();
    sender.asked.lock().unwrap_or_else(PoisonError::into_inner).push(message);
    loop {
        match sender.answer.load(Ordering::SeqCst) {
            SILENT => tokio::time::sleep(Duration::from_millis(20)).await,
            status => return StatusCode::from_u16(status).unwrap_or(StatusCode::IM_A_TEAPOT),
        }
    }
}

/// Amounts above this want a proof.
pub(crate) const FREE: i64 = 5_000;

/// A policy that wants the proof of who pays more than [`FREE`].
pub(crate) fn proof(on_error: &str) -> Value {
    let rule = json!({"currency": "CNY", "amountMinorMax": FREE});
    let mut policy = policy("proof", "Amount", &rule);
    policy["action"] = json!("StepUp");
    policy["onError"] = json!(on_error);
    policy
}

/// A stack with that policy in force, and its sender.
pub(crate) async fn stack_that_asks(on_error: &str) -> Result<(Stack, Arc<CodeSender>)> {
    let mut stack = Stack::start().await?;
    let sender = CodeSender::start(&stack).await?;
    stack.step_up = sender.config();
    in_force(&mut stack, json!([proof(on_error)])).await?;
    Ok((stack, sender))
}
