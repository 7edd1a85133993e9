//! A merchant's endpoint: over TLS, it verifies what comes, and answers as it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use payplane_client::notification::{Notification, Verifier};
use payplane_common::serve;
use payplane_common::shutdown::Shutdown;
use payplane_common::tls::{self, Files};
use payplane_testkit::Pki;
use serde_json::{Value, json};
use uuid::Uuid;

/// How it answers.
#[derive(Clone, Copy)]
pub enum Mood {
    Takes,
    Refuses,
    /// One event of three is refused when it comes first.
    Wavers,
    /// It takes the request and says nothing for longer than anybody waits.
    Silent,
    /// It sends the caller elsewhere.
    Redirects,
}

/// Everything that came in, refused or not.
pub struct Receiver {
    url: String,
    ca_pem: String,
    verifier: Verifier,
    mood: AtomicU8,
    pub asked: AtomicUsize,
    pub forged: AtomicUsize,
    pub astray: AtomicUsize,
    taken: Mutex<BTreeMap<Uuid, Notification>>,
    wavered: Mutex<BTreeSet<Uuid>>,
    shutdown: Shutdown,
}

impl Receiver {
    /// Listens at an address, under a certificate of this CA, and believes these keys.
    pub async fn start(address: SocketAddr, host: &str, pki: &Pki, keys: &[u8]) -> Result<Arc<Self>> {
        let identity = Some(pki.leaf("shop", &[host])?);
        let receiver = Arc::new(Self {
            url: format!("https://{host}:{}/paid", address.port()),
            ca_pem: std::fs::read_to_string(pki.trust().join("ca.crt"))?,
            verifier: Verifier::from_pem(keys)?,
            mood: AtomicU8::new(Mood::Takes as u8),
            asked: AtomicUsize::new(0),
            forged: AtomicUsize::new(0),
            astray: AtomicUsize::new(0),
            taken: Mutex::default(),
            wavered: Mutex::default(),
            shutdown: Shutdown::default(),
        });
        let router = axum::Router::new().fallback(answer).with_state(receiver.clone());
        let listener = serve::listen(address).await?;
        let config = tls::server(Files { identity, trust: None })?;
        tokio::spawn(serve::tls(listener, config, router, receiver.shutdown.clone()));
        Ok(receiver)
    }

    /// Where an app is notified, as it is registered.
    #[must_use]
    pub fn notification(&self) -> Value {
        json!({"url": self.url, "caPem": self.ca_pem})
    }

    pub fn becomes(&self, mood: Mood) {
        self.mood.store(mood as u8, Ordering::SeqCst);
    }

    /// What it took, by the event.
    #[must_use]
    pub fn taken(&self) -> BTreeMap<Uuid, Notification> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wavers_at(&self, event: Uuid) -> bool {
        let mut wavered = self.wavered.lock().unwrap_or_else(PoisonError::into_inner);
        event.as_bytes()[15].is_multiple_of(3) && wavered.insert(event)
    }

    /// Waits until exactly these events were taken.
    pub async fn has(&self, events: &BTreeSet<Uuid>, max: Duration) -> Result<()> {
        let started = Instant::now();
        loop {
            let taken: BTreeSet<_> = self.taken().into_keys().collect();
            if taken == *events {
                return Ok(());
            }
            if started.elapsed() > max {
                bail!("missing {:?}, not known {:?}", events - &taken, &taken - events);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shutdown.closing.cancel();
    }
}

async fn answer(
    State(receiver): State<Arc<Receiver>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    receiver.asked.fetch_add(1, Ordering::SeqCst);
    if uri.path() != "/paid" {
        receiver.astray.fetch_add(1, Ordering::SeqCst);
    }
    let Ok(told) = receiver.verifier.verify(&receiver.url, &headers, &body, Timestamp::now()) else {
        receiver.forged.fetch_add(1, Ordering::SeqCst);
        return StatusCode::UNAUTHORIZED.into_response();
    };
    match receiver.mood.load(Ordering::SeqCst) {
        mood if mood == Mood::Refuses as u8 => return StatusCode::SERVICE_UNAVAILABLE.into_response(),
        mood if mood == Mood::Wavers as u8 && receiver.wavers_at(told.event_id) => {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        mood if mood == Mood::Silent as u8 => {
            tokio::time::sleep(Duration::from_secs(30)).await;
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        mood if mood == Mood::Redirects as u8 => {
            return (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]).into_response();
        }
        _ => {}
    }
    receiver.taken.lock().unwrap_or_else(PoisonError::into_inner).insert(told.event_id, told);
    StatusCode::NO_CONTENT.into_response()
}
