//! What is read from the primary, each in one statement and so in one snapshot.

use deadpool_postgres::Pool;
use jiff::Timestamp;
use jiff::civil::Date;
use payplane_api::ledger::v1::{
    Direction, Entry, GetStatusResponse, GetTransactionResponse, GetTrialBalanceResponse, TrialBalanceLine,
};
use snafu::{ResultExt, Snafu};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::request::Key;

#[derive(Debug, Snafu)]
pub enum ReadError {
    #[snafu(display("the database cannot be reached"))]
    Unreachable { source: deadpool_postgres::PoolError },
    #[snafu(display("reading {what} failed"))]
    Query { what: &'static str, source: tokio_postgres::Error },
}

/// The end of the chain, and whether anything was booked beyond it.
macro_rules! sealed {
    () => {
        "sealed AS MATERIALIZED (
            SELECT s.*, EXISTS (SELECT FROM ledger.positions p JOIN ledger.batches b USING (batch_number)
                                 WHERE p.position > s.position AND b.booked > 0)
                        OR EXISTS (SELECT FROM ledger.unsealed_batches u JOIN ledger.batches b USING (batch_number) WHERE b.booked > 0) AS provisional
              FROM (SELECT coalesce(max(c.position), 0) AS position, coalesce(max(p.epoch), 0) AS epoch FROM (
                    SELECT c.position FROM ledger.chain c ORDER BY c.position DESC LIMIT 1) c JOIN ledger.positions p USING (position)) s)"
    };
}
pub(crate) use sealed;

/// Checkpoints of all accounts that moved, and what moved since.
const TRIAL_BALANCE: &str = concat!("
    WITH rest AS MATERIALIZED (
        SELECT m.account_id, sum(m.debit_minor) AS debit, sum(m.credit_minor) AS credit
          FROM ledger.movements(ARRAY(
                   SELECT unnest(ledger.batches_between(r.whole_position, 9223372036854775807)) FROM ledger.rollup r
                   UNION ALL SELECT u.batch_number FROM ledger.unsealed_batches u)) m
         GROUP BY m.account_id),
    ", sealed!(), "
    SELECT a.code, a.currency, (coalesce(c.debit_minor, 0) + coalesce(r.debit, 0))::bigint,
           (coalesce(c.credit_minor, 0) + coalesce(r.credit, 0))::bigint, s.epoch, s.position, s.provisional
      FROM sealed s, ledger.accounts a LEFT JOIN rest r USING (account_id)
      LEFT JOIN LATERAL (
           SELECT c.debit_minor, c.credit_minor FROM ledger.checkpoints c
            WHERE c.account_id = a.account_id AND c.position <= (SELECT r.whole_position FROM ledger.rollup r)
            ORDER BY c.position DESC LIMIT 1) c ON true
     WHERE $1 OR NOT a.reserved
     ORDER BY a.currency, a.code");

/// A hold's one line is what it holds; the end of one has none.
const TRANSACTION: &str = "
    SELECT t.transaction_id, t.kind, t.accounting_date, coalesce(t.settlement_date, x.settlement_date), t.config_epoch,
           a.code, coalesce(e.side::text, CASE a.normal_side WHEN 'debit' THEN 'credit' ELSE 'debit' END),
           coalesce(e.amount_minor, h.amount_minor), a.currency, h.expires_at, c.remaining_minor, p.epoch, p.position
      FROM ledger.identities i
      JOIN ledger.all_transactions t ON t.transaction_id = i.decision
      LEFT JOIN (ledger.positions p JOIN ledger.chain s USING (position)) ON p.batch_number = t.batch_number
      LEFT JOIN ledger.settlements x ON x.transaction_id = t.transaction_id
      LEFT JOIN ledger.all_holds h ON h.hold_id = t.transaction_id
      LEFT JOIN ledger.caps c ON c.original_id = h.hold_id
      LEFT JOIN ledger.all_entries e ON e.transaction_id = t.transaction_id
      LEFT JOIN ledger.accounts a ON a.account_id = coalesce(e.account_id, h.account_id)
     WHERE i.key_date = $1 AND i.caller = $2
       AND i.key_digest = substr(sha256(convert_to($3::text, 'UTF8')), 1, 16)
     ORDER BY e.line";

/// Standbys are visible to a role with pg_read_all_stats only; without it the
/// count is 0, which is never too good.
const STATUS: &str = "
    SELECT c.books_id::text, NOT pg_is_in_recovery() AND current_setting('transaction_read_only') = 'off',
           (SELECT count(*) FROM pg_stat_replication
             WHERE state = 'streaming' AND sync_state IN ('sync', 'quorum')),
           current_setting('synchronous_standby_names') <> '',
           CASE WHEN pg_is_in_recovery() THEN 0
                ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int8 END,
           (SELECT max(version)::int8 FROM payplane.schema_history), l.config_epoch_min
      FROM payplane.control c, ledger.control l";

pub(crate) async fn query(
    pool: &Pool,
    what: &'static str,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, ReadError> {
    let connection = pool.get().await.context(UnreachableSnafu)?;
    crate::query::query(connection, sql, params).await.context(QuerySnafu { what })
}

pub async fn trial_balance(
    pool: &Pool,
    include_reserved: bool,
) -> Result<GetTrialBalanceResponse, ReadError> {
    let rows = query(pool, "the trial balance", TRIAL_BALANCE, &[&include_reserved]).await?;
    let sealed = rows.first().map(|row| (row.get::<_, i32>(4), row.get::<_, i64>(5), row.get::<_, bool>(6)));
    let (epoch, position, provisional) = sealed.unwrap_or_default();
    let mut lines = Vec::with_capacity(rows.len());
    let mut sums = std::collections::BTreeMap::<String, i128>::new();
    for row in rows {
        let (currency, debit_minor, credit_minor): (String, i64, i64) = (row.get(1), row.get(2), row.get(3));
        let sum = sums.entry(currency.clone()).or_default();
        *sum = sum.saturating_add(debit_minor.into()).saturating_sub(credit_minor.into());
        lines.push(TrialBalanceLine { account: row.get(0), currency, debit_minor, credit_minor });
    }
    Ok(GetTrialBalanceResponse {
        lines,
        balanced: sums.values().all(|sum| *sum == 0),
        epoch: u64::try_from(epoch).unwrap_or(0),
        position: u64::try_from(position).unwrap_or(0),
        provisional,
    })
}

pub async fn transaction(pool: &Pool, caller: &str, key: &Key) -> Result<GetTransactionResponse, ReadError> {
    let rows = query(pool, "a transaction", TRANSACTION, &[&key.date, &caller, &key.key]).await?;
    let Some(first) = rows.first() else { return Ok(GetTransactionResponse::default()) };
    let entry = |row: &Row| {
        Some(Entry {
            account: row.get::<_, Option<String>>(5)?,
            direction: direction(row.get(6)),
            amount_minor: row.get(7),
            currency: row.get(8),
        })
    };
    Ok(GetTransactionResponse {
        found: true,
        transaction_id: first.get::<_, Uuid>(0).to_string(),
        kind: first.get(1),
        entries: rows.iter().filter_map(entry).collect(),
        accounting_date: first.get::<_, Date>(2).to_string(),
        settlement_date: first.get::<_, Option<Date>>(3).map(|date| date.to_string()).unwrap_or_default(),
        config_epoch: u64::try_from(first.get::<_, i64>(4)).unwrap_or(0),
        expires_at: first.get::<_, Option<Timestamp>>(9).map(|time| time.to_string()).unwrap_or_default(),
        held_minor: first.get::<_, Option<i64>>(10).unwrap_or_default(),
        epoch: first
            .get::<_, Option<i32>>(11)
            .and_then(|epoch| u64::try_from(epoch).ok())
            .unwrap_or_default(),
        position: first.get::<_, Option<i64>>(12).and_then(|at| u64::try_from(at).ok()).unwrap_or_default(),
    })
}

pub async fn status(pool: &Pool) -> Result<GetStatusResponse, ReadError> {
    let rows = query(pool, "the status", STATUS, &[]).await?;
    let Some(row) = rows.first() else { return Ok(GetStatusResponse::default()) };
    let small = |column: usize| u32::try_from(row.get::<_, i64>(column)).unwrap_or(0);
    Ok(GetStatusResponse {
        books_id: row.get(0),
        primary_writable: row.get(1),
        synchronous_standbys: small(2),
        synchronous_required: row.get(3),
        timeline: small(4),
        schema_version: small(5),
        config_epoch_min: u64::try_from(row.get::<_, i64>(6)).unwrap_or(0),
    })
}

pub(crate) fn direction(side: &str) -> i32 {
    match side {
        "debit" => Direction::Debit.into(),
        "credit" => Direction::Credit.into(),
        _ => Direction::Unspecified.into(),
    }
}
