//! What the ledger does for the books by itself, off the way of postings. With
//! several replicas whoever comes first does it.

use std::future::Future;
use std::time::Duration;

use payplane_common::telemetry;

use crate::books::{Books, BooksError};

/// Rows of one call.
const MAX: i32 = 10_000;
const FOLD_EVERY: Duration = Duration::from_secs(1);
/// Whoever cuts the books by positions is this late at most, and one call.
const SEAL_EVERY: Duration = Duration::from_millis(500);

/// Keeps the queue of what accounts gained short. Whoever lowers an account folds
/// it himself; this is for those that nobody lowers. What is not folded is added
/// up by whoever reads.
pub(crate) async fn fold(books: Books) {
    again("folded", FOLD_EVERY, || books.fold_raisings(MAX)).await;
}

/// Gives positions to what was committed.
pub(crate) async fn seal(books: Books) {
    again("given a position", SEAL_EVERY, || books.give_positions(MAX)).await;
}

async fn again<F>(what: &str, every: Duration, mut call: impl FnMut() -> F)
where
    F: Future<Output = Result<i64, BooksError>>,
{
    loop {
        match call().await {
            Ok(rows) if rows >= i64::from(MAX) => continue,
            Ok(_) => {}
            Err(error) => tracing::info!(error = telemetry::chain(&error), "nothing was {what}"),
        }
        tokio::time::sleep(every).await;
    }
}
