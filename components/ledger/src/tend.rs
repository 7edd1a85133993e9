//! What the ledger does for the books by itself, off the way of postings. With
//! several replicas whoever comes first does it.

use std::time::Duration;

use payplane_common::telemetry;

use crate::books::{Books, BooksError};

/// Rows that one call folds.
const FOLDED_MAX: i32 = 10_000;
const FOLD_EVERY: Duration = Duration::from_secs(1);
/// Transactions that one call looks at for checkpoints.
const ROLLED_MAX: i32 = 20_000;
const ROLL_EVERY: Duration = Duration::from_millis(250);
/// Whichever replica did it last.
const ROLL_PAUSE_MS: i32 = 200;
/// Every account that moved gets a checkpoint after so many transactions, or seconds.
const WHOLE_AFTER: i32 = 250_000;
const WHOLE_SECONDS: i32 = 60;
/// A month is prepared a month before.
const ROTATE_EVERY: Duration = Duration::from_secs(3600);

/// Keeps the queue of what accounts gained short. Whoever lowers an account folds
/// it himself; this is for those that nobody lowers. What is not folded is added
/// up by whoever decides.
pub(crate) async fn fold(books: Books) {
    let more = || async { Ok(books.fold_raisings(FOLDED_MAX).await? >= i64::from(FOLDED_MAX)) };
    repeat("nothing was folded", FOLD_EVERY, more).await;
}

/// Makes checkpoints, so that whoever reads an account adds up little.
pub(crate) async fn roll(books: Books) {
    repeat("no checkpoint was made", ROLL_EVERY, || {
        books.roll(ROLLED_MAX, ROLL_PAUSE_MS, WHOLE_AFTER, WHOLE_SECONDS)
    })
    .await;
}

/// Makes partitions long before they are needed: a posting that lacks one makes it
/// itself, and is slow.
pub(crate) async fn rotate(books: Books) {
    repeat("no partition was prepared", ROTATE_EVERY, || async { Ok(books.rotate().await? > 0) }).await;
}

/// Works until the future is dropped; at once again where there is more to do.
async fn repeat<F: Future<Output = Result<bool, BooksError>>>(
    failed: &'static str,
    every: Duration,
    work: impl Fn() -> F,
) {
    loop {
        match work().await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => tracing::info!(error = telemetry::chain(&error), "{failed}"),
        }
        tokio::time::sleep(every).await;
    }
}
