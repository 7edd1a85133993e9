//! Why a call was not answered, and what is true then.

use std::sync::Arc;

use snafu::Snafu;
use tokio_postgres::error::SqlState;

#[derive(Clone, Debug, Snafu)]
#[snafu(visibility(pub(super)))]
pub enum BooksError {
    #[snafu(display("too much waits already; nothing was sent"))]
    Full,
    #[snafu(display("the deadline passed before anything was sent"))]
    TooLate,
    #[snafu(display("the database cannot be reached; nothing was sent"))]
    Unreachable { source: Arc<deadpool_postgres::PoolError> },
    /// This call booked nothing, but what held the rows may be an earlier call of
    /// the same identity that is committing.
    #[snafu(display("rows were locked: unknown whether it was booked; ask again with the same identity"))]
    Busy { source: Arc<tokio_postgres::Error> },
    /// As [`BooksError::Busy`], after many tries.
    #[snafu(display("a row stayed locked: unknown whether it was booked; ask again with the same identity"))]
    Locked,
    #[snafu(display("the database does not take writes any more; this call booked nothing"))]
    Demoted { source: Arc<tokio_postgres::Error> },
    #[snafu(display("the database refused the call; this call booked nothing"))]
    Rejected { source: Arc<tokio_postgres::Error> },
    #[snafu(display("unknown whether it was booked: ask again with the same identity"))]
    Unknown { source: Arc<tokio_postgres::Error> },
    #[snafu(display("unknown whether it was booked: the deadline passed; ask again with the same identity"))]
    Waited,
    #[snafu(display(
        "unknown whether it was booked: the call ended early; ask again with the same identity"
    ))]
    Ended,
}

/// Only an error that the server sent before it began to commit says that this
/// call booked nothing. Everything else is unknown, and so is a row that was
/// locked, as the same identity may be committing under that lock.
pub(super) fn classify(error: tokio_postgres::Error) -> BooksError {
    let state = error.code().cloned();
    let source = Arc::new(error);
    let Some(state) = state else { return BooksError::Unknown { source } };
    if state == SqlState::LOCK_NOT_AVAILABLE || state == SqlState::T_R_DEADLOCK_DETECTED {
        return BooksError::Busy { source };
    }
    if state == SqlState::READ_ONLY_SQL_TRANSACTION {
        return BooksError::Demoted { source };
    }
    match state.code().get(..2) {
        Some("0A" | "21" | "22" | "23" | "25" | "28" | "42" | "P0") => BooksError::Rejected { source },
        _ => BooksError::Unknown { source },
    }
}
