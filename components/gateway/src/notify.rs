//! Apps are told what became of their orders: signed, in their own time, each event at
//! least once. Every replica sends; they share by skipping what another has taken. What
//! is owed, and what came of each try, is in the database (`store::deliveries`, `store::tries`).

pub mod endpoint;
mod handed;
pub mod schedule;
pub mod sign;

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderMap;
use jiff::Timestamp;
use payplane_common::shutdown::Shutdown;
use payplane_common::telemetry::chain;
use reqwest::Url;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};

use self::endpoint::Endpoints;
use self::sign::NotifyKey;
use crate::gateway::Gateway;
use crate::metrics;
use crate::store::StoreError;
use crate::store::deliveries::Delivery;
use crate::store::tries::Tried;
use crate::works::Works;

/// Notifications taken in one look.
const TAKEN_MAX: usize = 64;
/// Sent at once by one replica; an app that has its share gets no more, and so many of it
/// are taken in one look.
const WORK_MAX: usize = 256;
const APP_MAX: usize = 32;
const APP_TAKEN_MAX: i64 = 32;
/// Failures written down at once: payments need connections too.
const FAILED_MAX: usize = 4;
/// Taken ones that are written down together, and that may wait for it.
const NOTED_MAX: usize = 128;
/// What is published within so long is taken in one look, and what is taken within so long
/// is written down together.
const GATHER: Duration = Duration::from_millis(10);
const CHORES_EVERY: Duration = Duration::from_secs(5);

/// Runs until the process closes, and what it has begun has ended.
pub async fn run(gateway: Arc<Gateway>, shutdown: Shutdown) {
    let mut works = Works::new(WORK_MAX, APP_MAX);
    let (taken, waiting) = mpsc::channel(NOTED_MAX);
    let noting = tokio::spawn(note(gateway.clone(), waiting));
    let failures = Arc::new(Semaphore::new(FAILED_MAX));
    let sender = Sender { gateway: gateway.clone(), endpoints: Arc::default(), taken, failures };
    let handed = tokio::spawn(handed::run(sender.clone(), shutdown.clone()));
    let mut chores_at = Instant::now();
    while !shutdown.closing.is_cancelled() {
        let was_busy = !works.busy().is_empty();
        let mut more = sender.take(&mut works).await.unwrap_or_else(|error| {
            tracing::info!(error = chain(&error), "notifications wait for the database");
            false
        });
        if chores_at <= Instant::now() {
            gateway.notify_key.follow();
            chores(&gateway).await;
            chores_at = Instant::now().checked_add(CHORES_EVERY).unwrap_or(chores_at);
        }
        // An app that had its share was passed over. Where its share has ended since, what
        // it has waiting is looked for at once, not when the next look is due.
        if was_busy {
            works.pause(true, &gateway.store.published, &shutdown).await;
            more |= works.busy().is_empty();
        }
        works.pause(more, &gateway.store.published, &shutdown).await;
        tokio::time::sleep(GATHER).await;
    }
    works.end().await;
    let _ = handed.await;
    // Nobody sends any more: what waits is the last.
    drop(sender);
    let _ = noting.await;
}

/// Writes down what was taken until nobody sends any more. What cannot be written is told
/// once more, when its lease has ended.
async fn note(gateway: Arc<Gateway>, mut waiting: mpsc::Receiver<(Delivery, Tried)>) {
    let mut taken = vec![];
    while waiting.recv_many(&mut taken, 1).await > 0 {
        tokio::time::sleep(GATHER).await;
        while taken.len() < NOTED_MAX
            && let Ok(next) = waiting.try_recv()
        {
            taken.push(next);
        }
        let mut noted = gateway.store.end_taken(&taken).await;
        // An app that is registered meanwhile locks the same rows in an order of its own.
        if noted.as_ref().is_err_and(StoreError::is_transient) {
            noted = gateway.store.end_taken(&taken).await;
        }
        if let Err(error) = noted {
            tracing::info!(count = taken.len(), error = chain(&error), "sent, and not noted");
        }
        taken.clear();
    }
}

/// What sending takes.
#[derive(Clone)]
struct Sender {
    gateway: Arc<Gateway>,
    endpoints: Arc<Endpoints>,
    taken: mpsc::Sender<(Delivery, Tried)>,
    failures: Arc<Semaphore>,
}

impl Sender {
    /// Takes what is due, as far as there is room. True: there may be more.
    async fn take(&self, works: &mut Works) -> Result<bool, StoreError> {
        let most = i64::try_from(works.room().min(TAKEN_MAX)).unwrap_or_default();
        let each = APP_TAKEN_MAX.min(most);
        let taken = self.gateway.store.claim_deliveries(most, each, &works.busy()).await?;
        let more = i64::try_from(taken.len()).unwrap_or_default() >= each;
        for delivery in taken {
            let sender = self.clone();
            works.start(delivery.app_id.clone(), async move { sender.tell(delivery).await });
        }
        Ok(more)
    }

    /// Sends it, and writes down what came of it.
    async fn tell(&self, delivery: Delivery) {
        let tried = self.send(&delivery).await;
        self.note(delivery, tried).await;
    }

    /// Writes down what came of a try: a failure at once, what was taken with others.
    async fn note(&self, delivery: Delivery, tried: Tried) {
        if tried.is_taken() {
            let _ = self.taken.send((delivery, tried)).await;
            return;
        }
        let _turn = self.failures.acquire().await;
        if let Err(error) = self.gateway.store.end_failed(&delivery, &tried).await {
            tracing::info!(event_id = %delivery.event_id, error = chain(&error), "sent, and not noted");
        }
    }

    /// Sends a notification once.
    async fn send(&self, delivery: &Delivery) -> Tried {
        let (began, sent_at) = (Instant::now(), Timestamp::now());
        let answer = self.post(delivery, sent_at).await;
        let took_ms = i32::try_from(began.elapsed().as_millis()).unwrap_or(i32::MAX);
        let again = schedule::after(delivery.nth, schedule::dice());
        let tried = Tried { sent_at, took_ms, answer, again_seconds: again.as_secs_f64() };
        let outcome = if tried.is_taken() { "taken" } else { "failed" };
        self.gateway.metrics.notifications.get_or_create(&metrics::Tried { outcome }).inc();
        if let (false, answer) = (tried.is_taken(), &tried.answer) {
            let Delivery { event_id, app_id, number, .. } = delivery;
            tracing::info!(%event_id, app_id, number, ?answer, "notification not taken");
        }
        tried
    }

    /// The status that was answered, or why there is none.
    async fn post(&self, delivery: &Delivery, at: Timestamp) -> Result<u16, String> {
        let denied = self.gateway.settings().value.denied.clone();
        let url = endpoint::parse(&delivery.to.url, &denied)?;
        let (headers, body) =
            message(&self.gateway.notify_key.now(), &url, delivery, at).ok_or("it cannot be signed")?;
        self.endpoints.post(&delivery.app_id, &delivery.to, &denied, (url, headers, body)).await
    }
}

/// The headers and the body.
fn message(key: &NotifyKey, url: &Url, delivery: &Delivery, at: Timestamp) -> Option<(HeaderMap, Vec<u8>)> {
    let body = json!({
        "eventId": delivery.event_id,
        "kind": delivery.kind,
        "createdAt": delivery.created_at,
        "data": delivery.payload,
    });
    let body = body.to_string().into_bytes();
    let nonce = format!("{}-{}", delivery.event_id.simple(), delivery.number);
    Some((key.sign(url, &body, at.as_second(), &nonce)?, body))
}

/// Ends what has waited too long, and counts.
async fn chores(gateway: &Gateway) {
    match gateway.store.bury_deliveries().await {
        Ok(0) => {}
        Ok(ended) => tracing::info!(ended, "notifications that waited for too long are dead"),
        Err(error) => tracing::info!(error = chain(&error), "old notifications not ended"),
    }
    match gateway.store.owed_deliveries().await {
        Ok(owed) => {
            gateway.metrics.notifications_pending.set(owed.pending);
            gateway.metrics.notifications_pending_oldest_seconds.set(owed.oldest_seconds);
            gateway.metrics.notifications_dead.set(owed.dead);
        }
        Err(error) => tracing::info!(error = chain(&error), "notifications not counted"),
    }
}
