//! What the real networks share: the book, their keys, the payers, and what an
//! amount asks to go wrong.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use jiff::Timestamp;
use payplane_common::config::{Live, Loaded};
use payplane_common::shutdown::Shutdown;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::book::{Book, Payment};
use crate::fault::Fault;
use crate::networks::Networks;
use crate::notify::Notifier;
use crate::silence::Silence;

/// The detail that holds until when the payer may pay, in RFC 3339.
pub const EXPIRES: &str = "expiresAt";

/// Requests at work at once; more are told to come again.
const REQUESTS_MAX: usize = 512;
const SLOW: Duration = Duration::from_secs(1);

/// What the networks' handlers share.
pub struct Sandbox {
    pub book: Arc<Book>,
    pub networks: Arc<Live<Networks>>,
    pub notifier: Notifier,
    /// How long a payer takes.
    pub payer_after: Duration,
    places: Semaphore,
    silence: Silence,
}

/// What an amount lets happen to a request before it has an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    Go,
    Decline,
    ServerError,
    Silence,
}

/// How an answer is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    Rightly,
    Wrongly,
}

/// What an amount lets happen to the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    Answer,
    Silence,
    Forge,
    Slow,
}

/// What a call comes to, by the answers of a network.
pub enum Outcome<A> {
    Answer(A, After),
    Silence,
}

impl<A> From<A> for Outcome<A> {
    fn from(answer: A) -> Self {
        Self::Answer(answer, After::Answer)
    }
}

/// What an amount lets happen to a request before it has an effect.
#[must_use]
pub fn before(amount_minor: i64) -> Before {
    match Fault::of(amount_minor) {
        Some(Fault::Decline) => Before::Decline,
        Some(Fault::ServerError) => Before::ServerError,
        Some(Fault::SilentBefore) => Before::Silence,
        _ => Before::Go,
    }
}

/// What an amount lets happen to the answer.
#[must_use]
pub fn after(amount_minor: i64) -> After {
    match Fault::of(amount_minor) {
        Some(Fault::SilentAfter) => After::Silence,
        Some(Fault::WrongSignature) => After::Forge,
        Some(Fault::Slow) => After::Slow,
        _ => After::Answer,
    }
}

/// The last four digits of a text that ends with them: they ask for faults as an amount's do.
#[must_use]
pub fn digits(text: &str) -> i64 {
    let start = text.len().saturating_sub(4);
    text.get(start..).and_then(|end| end.parse().ok()).unwrap_or(0)
}

/// Is it the one-time code that was sent? Whoever has no telephone knows it.
#[must_use]
pub fn is_right_code(code: &str) -> bool {
    code.starts_with("80")
}

impl Sandbox {
    #[must_use]
    pub fn new(
        book: Arc<Book>,
        networks: Arc<Live<Networks>>,
        notifier: Notifier,
        payer_after: Duration,
        shutdown: &Shutdown,
    ) -> Arc<Self> {
        let (places, silence) = (Semaphore::new(REQUESTS_MAX), Silence::new(shutdown));
        Arc::new(Self { book, networks, notifier, payer_after, places, silence })
    }

    /// The networks in force.
    #[must_use]
    pub fn networks(&self) -> Arc<Loaded<Networks>> {
        self.networks.current()
    }

    /// A place to work in, where there is one.
    #[must_use]
    pub fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.places.try_acquire().ok()
    }

    /// Keeps the caller waiting.
    pub async fn silence(&self) -> Response {
        self.silence.keep().await
    }

    /// Gives an answer the way the amount asks for.
    pub async fn answer(&self, after: After, sign: impl FnOnce(Signed) -> Response + Send) -> Response {
        match after {
            After::Answer => sign(Signed::Rightly),
            After::Forge => sign(Signed::Wrongly),
            After::Silence => self.silence().await,
            After::Slow => {
                tokio::time::sleep(SLOW).await;
                sign(Signed::Rightly)
            }
        }
    }
}

/// May the payer no longer pay?
#[must_use]
pub fn is_expired(payment: &Payment) -> bool {
    let until = payment.details.get(EXPIRES).and_then(|text| text.parse::<Timestamp>().ok());
    until.is_some_and(|until| until <= Timestamp::now())
}

/// Is it an https address with a host, of a length?
#[must_use]
pub fn is_https(url: &str, length_max: usize) -> bool {
    let plain = url.len() <= length_max && url.bytes().all(|b| b.is_ascii_graphic());
    let parsed = reqwest::Url::parse(url).ok().filter(|_| plain && url.starts_with("https://"));
    parsed.is_some_and(|url| url.has_host() && url.username().is_empty() && url.fragment().is_none())
}
