//! What was booked or told later, as a stream in the order of the books. It tells only what is
//! in the chain, so a reader that keeps its place never meets another order.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use payplane_api::ledger::v1::{ReadEventsRequest, ReadEventsResponse};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::booked::{self, booked_columns, booked_joins};
use crate::reads::query;
use crate::seal::head::Head;
use crate::service::{read_status, wrong};
use crate::settlements::{self, SETTLED};

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
                SELECT m.position, (sum(m.many) OVER (ORDER BY m.position) - m.many)::bigint AS before
                  FROM (SELECT c.position, CASE b.booked WHEN 0 THEN (SELECT count(*) FROM ledger.settlements s
                                                                      WHERE s.batch_number = b.batch_number) ELSE b.booked END AS many
                          FROM (SELECT c.position FROM ledger.chain c WHERE c.position > $1 ORDER BY c.position LIMIT $2) c
                          JOIN ledger.positions p USING (position) JOIN ledger.batches b USING (batch_number)) m) n
             WHERE n.before < $3),
           $4::bigint = 0 OR EXISTS (SELECT FROM ledger.chain c JOIN ledger.positions p USING (position)
                                      WHERE c.position = $4 AND c.hash = $5 AND p.epoch = $6)";

/// The places between two positions whose batches booked so much.
macro_rules! cut {
    ($booked:literal) => {
        concat!(
            "WITH cut AS MATERIALIZED (
                SELECT p.position, p.epoch, p.batch_number, c.hash
                  FROM ledger.chain c JOIN ledger.positions p USING (position) JOIN ledger.batches b USING (batch_number)
                 WHERE c.position > $1 AND c.position <= $2 AND b.booked ",
            $booked,
            ")"
        )
    };
}
pub(crate) use cut;

/// Positions without a transaction are passed over: refusals and replays have such.
const EVENTS: &str = concat!(
    cut!("> 0"),
    " SELECT ",
    booked_columns!(),
    ", c.position, c.epoch, c.hash FROM cut c JOIN ledger.all_transactions t USING (batch_number) ",
    booked_joins!(),
    " ORDER BY c.position, t.transaction_id"
);

pub(crate) type Events = ReceiverStream<Result<ReadEventsResponse, Status>>;

/// How many may still read, and what they read from.
#[derive(Clone)]
pub(crate) struct Reading {
    pool: Pool,
    places: Arc<Semaphore>,
    looks: Arc<Semaphore>,
    heads: watch::Receiver<Option<Head>>,
    closing: CancellationToken,
}

/// The last place that a reader was told.
struct Place {
    position: i64,
    hash: Vec<u8>,
    epoch: i32,
}

impl Place {
    fn of(answer: &ReadEventsResponse) -> Self {
        Self {
            position: i64::try_from(answer.position).unwrap_or(i64::MAX),
            hash: answer.hash.clone(),
            epoch: i32::try_from(answer.epoch).unwrap_or(i32::MAX),
        }
    }
}

impl Reading {
    #[must_use]
    pub(crate) fn new(pool: Pool, heads: watch::Receiver<Option<Head>>, closing: CancellationToken) -> Self {
        let [places, looks] = [READERS_MAX, LOOKS_MAX].map(|n| Arc::new(Semaphore::new(n)));
        Self { pool, places, looks, heads, closing }
    }

    /// Streams what comes after a place, until the reader goes or the server drains.
    pub(crate) async fn start(&self, asked: ReadEventsRequest) -> Result<Events, Status> {
        let permit = self.places.clone().try_acquire_owned();
        let permit = permit.map_err(|_| Status::resource_exhausted("too many readers of this pod"))?;
        let large = |_| wrong("after_position, after_epoch", "too large");
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
        let sql = EVENTS;
        #[cfg(feature = "plants")]
        let sql = crate::plants::events(sql);
        let rows = query(&self.pool, "events", sql, &[&after, &last]).await.map_err(|e| read_status(&e))?;
        let settled = query(&self.pool, "settlements", SETTLED, &[&after, &last]).await;
        let settled = settlements::answers(&settled.map_err(|e| read_status(&e))?);
        let mut told: Vec<_> = responses(&rows).into_iter().chain(settled).collect();
        told.sort_by_key(|answer| answer.position);
        Ok((told, last))
    }

    /// The last head that was said, where a look from `place` on reached it.
    fn head(&self, place: &Place, reached: i64, told: i64) -> Option<ReadEventsResponse> {
        let said = self.heads.borrow();
        let head = said.as_ref()?;
        let is_next = head.position > told && (place.position..=reached).contains(&head.position);
        is_next.then(|| ReadEventsResponse {
            epoch: u64::try_from(head.epoch).unwrap_or(0),
            position: u64::try_from(head.position).unwrap_or(0),
            hash: hex::decode(&head.hash).unwrap_or_default(),
            signed_head: head.line(),
            ..ReadEventsResponse::default()
        })
    }

    async fn tell(
        self,
        mut place: Place,
        answers: mpsc::Sender<Result<ReadEventsResponse, Status>>,
        _permit: OwnedSemaphorePermit,
    ) {
        let (mut after, mut last_head) = (place.position, 0);
        loop {
            let (mut told, next) = match self.look(after, &place).await {
                Ok(found) => found,
                Err(status) => {
                    let _ = answers.send(Err(status)).await;
                    return;
                }
            };
            let idle = next == after;
            after = next;
            if let Some(head) = self.head(&place, after, last_head) {
                last_head = i64::try_from(head.position).unwrap_or(i64::MAX);
                let at = told.partition_point(|answer| answer.position <= head.position);
                told.insert(at, head);
            }
            for answer in told {
                place = Place::of(&answer);
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

/// An answer of a row's place, and nothing in it yet.
pub(crate) fn empty(row: &Row) -> ReadEventsResponse {
    ReadEventsResponse {
        epoch: u64::try_from(row.get::<_, i32>("epoch")).unwrap_or(0),
        position: u64::try_from(row.get::<_, i64>("position")).unwrap_or(0),
        hash: row.get("hash"),
        ..ReadEventsResponse::default()
    }
}

/// One answer for each position, or several for a large one.
fn responses(rows: &[Row]) -> Vec<ReadEventsResponse> {
    let of = |row: &Row| row.get::<_, i64>("position");
    let mut told: Vec<ReadEventsResponse> = vec![];
    for same in rows.chunk_by(|a, b| of(a) == of(b)) {
        for part in same.chunks(TRANSACTIONS_MAX) {
            let Some(first) = part.first() else { continue };
            let transactions = part.iter().map(booked::transaction).collect();
            told.push(ReadEventsResponse { transactions, ..empty(first) });
        }
    }
    let next: Vec<u64> = told.iter().skip(1).map(|answer| answer.position).collect();
    for (answer, next) in told.iter_mut().zip(next) {
        answer.more_of_position = answer.position == next;
    }
    told
}
