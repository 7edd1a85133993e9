//! Notifications on their way to merchants: https, signed anew for every try,
//! tried again at growing intervals, within bounds. What does not fit is left
//! to the merchant's query, and counted.

mod client;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

use self::client::Client;
pub use self::client::NotifyError;
use crate::book::NetworkName;
use crate::script::{Notice, Notices};
use crate::traffic::{Exchange, Said, Traffic};

/// Notifications that wait or are under way.
const WAITING_MAX: usize = 100_000;
const SENDING_MAX: usize = 64;
/// Between the tries; the last one repeats.
const AGAIN_AFTER_SECONDS: [u64; 5] = [1, 2, 4, 8, 15];
const TRIES_MAX: usize = 10;

/// A request to a merchant.
pub struct Message {
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

/// What is to be told to whom.
pub struct Mail {
    pub network: NetworkName,
    pub url: String,
    pub notices: Notices,
    /// Does an answer say that it was taken?
    pub accepted: fn(u16, &[u8]) -> bool,
    /// Writes and signs one; nothing where the merchant is no longer known.
    pub render: Box<dyn Fn(Notice) -> Option<Message> + Send + Sync>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    network: &'static str,
    result: &'static str,
}

/// Sends notifications. Clones share the bounds.
#[derive(Clone)]
pub struct Notifier(Arc<Shared>);

struct Shared {
    client: Client,
    places: Arc<Semaphore>,
    sending: Semaphore,
    results: Family<Labels, Counter>,
    /// Where notifications are recorded.
    traffic: Option<Arc<Traffic>>,
}

impl Notifier {
    /// Believes the CAs of the file, which is followed, or the public ones.
    pub fn new(
        ca: Option<&PathBuf>,
        registry: &mut Registry,
        traffic: Option<Arc<Traffic>>,
    ) -> Result<Self, NotifyError> {
        let client = Client::new(ca)?;
        let results = Family::<Labels, Counter>::default();
        let help = "Notifications to merchants: accepted, refused (one try), given_up, dropped";
        registry.register("payplane_simulator_notifications", help, results.clone());
        let (places, sending) = (Arc::new(Semaphore::new(WAITING_MAX)), Semaphore::new(SENDING_MAX));
        Ok(Self(Arc::new(Shared { client, places, sending, results, traffic })))
    }

    /// Follows the CA until the future is dropped.
    pub async fn follow(&self) {
        self.0.client.follow().await;
    }

    /// Sends what is to be told, in the background.
    pub fn send(&self, mail: Mail) {
        if mail.notices.steps.is_empty() || mail.url.is_empty() {
            return;
        }
        let Ok(place) = self.0.places.clone().try_acquire_owned() else {
            self.0.count(mail.network, "dropped");
            return;
        };
        let shared = self.0.clone();
        tokio::spawn(async move {
            shared.deliver(mail).await;
            drop(place);
        });
    }
}

impl Shared {
    async fn deliver(&self, mail: Mail) {
        tokio::time::sleep(mail.notices.delay).await;
        for step in &mail.notices.steps {
            match step.as_slice() {
                [one] => self.tell(&mail, *one).await,
                // No step has more than two.
                [one, other, ..] => {
                    tokio::join!(self.tell(&mail, *one), self.tell(&mail, *other));
                }
                [] => {}
            }
        }
    }

    /// Tells until it is taken. A lie is told once.
    async fn tell(&self, mail: &Mail, notice: Notice) {
        let tries = if notice == Notice::Right { TRIES_MAX } else { 1 };
        for attempt in 0..tries {
            tokio::time::sleep(wait_before(attempt)).await;
            if self.try_once(mail, notice).await {
                return self.count(mail.network, "accepted");
            }
            self.count(mail.network, "refused");
        }
        if notice == Notice::Right {
            self.count(mail.network, "given_up");
        }
    }

    async fn try_once(&self, mail: &Mail, notice: Notice) -> bool {
        let Ok(_sending) = self.sending.acquire().await else { return false };
        let Some(message) = (mail.render)(notice) else { return false };
        let client = self.client.current();
        let mut request = client.post(&mail.url);
        for (name, value) in message.headers {
            request = request.header(name, value);
        }
        let Ok(request) = request.body(message.body).build() else { return false };
        let mut exchange = self.exchange(mail, &request);
        let answer = match client.execute(request).await {
            Ok(answer) => answer,
            Err(error) => {
                let error = payplane_common::telemetry::chain(&error);
                tracing::debug!(network = ?mail.network, error, "a notification did not arrive");
                return false;
            }
        };
        let status = answer.status();
        let headers = exchange.is_some().then(|| answer.headers().clone());
        let Some(body) = client::body(answer).await else { return false };
        if let (Some(exchange), Some(headers)) = (&mut exchange, headers) {
            exchange.answered(status, &headers, &body);
        }
        (mail.accepted)(status.as_u16(), &body)
    }

    /// Where notifications are recorded, the record of this one.
    fn exchange(&self, mail: &Mail, request: &reqwest::Request) -> Option<Exchange> {
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        let said = |traffic| {
            let what = (request.method().as_str(), request.url().as_str());
            let said = Said::new(request.headers(), body);
            Exchange::new(traffic, ("notification", mail.network), what, said)
        };
        self.traffic.as_ref().map(said)
    }

    fn count(&self, network: NetworkName, result: &'static str) {
        let network = match network {
            NetworkName::Simulator => "simulator",
            NetworkName::WechatPay => "wechat_pay",
            NetworkName::Alipay => "alipay",
            NetworkName::UnionPay => "union_pay",
            NetworkName::BankDirect => "bank_direct",
        };
        self.results.get_or_create(&Labels { network, result }).inc();
    }
}

/// How long a try waits after the one before it.
fn wait_before(attempt: usize) -> Duration {
    let Some(again) = attempt.checked_sub(1) else { return Duration::ZERO };
    let seconds = AGAIN_AFTER_SECONDS.get(again).or(AGAIN_AFTER_SECONDS.last());
    Duration::from_secs(seconds.copied().unwrap_or_default())
}

#[cfg(test)]
#[path = "notify/tests.rs"]
mod tests;
