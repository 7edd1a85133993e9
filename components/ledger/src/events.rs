//! What was booked, as a stream in the order of the books. It tells only what is
//! in the chain, so a reader that keeps its place never meets another order.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use jiff::Timestamp;
use jiff::civil::Date;
use payplane_api::ledger::v1::{
    BookedTransaction, Entry, Identity, ReadEventsRequest, ReadEventsResponse, Reference,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use crate::reads::{direction, query};
use crate::service::read_status;

/// Readers at once of one pod.
pub(crate) const READERS_MAX: usize = 16;
/// Answers that a reader has not taken yet.
const OPEN_MAX: usize = 4;
/// Looks at the books at once: other reads share their connections.
const LOOKS_MAX: usize = 2;
/// Positions of one look, and about how many transactions, of which a batch has 1,024 at most.
const POSITIONS_MAX: i64 = 4_096;
const BOOKED_ENOUGH: i64 = 1_024;
/// Transactions of one answer.
const TRANSACTIONS_MAX: usize = 128;
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// How far a look reaches, and whether the place before it is still in the books.
const REACH: &str = "
    SELECT (SELECT max(n.position) FROM (
                SELECT c.position, sum(b.booked) OVER (ORDER BY c.position) - b.booked AS before
                  FROM (SELECT c.position FROM ledger.chain c WHERE c.position > $1 ORDER BY c.position LIMIT $2) c
                  JOIN ledger.positions p USING (position) JOIN ledger.batches b USING (batch_number)) n
             WHERE n.before < $3),
           $4::bigint = 0 OR EXISTS (SELECT FROM ledger.chain c JOIN ledger.positions p USING (position)
                                      WHERE c.position = $4 AND c.hash = $5 AND p.epoch = $6)";

/// Positions without a transaction are passed over: refusals and replays have such.
const EVENTS: &str = "
    WITH cut AS MATERIALIZED (
        SELECT p.position, p.epoch, p.batch_number, c.hash
          FROM ledger.chain c JOIN ledger.positions p USING (position) JOIN ledger.batches b USING (batch_number)
         WHERE c.position > $1 AND c.position <= $2 AND b.booked > 0)
    SELECT c.position, c.epoch, c.hash, t.transaction_id, t.caller, t.key_date, t.key, t.kind, t.effective_time,
           t.accounting_date, t.settlement_date, t.original_id, h.expires_at,
           e.codes, e.sides, e.amounts, e.currencies, r.types, r.values
      FROM cut c JOIN ledger.transactions t USING (batch_number)
      LEFT JOIN ledger.holds h ON h.hold_id = t.transaction_id,
      LATERAL (
           SELECT array_agg(a.code ORDER BY l.line) AS codes, array_agg(l.side ORDER BY l.line) AS sides,
                  array_agg(l.amount_minor ORDER BY l.line) AS amounts, array_agg(a.currency ORDER BY l.line) AS currencies
             FROM (SELECT e.line, e.account_id, e.side::text, e.amount_minor
                     FROM ledger.entries e WHERE e.transaction_id = t.transaction_id
                   UNION ALL
                   SELECT 1, h.account_id, (SELECT CASE o.normal_side WHEN 'debit' THEN 'credit' ELSE 'debit' END
                                              FROM ledger.accounts o WHERE o.account_id = h.account_id), h.amount_minor
                    WHERE h.account_id IS NOT NULL) l
             JOIN ledger.accounts a USING (account_id)) e,
      LATERAL (
           SELECT array_agg(x.type ORDER BY x.type, x.value) AS types, array_agg(x.value ORDER BY x.type, x.value) AS values
             FROM ledger.external_references x WHERE x.transaction_id = t.transaction_id) r
     ORDER BY c.position, t.transaction_id";

pub(crate) type Events = ReceiverStream<Result<ReadEventsResponse, Status>>;

/// How many may still read, and what they read from.
#[derive(Clone)]
pub(crate) struct Reading {
    pool: Pool,
    places: Arc<Semaphore>,
    looks: Arc<Semaphore>,
    closing: CancellationToken,
}

/// The last place that a reader was told.
struct Place {
    position: i64,
    hash: Vec<u8>,
    epoch: i32,
}

impl Reading {
    #[must_use]
    pub(crate) fn new(pool: Pool, closing: CancellationToken) -> Self {
        let [places, looks] = [READERS_MAX, LOOKS_MAX].map(|n| Arc::new(Semaphore::new(n)));
        Self { pool, places, looks, closing }
    }

    /// Streams what comes after a place, until the reader goes or the server drains.
    pub(crate) async fn start(&self, asked: ReadEventsRequest) -> Result<Events, Status> {
        let permit = self.places.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Status::resource_exhausted("too many readers of this pod"))?;
        let large = |_| Status::invalid_argument("after_position or after_epoch: too large");
        let place = Place {
            position: i64::try_from(asked.after_position).map_err(large)?,
            hash: asked.after_hash,
            epoch: i32::try_from(asked.after_epoch).map_err(large)?,
        };
        self.reach(place.position, &place).await?;
        let (answers, stream) = mpsc::channel(OPEN_MAX);
        tokio::spawn(self.clone().tell(place, answers, permit));
        Ok(ReceiverStream::new(stream))
    }

    /// The last position of the next look; none where there is nothing new.
    async fn reach(&self, after: i64, place: &Place) -> Result<Option<i64>, Status> {
        let Place { position, hash, epoch } = place;
        let asked: [&(dyn ToSql + Sync); 6] = [&after, &POSITIONS_MAX, &BOOKED_ENOUGH, position, hash, epoch];
        let rows = query(&self.pool, "events", REACH, &asked).await.map_err(|e| read_status(&e))?;
        match rows.first() {
            Some(row) if row.get(1) => Ok(row.get(0)),
            _ => Err(Status::failed_precondition(format!(
                "position {position} of epoch {epoch} is not in these books: they went another way, as after an older copy was restored"
            ))),
        }
    }

    /// The answers of a look, and where the next one begins.
    async fn look(&self, after: i64, place: &Place) -> Result<(Vec<ReadEventsResponse>, i64), Status> {
        let _turn = self.looks.acquire().await;
        let Some(last) = self.reach(after, place).await? else { return Ok((vec![], after)) };
        let rows =
            query(&self.pool, "events", EVENTS, &[&after, &last]).await.map_err(|e| read_status(&e))?;
        Ok((responses(&rows), last))
    }

    async fn tell(
        self,
        mut place: Place,
        answers: mpsc::Sender<Result<ReadEventsResponse, Status>>,
        _permit: OwnedSemaphorePermit,
    ) {
        let mut after = place.position;
        loop {
            let (told, next) = match self.look(after, &place).await {
                Ok(found) => found,
                Err(status) => {
                    let _ = answers.send(Err(status)).await;
                    return;
                }
            };
            let idle = next == after;
            after = next;
            for answer in told {
                place = Place {
                    position: i64::try_from(answer.position).unwrap_or(i64::MAX),
                    hash: answer.hash.clone(),
                    epoch: i32::try_from(answer.epoch).unwrap_or(i32::MAX),
                };
                tokio::select! {
                    () = self.closing.cancelled() => return,
                    sent = answers.send(Ok(answer)) => if sent.is_err() { return },
                }
            }
            tokio::select! {
                () = self.closing.cancelled() => return,
                () = answers.closed() => return,
                () = tokio::time::sleep(LOOK_EVERY), if idle => {}
                () = std::future::ready(()), if !idle => {}
            }
        }
    }
}

/// One answer for each position, or several for a large one.
fn responses(rows: &[Row]) -> Vec<ReadEventsResponse> {
    let of = |row: &Row| row.get::<_, i64>(0);
    let mut told: Vec<ReadEventsResponse> = vec![];
    for same in rows.chunk_by(|a, b| of(a) == of(b)) {
        for part in same.chunks(TRANSACTIONS_MAX) {
            let Some(first) = part.first() else { continue };
            told.push(ReadEventsResponse {
                epoch: u64::try_from(first.get::<_, i32>(1)).unwrap_or(0),
                position: u64::try_from(of(first)).unwrap_or(0),
                hash: first.get(2),
                transactions: part.iter().map(transaction).collect(),
                more_of_position: false,
            });
        }
    }
    let next: Vec<u64> = told.iter().skip(1).map(|answer| answer.position).collect();
    for (answer, next) in told.iter_mut().zip(next) {
        answer.more_of_position = answer.position == next;
    }
    told
}

fn transaction(row: &Row) -> BookedTransaction {
    let texts = |column: usize| row.get::<_, Option<Vec<String>>>(column).unwrap_or_default();
    let amounts = row.get::<_, Option<Vec<i64>>>(15).unwrap_or_default();
    let lines = texts(13).into_iter().zip(texts(14)).zip(amounts).zip(texts(16));
    let entry = |(((account, side), amount_minor), currency): (((String, String), i64), String)| Entry {
        account,
        direction: direction(&side),
        amount_minor,
        currency,
    };
    let reference = |(r#type, value)| Reference { r#type, value };
    let id = |column: usize| row.get::<_, Option<Uuid>>(column).map(|id| id.to_string()).unwrap_or_default();
    BookedTransaction {
        transaction_id: id(3),
        caller: row.get(4),
        identity: Some(Identity { key_date: row.get::<_, Date>(5).to_string(), key: row.get(6) }),
        kind: row.get(7),
        entries: lines.map(entry).collect(),
        references: texts(17).into_iter().zip(texts(18)).map(reference).collect(),
        effective_time: row.get::<_, Timestamp>(8).to_string(),
        accounting_date: row.get::<_, Date>(9).to_string(),
        settlement_date: row.get::<_, Option<Date>>(10).map(|date| date.to_string()).unwrap_or_default(),
        original_id: id(11),
        expires_at: row.get::<_, Option<Timestamp>>(12).map(|time| time.to_string()).unwrap_or_default(),
    }
}
