//! The gateway's tables. Every change of state is one guarded statement or one
//! transaction; nothing here calls a network.

pub mod admission;
pub mod agreements;
pub mod assess;
pub mod attempts;
pub mod audit;
pub mod begin;
pub mod contradictions;
mod create;
pub mod decide;
pub mod decisions;
pub mod deliveries;
pub mod due;
mod fence;
mod gather;
pub mod handover;
pub mod history;
mod known;
pub mod messages;
pub mod nonces;
pub mod open_items;
pub mod orders;
pub mod outbox;
pub mod outgoing;
pub mod payouts;
pub mod postpone;
pub mod refunds;
pub mod registry;
pub mod risk_lists;
pub mod sealed;
pub mod standing;
pub mod step_ups;
pub mod stream;
mod succeed;
pub mod surpluses;
pub mod terminals;
pub mod terms;
pub mod tries;
pub mod vault;

use std::sync::Arc;

use deadpool_postgres::{GenericClient, Object, Pool};
use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use snafu::{ResultExt, Snafu};
use tokio::sync::Notify;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use self::gather::Gather;
use self::handover::Handover;
use crate::state::UnknownState;

/// How long whoever works on an order, a refund or a payout has it for itself. Longer
/// than any request may take, so a live request is not disturbed.
pub const LEASE_SECONDS: f64 = 30.0;
/// The longest interval between two looks at an unfinished order or refund.
pub const INTERVAL_SECONDS_MAX: f64 = 30.0;

#[derive(Debug, Snafu)]
pub enum StoreError {
    #[snafu(display("no database connection"))]
    Pool { source: deadpool_postgres::PoolError },
    #[snafu(display("cannot {what}"))]
    Query { what: &'static str, source: tokio_postgres::Error },
    #[snafu(display("cannot read what the database answered"))]
    Read { source: tokio_postgres::Error },
    #[snafu(display("cannot read what the database answered"))]
    State { source: UnknownState },
    #[snafu(display("there is no {what} {id}"))]
    Missing { what: &'static str, id: uuid::Uuid },
    #[snafu(display("a statement of several failed"))]
    Together { source: Arc<StoreError> },
    #[snafu(display("a secret cannot be sealed"))]
    Unsealed,
    #[snafu(display("too much time has passed since a secret was kept"))]
    Late,
    #[snafu(display("the vault did not answer in time"))]
    VaultAway,
    #[snafu(display("too much waits for the database"))]
    Full,
    /// The process ends.
    #[snafu(display("a statement was given up"))]
    Lost,
}

impl StoreError {
    /// Is it the database that is away, rather than us being wrong?
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Pool { .. } => true,
            // Data and integrity errors, and errors in our SQL, do not go away.
            Self::Query { source, .. } => source
                .code()
                .is_none_or(|state| !["22", "23", "42"].iter().any(|class| state.code().starts_with(class))),
            Self::Together { source } => source.is_transient(),
            Self::Full | Self::Lost | Self::Late | Self::VaultAway => true,
            Self::Read { .. } | Self::State { .. } | Self::Missing { .. } | Self::Unsealed => false,
        }
    }
}

/// This moment as the database keeps it: in microseconds.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap_or(Timestamp::MAX)
}

/// The gateway's tables in the tenant's database.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    /// An event was committed here: its app can be told at once.
    pub published: Arc<Notify>,
    /// Those that this process has taken with the commit.
    pub handover: Handover,
    /// Messages that could not be kept.
    unkept: Counter,
    gathers: Gathers,
}

/// Writes, and one read, that are gathered into statements of many.
#[derive(Clone, Default)]
struct Gathers {
    create: Gather<create::New, create::NewlyMade>,
    begin: Gather<begin::Begin, begin::Begun>,
    end: Gather<attempts::Ended, attempts::Attempt>,
    postpone: Gather<postpone::Postponed, orders::Order>,
    known: Gather<uuid::Uuid, (attempts::Attempt, orders::Order)>,
    keep: Gather<crate::message::Messages, ()>,
    succeed: Gather<succeed::Success, orders::Order>,
}

type Params<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Store {
    #[must_use]
    pub fn new(pool: Pool, unkept: Counter) -> Self {
        let (published, handover) = (Arc::default(), Handover::default());
        Self { pool, published, handover, unkept, gathers: Gathers::default() }
    }

    /// After the commit of an event that an app is to be told.
    fn wake(&self, told: bool) {
        if told {
            self.published.notify_one();
        }
    }

    async fn client(&self) -> Result<Object, StoreError> {
        self.pool.get().await.context(PoolSnafu)
    }

    /// Can money be moved here: is this the primary, and may it be written?
    pub async fn is_writable(&self) -> Result<bool, StoreError> {
        let sql = "SELECT NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off'";
        let client = match self.client().await {
            // No session is made on a server that takes no writes.
            Err(error) if payplane_common::database::is_read_only(&error) => return Ok(false),
            client => client?,
        };
        let row = one(&client, "ask whether the database is writable", sql, &[]).await?;
        row.try_get(0).context(ReadSnafu)
    }
}

async fn rows<C: GenericClient>(
    client: &C,
    what: &'static str,
    sql: &str,
    params: Params<'_>,
) -> Result<Vec<Row>, StoreError> {
    let statement = client.prepare_cached(sql).await.context(QuerySnafu { what })?;
    client.query(&statement, params).await.context(QuerySnafu { what })
}

async fn optional<C: GenericClient>(
    client: &C,
    what: &'static str,
    sql: &str,
    params: Params<'_>,
) -> Result<Option<Row>, StoreError> {
    let statement = client.prepare_cached(sql).await.context(QuerySnafu { what })?;
    client.query_opt(&statement, params).await.context(QuerySnafu { what })
}

async fn one<C: GenericClient>(
    client: &C,
    what: &'static str,
    sql: &str,
    params: Params<'_>,
) -> Result<Row, StoreError> {
    let statement = client.prepare_cached(sql).await.context(QuerySnafu { what })?;
    client.query_one(&statement, params).await.context(QuerySnafu { what })
}

async fn execute<C: GenericClient>(
    client: &C,
    what: &'static str,
    sql: &str,
    params: Params<'_>,
) -> Result<u64, StoreError> {
    let statement = client.prepare_cached(sql).await.context(QuerySnafu { what })?;
    client.execute(&statement, params).await.context(QuerySnafu { what })
}
