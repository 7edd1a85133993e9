//! What the ledger does for the books by itself, off the way of postings. With
//! several replicas whoever comes first does it.

use std::time::Duration;

use payplane_common::telemetry;

use crate::books::Books;

/// Rows of one call.
const MAX: i32 = 10_000;
const EVERY: Duration = Duration::from_secs(1);

/// Keeps the queue of what accounts gained short. Whoever lowers an account folds
/// it himself; this is for those that nobody lowers. What is not folded is added
/// up by whoever reads.
pub(crate) async fn fold(books: Books) {
    loop {
        match books.fold_raisings(MAX).await {
            Ok(rows) if rows >= i64::from(MAX) => continue,
            Ok(_) => {}
            Err(error) => tracing::info!(error = telemetry::chain(&error), "nothing was folded"),
        }
        tokio::time::sleep(EVERY).await;
    }
}
