//! The merchant's endpoint: over TLS, it writes down when the success of which payment was told,
//! and verifies each notification after the run, as requests are signed before it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::Result;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use payplane_client::notification::{Notification, Verifier};
use payplane_common::serve;
use payplane_common::shutdown::Shutdown;
use payplane_common::tls::{self, Files};
use payplane_testkit::{Pki, port};
use serde_json::{Value, json};

use super::plan;
use super::slots::Run;

pub(super) struct Receiver {
    url: String,
    ca_pem: String,
    verifier: Verifier,
    runs: RwLock<HashMap<String, Arc<Run>>>,
    came: Mutex<Vec<Came>>,
    /// Of events that were told before.
    pub(super) again: AtomicU64,
    /// Of payments that failed.
    pub(super) failures: AtomicU64,
    shutdown: Shutdown,
}

/// A notification as it came.
struct Came {
    at: Timestamp,
    headers: HeaderMap,
    body: Bytes,
}

impl Receiver {
    pub(super) async fn start(pki: &Pki, keys: &[u8]) -> Result<Arc<Self>> {
        let port = port::free()?;
        let receiver = Arc::new(Self {
            url: format!("https://localhost:{port}/paid"),
            ca_pem: std::fs::read_to_string(pki.trust().join("ca.crt"))?,
            verifier: Verifier::from_pem(keys)?,
            runs: RwLock::default(),
            came: Mutex::default(),
            again: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            shutdown: Shutdown::default(),
        });
        let identity = Some(pki.leaf("shop", &[])?);
        let router = axum::Router::new().fallback(answer).with_state(receiver.clone());
        let listener = serve::listen(([127, 0, 0, 1], port).into()).await?;
        let config = tls::server(Files { identity, trust: None })?;
        tokio::spawn(serve::tls(listener, config, router, receiver.shutdown.clone()));
        Ok(receiver)
    }

    /// Where an app is notified, as it is registered.
    pub(super) fn notification(&self) -> Value {
        json!({"url": self.url, "caPem": self.ca_pem})
    }

    /// From now on it knows this run's payments.
    pub(super) fn expects(&self, run: &Arc<Run>) {
        self.runs.write().unwrap_or_else(PoisonError::into_inner).insert(run.name.clone(), run.clone());
    }

    /// How many of those that came since this was asked last do not verify.
    pub(super) fn forged(&self) -> usize {
        let came = std::mem::take(&mut *self.came.lock().unwrap_or_else(PoisonError::into_inner));
        let is_forged =
            |one: &&Came| self.verifier.verify(&self.url, &one.headers, &one.body, one.at).is_err();
        came.iter().filter(is_forged).count()
    }

    pub(super) fn close(&self) {
        self.shutdown.closing.cancel();
    }

    fn take(&self, told: &Notification) -> Option<()> {
        if told.kind != "payment.succeeded" {
            self.failures.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        let (run, n) = plan::read(told.data.get("orderNumber")?.as_str()?)?;
        let run = self.runs.read().unwrap_or_else(PoisonError::into_inner).get(run)?.clone();
        let lag = Timestamp::now().duration_since(told.created_at).as_micros();
        if !run.is_notified(n, u64::try_from(lag).unwrap_or(0)) {
            self.again.fetch_add(1, Ordering::Relaxed);
        }
        Some(())
    }
}

async fn answer(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if let Ok(told) = serde_json::from_slice(&body) {
        let _ = receiver.take(&told);
    }
    let came = Came { at: Timestamp::now(), headers, body };
    receiver.came.lock().unwrap_or_else(PoisonError::into_inner).push(came);
    StatusCode::NO_CONTENT
}
