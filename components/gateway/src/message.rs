//! Raw messages: what a network was sent and what it said, kept masked beside the outcome, for
//! disputes. docs/gateway.md says what is hidden, and what is not kept.

mod mask;

use std::sync::Arc;

use http::HeaderMap;
use jiff::Timestamp;
use uuid::Uuid;

use crate::channel::record::{self, Got, Raw};
use crate::data_key::DataKeys;
use crate::gateway::Gateway;

/// Where a one-time code is brought to a bank: there alone `code` is secret.
const CONFIRM: &str = "/bank/v1/confirm";
/// The headers that a network's signature is over, and in, begin so.
const SIGNED: [&str; 3] = ["bank-", "sim-", "wechatpay-"];

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// An attempt.
    Payment(Uuid),
    Refund(Uuid),
    Payout(Uuid),
    Agreement(Uuid),
    /// The attempt of a surplus.
    Surplus(Uuid),
}

impl Subject {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Payment(_) => "Payment",
            Self::Refund(_) => "Refund",
            Self::Payout(_) => "Payout",
            Self::Agreement(_) => "Agreement",
            Self::Surplus(_) => "Surplus",
        }
    }

    #[must_use]
    pub fn id(self) -> Uuid {
        let (Self::Payment(id)
        | Self::Refund(id)
        | Self::Payout(id)
        | Self::Agreement(id)
        | Self::Surplus(id)) = self;
        id
    }
}

/// A body as it is kept. It has no Debug, as what a network says is no log's business.
#[derive(Clone, PartialEq, Eq)]
pub struct Body {
    pub masked: String,
    /// Of all bytes, unmasked.
    pub digest: Vec<u8>,
}

impl Body {
    fn of(bytes: &[u8], also: &'static [&'static str], keys: &DataKeys) -> Self {
        Self { masked: mask::body(bytes, also), digest: keys.message_digest(bytes) }
    }
}

/// A message as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub message_id: Uuid,
    pub subject: Subject,
    pub channel: String,
    /// `Verified`, `Unverified`, `NoAnswer`, `NotSent`, or `Notified`: one that verified.
    pub state: &'static str,
    pub target: Option<String>,
    pub request: Option<Body>,
    pub sent_at: Option<Timestamp>,
    pub answer: Option<Body>,
    pub headers: Option<String>,
    pub http_status: Option<i16>,
    /// When it came, or was given up.
    pub answered_at: Timestamp,
    pub why: Option<String>,
}

/// Messages of one piece of work. Debug counts them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Messages(pub Vec<Arc<Message>>);

impl std::fmt::Debug for Messages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} messages", self.0.len())
    }
}

impl Message {
    fn new(raw: &Raw, (subject, channel): (Subject, &str), keys: &DataKeys) -> Self {
        let sent = raw.sent.as_ref();
        let also: &[&str] = if sent.is_some_and(|sent| sent.target == CONFIRM) { &["code"] } else { &[] };
        let bare = Self {
            message_id: Uuid::now_v7(),
            subject,
            channel: channel.to_owned(),
            state: "NoAnswer",
            target: sent.map(|sent| mask::line(&format!("{} {}", sent.method, sent.target))),
            request: sent.map(|sent| Body::of(&sent.body, also, keys)),
            sent_at: sent.map(|sent| sent.at),
            answer: None,
            headers: None,
            http_status: None,
            answered_at: raw.at,
            why: None,
        };
        match &raw.got {
            Got::Answer { status, headers, body, verified } => Self {
                state: if *verified { "Verified" } else { "Unverified" },
                http_status: i16::try_from(*status).ok(),
                answer: Some(Body::of(body, &[], keys)),
                headers: signed(headers),
                ..bare
            },
            Got::Notification { headers, body } => Self {
                state: "Notified",
                answer: Some(Body::of(body, &[], keys)),
                headers: signed(headers),
                ..bare
            },
            Got::Nothing { was_sent, why } => Self {
                state: if *was_sent { "NoAnswer" } else { "NotSent" },
                why: Some(mask::line(why)),
                ..bare
            },
        }
    }
}

/// A line each.
fn signed(headers: &HeaderMap) -> Option<String> {
    let is_signed = |name: &str| SIGNED.iter().any(|prefix| name.starts_with(prefix));
    let lines: Vec<_> = headers
        .iter()
        .filter(|(name, _)| is_signed(name.as_str()))
        .map(|(name, value)| format!("{name}: {}", mask::line(value.to_str().unwrap_or_default())))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

impl Gateway {
    /// Asks a network, and has what passed to be kept with the outcome.
    pub async fn recording<T>(&self, about: (Subject, &str), work: impl Future<Output = T>) -> (T, Messages) {
        let (done, passed) = record::during(work).await;
        (done, self.messages(about, &passed))
    }

    /// The same, kept before the outcome is told: whoever stores that needs not know of it.
    pub async fn keeping<T>(&self, about: (Subject, &str), work: impl Future<Output = T>) -> T {
        self.asking(about, work, |_| true).await
    }

    /// The same of a request that is sent again and again: kept where the answer is news.
    pub async fn asking<T>(
        &self,
        about: (Subject, &str),
        work: impl Future<Output = T>,
        is_news: impl FnOnce(&T) -> bool,
    ) -> T {
        let (done, passed) = record::during(work).await;
        if is_news(&done) {
            self.store.keep_messages(&self.messages(about, &passed)).await;
        }
        done
    }

    #[must_use]
    pub fn messages(&self, about: (Subject, &str), passed: &[Raw]) -> Messages {
        Messages(passed.iter().map(|raw| Arc::new(Message::new(raw, about, &self.data_keys))).collect())
    }
}
