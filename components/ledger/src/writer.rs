//! The writer: postings of all callers gather in a queue and leave in batches.
//! A batch leaves when a connection is free and the batch is 2 ms old for each posting of the
//! one before (20 ms at most, and 20 ms for each other one that is under way) or holds 256;
//! while all connections are busy it grows to at most 1,024.

mod batch;
mod figures;
mod item;
mod queue;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use deadpool_postgres::Pool;
use tokio_util::task::TaskTracker;

pub use self::batch::{POST, params};
use self::figures::Figures;
pub use self::item::Item;
use self::queue::Queue;
use crate::accounts::Lane;
use crate::books::{Answer, BooksError, rows_and_place};
use crate::place::Answered;

/// Clones share the queue.
#[derive(Clone)]
pub struct Writer {
    queue: Arc<Queue>,
    pub(crate) figures: Figures,
    pub(crate) answered: Answered,
}

impl Writer {
    /// Runs until the queue is closed and empty.
    pub(crate) fn start(pool: &Pool, connections: usize, tasks: &TaskTracker) -> Self {
        let writer =
            Self { queue: Arc::default(), figures: Figures::default(), answered: Answered::default() };
        for _ in 0..connections {
            tasks.spawn(writer.clone().write(pool.clone()));
        }
        writer
    }

    pub(crate) async fn post(&self, item: Item, lane: Lane) -> Result<Answer, BooksError> {
        let (ticket, waiting) = item.ticket();
        self.queue.push(waiting, lane)?;
        ticket.answer().await
    }

    /// Batches that the database refused as a whole: our own mistakes.
    pub(crate) fn rejected(&self) -> u64 {
        self.queue.rejected.load(Ordering::Relaxed)
    }

    /// From now on nothing is accepted; what was is answered.
    pub(crate) fn close(&self) {
        self.queue.close();
    }

    /// One connection's life: a batch after the other.
    async fn write(self, pool: Pool) {
        while let Some(mut batch) = self.queue.next().await {
            self.send(&pool, std::mem::take(&mut batch.items)).await;
        }
    }

    async fn send(&self, pool: &Pool, mut items: Vec<item::Waiting>) {
        /// So that a database that is away is not asked without a pause.
        const PAUSE: Duration = Duration::from_millis(50);
        let connection = match pool.get().await {
            Ok(connection) => connection,
            Err(source) => {
                batch::unreachable(items, source);
                return tokio::time::sleep(PAUSE).await;
            }
        };
        // At the last moment: callers may have gone while a connection was made.
        items.retain_mut(item::Waiting::send);
        if items.is_empty() {
            return;
        }
        self.figures.sent(&items);
        let since = Instant::now();
        let params = batch::params(items.iter().map(|waiting| &waiting.item));
        let committed = rows_and_place(connection, batch::POST, params).await;
        self.figures.ended(since.elapsed());
        match committed {
            Ok((rows, place)) => {
                // Before anybody is told, so that what is published covers it.
                self.answered.reached(place);
                batch::answer(items, rows, place, &self.queue);
            }
            Err(error) => batch::fail(items, &error, &self.queue),
        }
    }
}
