//! The hash chain over the order of the books: a hash at each position of all
//! that the batches up to it hold. Its end is the head; said outside of the
//! database, under a key that the database never sees, it binds whoever has the
//! database. Off the way of postings, and with several replicas mostly by one.

pub mod chain;
pub mod head;

use std::path::PathBuf;
use std::time::Duration;

use deadpool_postgres::Pool;
use payplane_common::telemetry;
use snafu::{ResultExt, Snafu, ensure};

use crate::books::{Books, BooksError};
use crate::metrics::Metrics;
use crate::reads::{self, ReadError};
use head::{Head, HeadError, Publisher};

/// Positions of one call.
const GIVEN_MAX: i32 = 10_000;
/// Positions whose batches are read at once: up to 1,024 transactions each.
const BLOCK_MAX: i64 = 256;
/// Whoever cuts the books by positions is this late at most, and one call.
const EVERY: Duration = Duration::from_millis(500);
/// What has waited this long is not being sealed by another replica.
const PATIENCE_MS: i64 = 2_000;

#[derive(Debug, Snafu)]
#[snafu(visibility(pub(crate)))]
pub enum SealError {
    #[snafu(context(false), display("positions are not given or the chain is not stored"))]
    Store { source: BooksError },
    #[snafu(context(false), display("the chain is not read"))]
    Read { source: ReadError },
    #[snafu(display("the head at position {position} is not said outside"))]
    Publish { position: i64, source: HeadError },
    #[snafu(display("a batch that has position {position} is not in the books"))]
    Missing { position: i64 },
    /// Somebody changed what was sealed, or brought older books back.
    #[snafu(display("the chain does not contain the head that was published at position {position}"))]
    Broken { position: i64 },
}

/// Where heads go.
#[derive(Clone, Debug)]
pub struct Outside {
    pub key: PathBuf,
    pub file: Option<PathBuf>,
}

/// The end of the chain, and what is still before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) books: String,
    pub(crate) epoch: i32,
    pub(crate) position: i64,
    pub(crate) hash: Option<Vec<u8>>,
    /// The last position that was given.
    pub(crate) given: i64,
    /// How long the first batch beyond the chain has waited.
    pub(crate) lag_ms: i64,
    /// Whether it still contains the hash that this was asked with.
    pub(crate) contains: bool,
}

/// What one replica does to seal the books.
pub struct Sealer {
    books: Books,
    readers: Pool,
    metrics: Metrics,
    publisher: Publisher,
    /// The last position that this replica sealed.
    own: i64,
    /// The last head that it has seen in the books.
    seen: Option<(i64, Vec<u8>)>,
}

impl Sealer {
    #[must_use]
    pub fn new(books: Books, readers: Pool, metrics: Metrics, outside: Outside) -> Self {
        Self { books, readers, metrics, publisher: Publisher::new(outside), own: 0, seen: None }
    }

    /// Seals until the future is dropped, or the books are not what they were.
    pub(crate) async fn run(mut self) {
        loop {
            match self.round().await {
                Ok(true) => continue,
                Ok(false) => {}
                Err(error @ (SealError::Broken { .. } | SealError::Missing { .. })) => {
                    return tracing::error!(error = telemetry::chain(&error), "the books are sealed no more");
                }
                Err(error) => tracing::info!(error = telemetry::chain(&error), "nothing was sealed"),
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    /// Gives positions, continues the chain, says its head; true: there is more.
    pub async fn round(&mut self) -> Result<bool, SealError> {
        let given = self.books.give_positions(GIVEN_MAX).await?;
        let mut tip = reads::tip(&self.readers, self.seen.as_ref()).await?;
        if let Some((position, _)) = &self.seen {
            ensure!(tip.contains, BrokenSnafu { position: *position });
        }
        self.metrics.sealed(&tip);
        if tip.given > tip.position && (self.own == tip.position || tip.lag_ms > PATIENCE_MS) {
            self.extend(&mut tip).await?;
        }
        if let Some(hash) = &tip.hash {
            self.seen = Some((tip.position, hash.clone()));
            let head = Head::of(&tip, hash);
            self.publisher.publish(&head).await.context(PublishSnafu { position: tip.position })?;
        }
        let more = self.own == tip.position && tip.given > tip.position;
        Ok(more || given >= i64::from(GIVEN_MAX))
    }

    async fn extend(&mut self, tip: &mut Tip) -> Result<(), SealError> {
        let first = tip.position.saturating_add(1);
        let last = tip.given.min(tip.position.saturating_add(BLOCK_MAX));
        let rows = reads::contents(&self.readers, first, last).await?;
        let hashes = chain::continued(tip.hash.as_deref(), first, last, &rows)
            .map_err(|position| SealError::Missing { position })?;
        let Some(end) = hashes.last().cloned() else { return Ok(()) };
        if self.books.extend_chain(tip.position, tip.hash.clone(), hashes).await? > 0 {
            (tip.position, tip.hash) = (last, Some(end));
            self.own = last;
        }
        Ok(())
    }
}
