//! The books as the service sees them: postings, which leave in batches
//! ([`crate::writer`]), and the few other calls that write. Each is one autocommit
//! call of one function, so no lock ever waits for a client, and each runs to its
//! end once it was sent.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use jiff::civil::Date;
use prometheus_client::registry::Registry;
use snafu::Snafu;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::accounts::Accounts;
use crate::place::{PLACE, Place};
use crate::query::{query, query_then};
use crate::request::{Key, Posting};
use crate::seal::Tip;
use crate::writer::{Item, Writer};

/// Connections that batches leave alone: for accounts, the fence and folding.
/// One more is for the checkpoints of all accounts.
const OTHER_CALLS: usize = 2;
/// Calls that run or wait for a connection. One more is refused at once.
const CALLS_MAX: usize = 512;
const TEND_MAX: Duration = Duration::from_secs(10);
const DRAIN_MAX: Duration = Duration::from_secs(4);

#[derive(Clone, Debug, Snafu)]
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

/// What `ledger.post` answered.
#[derive(Clone, Debug)]
pub struct Answer {
    pub outcome: String,
    pub transaction_id: Option<Uuid>,
    pub accounting_date: Option<Date>,
    pub reason: Option<String>,
    pub subject: Option<String>,
    pub message: Option<String>,
    pub config_epoch_min: Option<i64>,
    pub place: Place,
}

/// Reason, subject, message.
pub type Refused = (String, String, String);

/// What `ledger.open_accounts` answered: how many, or why none.
#[derive(Clone, Debug)]
pub struct Opened {
    pub opened: i32,
    pub refusal: Option<Refused>,
}

/// What `ledger.close_day` answered: the last day of each state, or why none was moved on.
#[derive(Clone, Debug)]
pub struct Closing {
    pub closing_through: Option<Date>,
    pub closed_through: Option<Date>,
    pub refusal: Option<String>,
}

#[derive(Clone, Debug, Default)]
pub struct AccountColumns {
    pub codes: Vec<String>,
    pub currencies: Vec<String>,
    pub sides: Vec<&'static str>,
    pub floors: Vec<bool>,
    /// JSON objects of texts.
    pub metadata: Vec<String>,
}

pub type Params = Vec<Box<dyn ToSql + Sync + Send>>;

/// Clones share the pools, the queue and the bounds.
#[derive(Clone)]
pub struct Books {
    pool: Pool,
    others: Arc<Semaphore>,
    places: Arc<Semaphore>,
    calls: TaskTracker,
    writer: Writer,
    accounts: Accounts,
}

impl Books {
    /// Starts the writers: as many as the pool has connections, but three.
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        let calls = TaskTracker::new();
        let writers = pool.status().max_size.saturating_sub(OTHER_CALLS + 1).max(1);
        let writer = Writer::start(&pool, writers, &calls);
        let places = Arc::new(Semaphore::new(CALLS_MAX));
        let others = Arc::new(Semaphore::new(OTHER_CALLS));
        Self { accounts: Accounts::new(pool.clone(), others.clone()), pool, others, places, calls, writer }
    }

    /// Shows what is measured of batches.
    pub fn register(&self, registry: &mut Registry) {
        self.writer.figures.register(registry);
    }

    /// Books one transaction. The accounting date is the tenant's; the database
    /// keeps the first one that an identity came with.
    pub async fn post(
        &self,
        caller: String,
        posting: Posting,
        accounting_date: Date,
        deadline: Instant,
    ) -> Result<Answer, BooksError> {
        let lane = self.accounts.lane(&posting);
        self.writer.post(Item::new(caller, posting, accounting_date, deadline), lane).await
    }

    pub async fn open_accounts(
        &self,
        accounts: AccountColumns,
        deadline: Instant,
    ) -> Result<Opened, BooksError> {
        let params: Params = vec![
            Box::new(accounts.codes),
            Box::new(accounts.currencies),
            Box::new(accounts.sides),
            Box::new(accounts.floors),
            Box::new(accounts.metadata),
        ];
        let sql = "SELECT * FROM ledger.open_accounts($1, $2, $3, $4, $5::text[]::jsonb[])";
        let row = self.call(sql, params, deadline).await?;
        let reason: Option<String> = row.get(1);
        Ok(Opened { opened: row.get(0), refusal: reason.map(|reason| (reason, row.get(2), row.get(3))) })
    }

    pub async fn raise_config_epoch(&self, epoch: i64, deadline: Instant) -> Result<i64, BooksError> {
        let row = self.call("SELECT ledger.raise_config_epoch($1)", vec![Box::new(epoch)], deadline).await?;
        Ok(row.get(0))
    }

    /// `state` as in the table; says why it is not changed.
    pub async fn set_account_state(
        &self,
        code: &str,
        currency: &str,
        state: &'static str,
        caller: &str,
        deadline: Instant,
    ) -> Result<Option<Refused>, BooksError> {
        let params: Params = vec![
            Box::new(code.to_owned()),
            Box::new(currency.to_owned()),
            Box::new(state),
            Box::new(caller.to_owned()),
        ];
        let row =
            self.call("SELECT * FROM ledger.set_account_state($1, $2, $3, $4)", params, deadline).await?;
        let reason: Option<String> = row.get(0);
        Ok(reason.map(|reason| (reason, row.get(1), row.get(2))))
    }

    /// Of each key why its date was not taken: a reason and a message.
    pub async fn set_settlement_dates(
        &self,
        caller: &str,
        dates: &[(Key, Date)],
        deadline: Instant,
    ) -> Result<Vec<Option<(String, String)>>, BooksError> {
        let params: Params = vec![
            Box::new(caller.to_owned()),
            Box::new(dates.iter().map(|(key, _)| key.date).collect::<Vec<_>>()),
            Box::new(dates.iter().map(|(key, _)| key.key.clone()).collect::<Vec<_>>()),
            Box::new(dates.iter().map(|(_, date)| *date).collect::<Vec<_>>()),
        ];
        let sql = "SELECT * FROM ledger.set_settlement_dates($1, $2, $3, $4)";
        let row = self.call(sql, params, deadline).await?;
        let (reasons, messages): (Vec<Option<String>>, Vec<Option<String>>) = (row.get(0), row.get(1));
        Ok(reasons.into_iter().zip(messages).map(|(reason, message)| reason.zip(message)).collect())
    }

    /// `state` is `closing` or `closed`.
    pub async fn close_day(
        &self,
        day: Date,
        state: &'static str,
        deadline: Instant,
    ) -> Result<Closing, BooksError> {
        let params: Params = vec![Box::new(day), Box::new(state)];
        let row = self.call("SELECT * FROM ledger.close_day($1, $2)", params, deadline).await?;
        Ok(Closing { closing_through: row.get(0), closed_through: row.get(1), refusal: row.get(2) })
    }

    /// The accounts of up to so many raisings, in order.
    pub async fn raised(&self, at_most: i64) -> Result<Vec<i64>, BooksError> {
        let accounts = "SELECT ARRAY(SELECT DISTINCT r.account_id FROM (
                               SELECT r.account_id FROM ledger.raisings r LIMIT $1) r ORDER BY r.account_id)";
        Ok(self.tend(accounts, vec![Box::new(at_most)]).await?.get(0))
    }

    /// Folds the raisings of these accounts into their balances; says how many.
    pub async fn fold_raisings(&self, accounts: Vec<i64>) -> Result<i64, BooksError> {
        Ok(self.tend("SELECT ledger.fold_raisings($1)", vec![Box::new(accounts)]).await?.get(0))
    }

    /// Makes checkpoints of busy accounts of what was sealed since; true: there is more.
    pub async fn roll(
        &self,
        at_most: i32,
        pause_ms: i32,
        whole_after: i32,
        whole_seconds: i32,
    ) -> Result<bool, BooksError> {
        let params: Params =
            vec![Box::new(at_most), Box::new(pause_ms), Box::new(whole_after), Box::new(whole_seconds)];
        Ok(self.tend("SELECT ledger.roll($1, $2, $3, $4)", params).await?.get(0))
    }

    /// Makes checkpoints of all accounts that moved, where `roll` said that it is time; true: it
    /// did. That takes a while: it may be broken off, and nobody waits for it.
    pub async fn roll_all(&self) -> Result<bool, BooksError> {
        let connection = self.pool.get().await;
        let connection = connection.map_err(|source| BooksError::Unreachable { source: Arc::new(source) })?;
        let rows = query(connection, "SELECT ledger.roll_all()", &[]).await.map_err(classify)?;
        Ok(rows.first().is_some_and(|row| row.get(0)))
    }

    /// Makes the partitions that are needed soon; says of how many months.
    pub async fn rotate(&self) -> Result<i32, BooksError> {
        Ok(self.tend("SELECT ledger.rotate()", vec![]).await?.get(0))
    }

    /// Gives positions to up to so many committed batches; says to how many.
    pub async fn give_positions(&self, at_most: i32) -> Result<i64, BooksError> {
        Ok(self.tend("SELECT ledger.give_positions($1)", vec![Box::new(at_most)]).await?.get(0))
    }

    /// Continues the chain over up to so many positions, and says where it ends.
    pub async fn seal(&self, at_most: i32, seen: Option<&(i64, Vec<u8>)>) -> Result<Tip, BooksError> {
        let (position, hash) = seen.cloned().unwrap_or_default();
        let params: Params = vec![Box::new(at_most), Box::new(position), Box::new(hash)];
        let row = self.tend("SELECT * FROM ledger.seal($1, $2, $3)", params).await?;
        Ok(Tip {
            books: row.get(0),
            epoch: row.get(1),
            position: row.get(2),
            hash: row.get(3),
            given: row.get(4),
            lag_ms: row.get(5),
            contains: row.get(6),
        })
    }

    /// The greatest place that a caller was told.
    #[must_use]
    pub fn answered(&self) -> Place {
        self.writer.answered.greatest()
    }

    /// Batches that the database refused as a whole since the start.
    #[must_use]
    pub fn rejected(&self) -> u64 {
        self.writer.rejected()
    }

    /// Waits, bounded, until everything that was accepted is answered.
    pub async fn drain(&self) {
        self.writer.close();
        self.calls.close();
        if tokio::time::timeout(DRAIN_MAX, self.calls.wait()).await.is_err() {
            tracing::warn!(calls = self.calls.len(), "calls left open at the end of the drain");
        }
    }

    async fn tend(&self, sql: &'static str, params: Params) -> Result<Row, BooksError> {
        let now = Instant::now();
        let by = now.checked_add(TEND_MAX).unwrap_or(now);
        self.call(sql, params, by).await
    }

    /// Until the call is sent the deadline ends it; from then on only the wait
    /// for it. Nothing cancels a call that may be committing: it runs in a task
    /// of its own, which a caller that goes away does not take with it.
    async fn call(&self, sql: &'static str, params: Params, deadline: Instant) -> Result<Row, BooksError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| BooksError::Full)?;
        // However many these calls are, batches keep their connections.
        let turn = tokio::time::timeout_at(deadline, self.others.clone().acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or(BooksError::TooLate)?;
        let connection = tokio::time::timeout_at(deadline, self.pool.get())
            .await
            .map_err(|_| BooksError::TooLate)?
            .map_err(|source| BooksError::Unreachable { source: Arc::new(source) })?;
        let task = self.calls.spawn(send(connection, sql, params, [place, turn]));
        match tokio::time::timeout_at(deadline, task).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => EndedSnafu.fail(),
            Err(_) => WaitedSnafu.fail(),
        }
    }
}

async fn send(
    connection: Object,
    sql: &'static str,
    params: Params,
    _places: [OwnedSemaphorePermit; 2],
) -> Result<Row, BooksError> {
    let mut rows = rows(connection, sql, params).await?;
    rows.pop().ok_or(BooksError::Ended)
}

/// One call, to its end.
async fn rows(connection: Object, sql: &str, params: Params) -> Result<Vec<Row>, BooksError> {
    query(connection, sql, &borrowed(&params)).await.map_err(classify)
}

/// The same, and the place that it had committed by.
pub(crate) async fn rows_and_place(
    connection: Object,
    sql: &str,
    params: Params,
) -> Result<(Vec<Row>, Place), BooksError> {
    #[cfg(feature = "plants")]
    crate::plants::take_identities(&connection, &borrowed(&params)).await.map_err(classify)?;
    let (rows, place) = query_then(connection, sql, &borrowed(&params), PLACE).await.map_err(classify)?;
    let place = place.map_err(|error| BooksError::Unknown { source: Arc::new(error) })?;
    Ok((rows, Place::of(&place)))
}

fn borrowed(params: &Params) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|p| &**p as &(dyn ToSql + Sync)).collect()
}

/// Only an error that the server sent before it began to commit says that this
/// call booked nothing. Everything else is unknown, and so is a row that was
/// locked, as the same identity may be committing under that lock.
fn classify(error: tokio_postgres::Error) -> BooksError {
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
