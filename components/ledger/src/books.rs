//! The books as the service sees them: postings, which leave in batches
//! ([`crate::writer`]), and the few other calls that write. Each is one autocommit
//! call of one function, so no lock ever waits for a client, and each runs to its
//! end once it was sent.

mod answers;
mod error;
mod tending;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use jiff::civil::Date;
use prometheus_client::registry::Registry;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use tokio_util::task::TaskTracker;

pub use self::answers::{AccountColumns, Answer, Closing, Opened, Refused};
pub use self::error::BooksError;
use self::error::{EndedSnafu, WaitedSnafu, classify};
use crate::accounts::Accounts;
use crate::place::{PLACE, Place};
use crate::query::query_then;
use crate::request::{Key, Posting};
use crate::writer::{Item, Writer};

/// Connections that batches leave alone: for callers' accounts, states and the fence,
/// and for what the ledger does by itself, which no flood of calls may delay. One more
/// is for the checkpoints of all accounts.
const OTHER_CALLS: usize = 2;
const TENDING: usize = 3;
/// Callers' calls that run or wait for a connection. One more is refused at once.
const CALLS_MAX: usize = 512;
const DRAIN_MAX: Duration = Duration::from_secs(4);

pub type Params = Vec<Box<dyn ToSql + Sync + Send>>;

/// Clones share the pools, the queue and the bounds.
#[derive(Clone)]
pub struct Books {
    pool: Pool,
    others: Arc<Semaphore>,
    tending: Arc<Semaphore>,
    places: Arc<Semaphore>,
    calls: TaskTracker,
    writer: Writer,
    accounts: Accounts,
}

impl Books {
    /// Starts the writers: as many as the pool has connections, but six.
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        let calls = TaskTracker::new();
        let writers = pool.status().max_size.saturating_sub(OTHER_CALLS + TENDING + 1).max(1);
        let writer = Writer::start(&pool, writers, &calls);
        let places = Arc::new(Semaphore::new(CALLS_MAX));
        let others = Arc::new(Semaphore::new(OTHER_CALLS));
        let tending = Arc::new(Semaphore::new(TENDING));
        let accounts = Accounts::new(pool.clone(), others.clone());
        Self { accounts, pool, others, tending, places, calls, writer }
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

    async fn call(&self, sql: &'static str, params: Params, deadline: Instant) -> Result<Row, BooksError> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| BooksError::Full)?;
        let (turn, connection) = self.turn(&self.others, deadline).await?;
        let answered = self.writer.answered.clone();
        let call = async move {
            let _held = (place, turn);
            let (rows, place) = rows_and_place(connection, sql, params).await?;
            // Before anybody is told, so that what is published covers it.
            answered.reached(place);
            Ok(rows)
        };
        self.to_its_end(call, deadline).await
    }

    /// A connection, as soon as it is this call's turn: however many these calls are,
    /// batches keep theirs.
    async fn turn(
        &self,
        turns: &Arc<Semaphore>,
        deadline: Instant,
    ) -> Result<(OwnedSemaphorePermit, Object), BooksError> {
        let turn = tokio::time::timeout_at(deadline, turns.clone().acquire_owned()).await;
        let turn = turn.ok().and_then(Result::ok).ok_or(BooksError::TooLate)?;
        let connection = tokio::time::timeout_at(deadline, self.pool.get())
            .await
            .map_err(|_| BooksError::TooLate)?
            .map_err(|source| BooksError::Unreachable { source: Arc::new(source) })?;
        Ok((turn, connection))
    }

    /// Until the call is sent the deadline ends it; from then on only the wait
    /// for it. Nothing cancels a call that may be committing: it runs in a task
    /// of its own, which a caller that goes away does not take with it.
    async fn to_its_end(
        &self,
        call: impl Future<Output = Result<Vec<Row>, BooksError>> + Send + 'static,
        deadline: Instant,
    ) -> Result<Row, BooksError> {
        match tokio::time::timeout_at(deadline, self.calls.spawn(call)).await {
            Ok(Ok(rows)) => rows?.pop().ok_or(BooksError::Ended),
            Ok(Err(_)) => EndedSnafu.fail(),
            Err(_) => WaitedSnafu.fail(),
        }
    }
}

/// The rows of a call, and the place that it had committed by.
pub(crate) async fn rows_and_place(
    connection: Object,
    sql: &str,
    params: Params,
) -> Result<(Vec<Row>, Place), BooksError> {
    #[cfg(feature = "plants")]
    if sql == crate::writer::POST {
        crate::plants::take_identities(&connection, &borrowed(&params)).await.map_err(classify)?;
    }
    let (rows, place) = query_then(connection, sql, &borrowed(&params), PLACE).await.map_err(classify)?;
    let place = place.map_err(|error| BooksError::Unknown { source: Arc::new(error) })?;
    Ok((rows, Place::of(&place)))
}

fn borrowed(params: &Params) -> Vec<&(dyn ToSql + Sync)> {
    params.iter().map(|p| &**p as &(dyn ToSql + Sync)).collect()
}
