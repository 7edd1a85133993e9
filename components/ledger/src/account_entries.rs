//! An account's entries in the order of the books, up to the end of what is sealed.

use std::fmt::Display;

use deadpool_postgres::Pool;
use jiff::Timestamp;
use jiff::civil::Date;
use payplane_api::ledger::v1::{AccountEntry, ListEntriesRequest, ListEntriesResponse};
use tokio_postgres::Row;
use tonic::Status;
use uuid::Uuid;

use crate::reads::{direction, query};
use crate::service::{read_status, wrong};

const PAGE: i32 = 100;
const PAGE_MAX: i32 = 500;

const ENTRIES: &str = "
    SELECT e.place, e.transaction_id, e.line::int4, e.side::text, e.amount_minor, t.kind, t.effective_time, t.accounting_date, p.epoch,
           e.place < (SELECT coalesce(max(c.position), 0) FROM ledger.chain c), encode(substr(p.hash, 1, 8), 'hex'),
           $3 = 0 OR EXISTS (SELECT FROM ledger.chain c JOIN ledger.positions q USING (position)
                              WHERE c.position = $3 AND q.epoch = $7 AND encode(substr(c.hash, 1, 8), 'hex') = $8)
      FROM ledger.accounts a, LATERAL ledger.account_entries(a.account_id, $3, $4, $5, $6) WITH ORDINALITY
           AS e (place, transaction_id, line, side, amount_minor, n)
      LEFT JOIN LATERAL (SELECT t.* FROM ledger.all_transactions t WHERE t.transaction_id = e.transaction_id OFFSET 0) t ON true
      LEFT JOIN LATERAL (SELECT p.epoch, c.hash FROM ledger.positions p JOIN ledger.chain c USING (position) WHERE p.position = e.place OFFSET 0) p ON true
     WHERE a.code = $1 AND a.currency = $2 ORDER BY e.n";

/// Behind which entry a page begins: its position, with epoch and the beginning of
/// the chain's hash there, its transaction and its line.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cursor {
    position: i64,
    epoch: i32,
    hash: String,
    transaction: Uuid,
    line: i32,
}

impl Cursor {
    fn start() -> Self {
        Self { position: 0, epoch: 0, hash: String::new(), transaction: Uuid::nil(), line: 0 }
    }

    /// Behind the last row: a full page ends with an entry, another one with a
    /// position that was told whole.
    fn behind(row: &Row) -> Option<Self> {
        let transaction: Option<Uuid> = row.get(1);
        Some(Self {
            position: row.get(0),
            epoch: row.get::<_, Option<i32>>(8)?,
            hash: row.get(10),
            transaction: transaction.unwrap_or(Uuid::max()),
            line: transaction.map_or(i32::MAX, |_| row.get(2)),
        })
    }

    fn parse(text: &str) -> Option<Self> {
        let [position, epoch, hash, transaction, line] =
            text.split('/').collect::<Vec<_>>().try_into().ok()?;
        Some(Self {
            position: position.parse().ok().filter(|position| *position >= 0)?,
            epoch: epoch.parse().ok()?,
            hash: Some(hash).filter(|hash| hash.bytes().all(|b| b.is_ascii_hexdigit()))?.to_owned(),
            transaction: transaction.parse().ok()?,
            line: line.parse().ok()?,
        })
    }
}

impl Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}/{}/{}", self.position, self.epoch, self.hash, self.transaction, self.line)
    }
}

pub(crate) async fn list(pool: &Pool, asked: ListEntriesRequest) -> Result<ListEntriesResponse, Status> {
    let size = match i32::try_from(asked.page_size) {
        Ok(0) => PAGE,
        Ok(size) if size <= PAGE_MAX => size,
        _ => return Err(wrong("page_size", "up to 500")),
    };
    let after = if asked.after.is_empty() {
        Cursor::start()
    } else {
        Cursor::parse(&asked.after).ok_or_else(|| wrong("after", "not the `next` of an answer"))?
    };
    let params: [&(dyn tokio_postgres::types::ToSql + Sync); 8] = [
        &asked.account,
        &asked.currency,
        &after.position,
        &after.transaction,
        &after.line,
        &size,
        &after.epoch,
        &after.hash,
    ];
    let rows = query(pool, "entries", ENTRIES, &params).await.map_err(|e| read_status(&e))?;
    let Some(last) = rows.last() else {
        let said = format!("account {} is not open in {}", asked.account, asked.currency);
        return Err(Status::not_found(said));
    };
    if !last.get::<_, bool>(11) {
        let said = "after: that place is not in these books: they went another way, as after an older copy was restored";
        return Err(Status::failed_precondition(said));
    }
    let more = last.get::<_, Option<Uuid>>(1).is_some() || last.get(9);
    let next = Cursor::behind(last).map_or(asked.after, |next| next.to_string());
    Ok(ListEntriesResponse { entries: rows.iter().filter_map(entry).collect(), next, more })
}

fn entry(row: &Row) -> Option<AccountEntry> {
    Some(AccountEntry {
        transaction_id: row.get::<_, Option<Uuid>>(1)?.to_string(),
        position: u64::try_from(row.get::<_, i64>(0)).unwrap_or(0),
        line: u32::try_from(row.get::<_, i32>(2)).unwrap_or(0),
        direction: direction(row.get(3)),
        amount_minor: row.get(4),
        kind: row.get(5),
        effective_time: row.get::<_, Timestamp>(6).to_string(),
        accounting_date: row.get::<_, Date>(7).to_string(),
        epoch: u64::try_from(row.get::<_, i32>(8)).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_what_was_told_and_nothing_else_is() {
        let one = Cursor { position: 9, epoch: 1, hash: "00ff".into(), transaction: Uuid::max(), line: 64 };
        for cursor in [Cursor::start(), one] {
            assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }
        for wrong in [
            "1/1/\0/00000000-0000-0000-0000-000000000000/1",
            "",
            "7",
            "7/1/ff/x/1",
            "-1/1/ff/00000000-0000-0000-0000-000000000000/1",
            "1/2/3/4",
        ] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }
}
