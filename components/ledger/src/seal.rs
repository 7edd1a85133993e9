//! The hash chain over the order of the books: a hash at each position of all
//! that the batches up to it hold. Its end is the head; said outside of the
//! database, under a key that the database never sees, it binds whoever has the
//! database. Off the way of postings; with several replicas whoever comes first
//! continues the chain, and each says what it sees.

pub mod head;

use std::path::PathBuf;
use std::time::Duration;

use payplane_common::telemetry;
use snafu::{ResultExt, Snafu, ensure};
use tokio::sync::watch;

use crate::books::{Books, BooksError};
use crate::metrics::Metrics;
use head::{Head, HeadError, Publisher};

/// Positions of one call.
const GIVEN_MAX: i32 = 10_000;
/// Positions whose batches are hashed in one call: up to 1,024 transactions each.
const SEALED_MAX: i32 = 128;
/// Whoever cuts the books by positions is this late at most, and one call.
const EVERY: Duration = Duration::from_millis(250);
/// So many rounds one after the other must find the chain broken before a person is called.
const BROKEN_ROUNDS: u32 = 4;

#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum SealError {
    #[snafu(context(false), display("the books are not sealed further"))]
    Store { source: BooksError },
    #[snafu(display("the head at position {position} is not said outside"))]
    Publish { position: i64, source: HeadError },
    /// Somebody changed what was sealed, or brought older books back.
    #[snafu(display("the chain does not contain the head that was published at position {position}"))]
    Broken { position: i64 },
}

/// Where heads go.
#[derive(Clone, Debug)]
pub struct Outside {
    key: PathBuf,
    file: Option<PathBuf>,
    said: watch::Sender<Option<Head>>,
}

impl Outside {
    #[must_use]
    pub fn new(key: PathBuf, file: Option<PathBuf>) -> Self {
        Self { key, file, said: watch::Sender::new(None) }
    }

    /// The head that was said last.
    #[must_use]
    pub(crate) fn last(&self) -> watch::Receiver<Option<Head>> {
        self.said.subscribe()
    }
}

/// The end of the chain, and what is still before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tip {
    pub books: String,
    pub epoch: i32,
    pub position: i64,
    pub hash: Option<Vec<u8>>,
    /// The last position that was given.
    pub given: i64,
    /// How long the first batch beyond the chain has waited.
    pub lag_ms: i64,
    /// Whether it still contains what was seen last.
    pub contains: bool,
}

/// What one replica does to seal the books.
pub struct Sealer {
    books: Books,
    metrics: Metrics,
    publisher: Publisher,
    /// The last head that it has seen in the books.
    seen: Option<(i64, Vec<u8>)>,
}

impl Sealer {
    #[must_use]
    pub fn new(books: Books, metrics: Metrics, outside: Outside) -> Self {
        Self { books, metrics, publisher: Publisher::new(outside), seen: None }
    }

    /// Seals until the future is dropped.
    pub(crate) async fn run(mut self) {
        // A server that was replaced may have been asked: the next rounds tell.
        let mut broken = 0u32;
        loop {
            let round = self.round().await;
            let breach = matches!(round, Err(SealError::Broken { .. }));
            broken = if breach { broken.saturating_add(1) } else { 0 };
            self.metrics.broken(broken >= BROKEN_ROUNDS);
            match round {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error) if broken == BROKEN_ROUNDS => {
                    tracing::error!(error = telemetry::chain(&error), "the books are sealed no more");
                }
                Err(error) if breach => tracing::debug!(error = telemetry::chain(&error), "not sealed"),
                Err(error) => tracing::info!(error = telemetry::chain(&error), "nothing was sealed"),
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Gives positions, continues the chain, says its head; true: there is more.
    pub async fn round(&mut self) -> Result<bool, SealError> {
        let given = self.books.give_positions(GIVEN_MAX).await?;
        let tip = self.books.seal(SEALED_MAX, self.seen.as_ref()).await?;
        if let Some((position, _)) = &self.seen {
            ensure!(tip.contains, BrokenSnafu { position: *position });
        }
        self.metrics.sealed(&tip);
        let Some(hash) = &tip.hash else { return Ok(false) };
        let grown = self.seen.as_ref().is_none_or(|(position, _)| *position < tip.position);
        self.seen = Some((tip.position, hash.clone()));
        let answered = self.books.answered();
        self.publisher
            .publish(&tip, hash, answered)
            .await
            .context(PublishSnafu { position: tip.position })?;
        Ok((grown && tip.given > tip.position) || given >= i64::from(GIVEN_MAX))
    }
}
