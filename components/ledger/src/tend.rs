//! What the ledger does for the books by itself, off the way of postings. With
//! several replicas whoever comes first does it.

use std::time::{Duration, Instant};

use payplane_common::telemetry;
use tokio::sync::watch;

use crate::books::{Books, BooksError};
use crate::seal::head::Head;

/// Raisings that are looked for at once: among those that are gone, which takes a while.
const RAISED_MAX: i64 = 50_000;
/// Accounts that one call folds: it holds their balances.
const FOLDED_MAX: usize = 200;
const FOLD_EVERY: Duration = Duration::from_secs(5);
/// Transactions that one call looks at for checkpoints.
const ROLLED_MAX: i32 = 20_000;
const ROLL_EVERY: Duration = Duration::from_millis(500);
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
    loop {
        let mut folded = 0_i64;
        let raised = said("nothing was folded", books.raised(RAISED_MAX).await).unwrap_or_default();
        for accounts in raised.chunks(FOLDED_MAX) {
            let since = Instant::now();
            let gone = books.fold_raisings(accounts.to_vec()).await;
            let Some(gone) = said("nothing was folded", gone) else { break };
            folded = folded.saturating_add(gone);
            // So that postings have the processors.
            tokio::time::sleep(since.elapsed().saturating_mul(3)).await;
        }
        // Others may have folded some of it meanwhile.
        if folded < RAISED_MAX / 2 {
            tokio::time::sleep(FOLD_EVERY).await;
        }
    }
}

/// Makes checkpoints of busy accounts, so that whoever reads one adds up little: at once
/// when a head was said, as that is the place up to which balances are told.
pub(crate) async fn roll(books: Books, mut heads: watch::Receiver<Option<Head>>) {
    loop {
        let rolled = books.roll(ROLLED_MAX, ROLL_PAUSE_MS, WHOLE_AFTER, WHOLE_SECONDS).await;
        if more("no checkpoint was made", rolled) {
            continue;
        }
        // Where nobody says any it is time as well.
        if let Ok(Err(_)) = tokio::time::timeout(ROLL_EVERY, heads.changed()).await {
            tokio::time::sleep(ROLL_EVERY).await;
        }
    }
}

/// Makes checkpoints of all accounts that moved, beside the others: of many accounts it
/// takes seconds.
pub(crate) async fn roll_all(books: Books) {
    loop {
        if !more("not every account got its checkpoint", books.roll_all().await) {
            tokio::time::sleep(ROLL_EVERY).await;
        }
    }
}

/// Makes partitions long before they are needed: a posting that lacks one makes it
/// itself, and is slow.
pub(crate) async fn rotate(books: Books) {
    loop {
        if !more("no partition was prepared", books.rotate().await.map(|made| made > 0)) {
            tokio::time::sleep(ROTATE_EVERY).await;
        }
    }
}

/// Whether there is more to do at once.
fn more(failed: &'static str, done: Result<bool, BooksError>) -> bool {
    said(failed, done).unwrap_or(false)
}

fn said<T>(failed: &'static str, done: Result<T, BooksError>) -> Option<T> {
    done.inspect_err(|error| tracing::info!(error = telemetry::chain(error), "{failed}")).ok()
}
