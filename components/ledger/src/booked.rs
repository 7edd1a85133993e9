//! Transactions as they stand in the books, whoever asks for them.

use deadpool_postgres::Pool;
use jiff::Timestamp;
use jiff::civil::Date;
use payplane_api::ledger::v1::find_transactions_request::By;
use payplane_api::ledger::v1::{
    BookedTransaction, Entry, FindTransactionsRequest, FindTransactionsResponse, FoundTransaction, Identity,
    Reference,
};
use tokio_postgres::Row;
use tonic::Status;
use uuid::Uuid;

use crate::reads::{direction, query};
use crate::service::{read_status, wrong};

/// Transactions of one answer.
const FOUND_MAX: usize = 100;

/// How many `booked_columns` are: what a query adds comes behind them.
pub(crate) const BOOKED_COLUMNS: usize = 18;

/// What is read of a transaction `t`, with `booked_joins` behind it.
macro_rules! booked_columns {
    () => {
        "t.transaction_id, t.caller, t.key_date, t.key, t.kind, t.effective_time, t.accounting_date,
         t.settlement_date, t.original_id, h.expires_at, e.codes, e.sides, e.amounts, e.currencies, r.types, r.values,
         t.due_date, t.calendar_version"
    };
}

/// Entries and references of `t`; of a hold what it holds.
macro_rules! booked_joins {
    () => {
        "LEFT JOIN ledger.all_holds h ON h.hold_id = t.transaction_id,
      LATERAL (
           SELECT array_agg(a.code ORDER BY l.line) AS codes, array_agg(l.side ORDER BY l.line) AS sides,
                  array_agg(l.amount_minor ORDER BY l.line) AS amounts, array_agg(a.currency ORDER BY l.line) AS currencies
             FROM (SELECT e.line, e.account_id, e.side::text, e.amount_minor
                     FROM ledger.all_entries e WHERE e.transaction_id = t.transaction_id
                   UNION ALL
                   SELECT 1, h.account_id, (SELECT CASE o.normal_side WHEN 'debit' THEN 'credit' ELSE 'debit' END
                                              FROM ledger.accounts o WHERE o.account_id = h.account_id), h.amount_minor
                    WHERE h.account_id IS NOT NULL) l
             JOIN ledger.accounts a USING (account_id)) e,
      LATERAL (
           SELECT array_agg(x.type ORDER BY x.type, x.value) AS types, array_agg(x.value ORDER BY x.type, x.value) AS values
             FROM ledger.all_external_references x WHERE x.transaction_id = t.transaction_id) r"
    };
}
pub(crate) use {booked_columns, booked_joins};

/// One more than is told says whether more follow.
const FIND: &str = concat!(
    "WITH wanted AS MATERIALIZED (
        (SELECT x.transaction_id FROM ledger.all_external_references x
          WHERE hashtextextended(x.value, 0) = hashtextextended($3::text COLLATE \"C\", 0) AND x.type = $2 AND x.value = $3
            AND x.transaction_id > $4 ORDER BY x.transaction_id LIMIT $5)
        UNION ALL SELECT $1::uuid WHERE $1 IS NOT NULL)
    SELECT ",
    booked_columns!(),
    ", p.position, p.epoch, (SELECT x.settlement_date FROM ledger.settlements x WHERE x.transaction_id = t.transaction_id)
       FROM wanted JOIN ledger.all_transactions t USING (transaction_id)
      LEFT JOIN (ledger.positions p JOIN ledger.chain c USING (position)) USING (batch_number) ",
    booked_joins!(),
    " ORDER BY t.transaction_id"
);

/// Finds transactions by id, or by a reference.
pub(crate) async fn find(
    pool: &Pool,
    asked: FindTransactionsRequest,
) -> Result<FindTransactionsResponse, Status> {
    let uuid = |field: &str, text: &str| {
        Uuid::parse_str(text).map_err(|_| wrong(field, format!("{text:?} is no UUID")))
    };
    let after = if asked.after.is_empty() { Uuid::nil() } else { uuid("after", &asked.after)? };
    let (id, reference) = match asked.by {
        Some(By::TransactionId(id)) => (Some(uuid("transaction_id", &id)?), Reference::default()),
        Some(By::Reference(reference)) => (None, reference),
        None => return Err(wrong("by", "a transaction_id or a reference is needed")),
    };
    let limit = i64::try_from(FOUND_MAX).unwrap_or(i64::MAX).saturating_add(1);
    let rows =
        query(pool, "transactions", FIND, &[&id, &reference.r#type, &reference.value, &after, &limit]).await;
    let rows = rows.map_err(|e| read_status(&e))?;
    let transactions: Vec<_> = rows.iter().take(FOUND_MAX).map(found).collect();
    let last = transactions.last().and_then(|found| found.transaction.as_ref());
    let next = last.filter(|_| rows.len() > FOUND_MAX).map(|last| last.transaction_id.clone());
    Ok(FindTransactionsResponse { transactions, next: next.unwrap_or_default() })
}

fn found(row: &Row) -> FoundTransaction {
    let position = row.get::<_, Option<i64>>(BOOKED_COLUMNS).unwrap_or_default();
    let epoch = row.get::<_, Option<i32>>(BOOKED_COLUMNS + 1).unwrap_or_default();
    let mut transaction = transaction(row);
    // Told later than it was booked.
    if let Some(date) = row.get::<_, Option<Date>>(BOOKED_COLUMNS + 2) {
        transaction.settlement_date = date.to_string();
    }
    FoundTransaction {
        transaction: Some(transaction),
        epoch: u64::try_from(epoch).unwrap_or(0),
        position: u64::try_from(position).unwrap_or(0),
    }
}

/// Reads a row that begins with `booked_columns`.
pub(crate) fn transaction(row: &Row) -> BookedTransaction {
    let texts = |column: usize| row.get::<_, Option<Vec<String>>>(column).unwrap_or_default();
    let amounts = row.get::<_, Option<Vec<i64>>>(12).unwrap_or_default();
    let lines = texts(10).into_iter().zip(texts(11)).zip(amounts).zip(texts(13));
    let entry = |(((account, side), amount_minor), currency): (((String, String), i64), String)| Entry {
        account,
        direction: direction(&side),
        amount_minor,
        currency,
    };
    let reference = |(r#type, value)| Reference { r#type, value };
    let id = |column: usize| row.get::<_, Option<Uuid>>(column).map(|id| id.to_string()).unwrap_or_default();
    BookedTransaction {
        transaction_id: id(0),
        caller: row.get(1),
        identity: Some(Identity { key_date: row.get::<_, Date>(2).to_string(), key: row.get(3) }),
        kind: row.get(4),
        entries: lines.map(entry).collect(),
        references: texts(14).into_iter().zip(texts(15)).map(reference).collect(),
        effective_time: row.get::<_, Timestamp>(5).to_string(),
        accounting_date: row.get::<_, Date>(6).to_string(),
        settlement_date: row.get::<_, Option<Date>>(7).map(|date| date.to_string()).unwrap_or_default(),
        original_id: id(8),
        expires_at: row.get::<_, Option<Timestamp>>(9).map(|time| time.to_string()).unwrap_or_default(),
        due_date: row.get::<_, Option<Date>>(16).map(|date| date.to_string()).unwrap_or_default(),
        calendar_version: u64::try_from(row.get::<_, Option<i64>>(17).unwrap_or_default()).unwrap_or(0),
    }
}
