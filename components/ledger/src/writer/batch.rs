//! One call of `ledger.post`: its columns, and what its answer means for each item.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use deadpool_postgres::PoolError;
use payplane_api::error::chain;
use tokio_postgres::Row;

use super::item::{Item, Waiting};
use super::queue::Queue;
use crate::books::{Answer, BooksError, Params};
use crate::place::Place;
use crate::request::Key;

pub const POST: &str = "SELECT * FROM ledger.post($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, \
                               $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25)";
/// How often an item is put back before its caller hears that rows are locked.
const TRIES_MAX: u8 = 40;

/// The columns of a batch.
pub fn params<'a>(items: impl Iterator<Item = &'a Item> + Clone) -> Params {
    let items = || items.clone();
    let postings = || items().map(|item| &item.posting);
    let original = |of: fn(&Key) -> String| -> Vec<Option<String>> {
        postings().map(|posting| posting.original.as_ref().map(of)).collect()
    };
    let lines: Vec<_> = (1_i32..)
        .zip(postings())
        .flat_map(|(n, posting)| (1_i32..).zip(&posting.entries).map(move |(line, entry)| (n, line, entry)))
        .collect();
    let references: Vec<_> = (1_i32..)
        .zip(postings())
        .flat_map(|(n, posting)| posting.references.iter().map(move |reference| (n, reference)))
        .collect();
    vec![
        Box::new(items().map(|item| item.transaction_id).collect::<Vec<_>>()),
        Box::new(items().map(|item| item.caller.clone()).collect::<Vec<_>>()),
        Box::new(postings().map(|posting| posting.identity.date).collect::<Vec<_>>()),
        Box::new(postings().map(|posting| posting.identity.key.clone()).collect::<Vec<_>>()),
        Box::new(items().map(|item| item.request_hash.clone()).collect::<Vec<_>>()),
        Box::new(postings().map(|posting| posting.kind.clone()).collect::<Vec<_>>()),
        Box::new(postings().map(|posting| posting.effective_time).collect::<Vec<_>>()),
        Box::new(items().map(|item| item.accounting_date).collect::<Vec<_>>()),
        Box::new(postings().map(|posting| posting.settlement_date).collect::<Vec<_>>()),
        Box::new(postings().map(|posting| posting.demanded_date).collect::<Vec<_>>()),
        Box::new(postings().map(|p| p.original.as_ref().map(|key| key.date)).collect::<Vec<_>>()),
        Box::new(original(|key| key.key.clone())),
        Box::new(postings().map(|posting| posting.config_epoch).collect::<Vec<_>>()),
        Box::new(postings().map(|posting| posting.expires_at).collect::<Vec<_>>()),
        Box::new(postings().map(|posting| posting.due.map(|(date, _)| date)).collect::<Vec<_>>()),
        Box::new(postings().map(|posting| posting.due.map(|(_, calendar)| calendar)).collect::<Vec<_>>()),
        Box::new(lines.iter().map(|(n, _, _)| *n).collect::<Vec<_>>()),
        Box::new(lines.iter().map(|(_, line, _)| *line).collect::<Vec<_>>()),
        Box::new(lines.iter().map(|(_, _, entry)| entry.account.clone()).collect::<Vec<_>>()),
        Box::new(lines.iter().map(|(_, _, entry)| entry.currency.to_string()).collect::<Vec<_>>()),
        Box::new(lines.iter().map(|(_, _, entry)| entry.side).collect::<Vec<_>>()),
        Box::new(lines.iter().map(|(_, _, entry)| entry.amount_minor).collect::<Vec<_>>()),
        Box::new(references.iter().map(|(n, _)| *n).collect::<Vec<_>>()),
        Box::new(references.iter().map(|(_, (kind, _))| kind.clone()).collect::<Vec<_>>()),
        Box::new(references.iter().map(|(_, (_, value))| value.clone()).collect::<Vec<_>>()),
    ]
}

/// Gives each item its answer. One whose row was busy waits for the next batch.
pub(super) fn answer(items: Vec<Waiting>, rows: Vec<Row>, place: Place, queue: &Arc<Queue>) {
    let mut items: Vec<Option<Waiting>> = items.into_iter().map(Some).collect();
    for row in rows {
        let number = usize::try_from(row.get::<_, i32>(0)).unwrap_or(0);
        let Some(mut waiting) = number.checked_sub(1).and_then(|n| items.get_mut(n)?.take()) else {
            continue;
        };
        let outcome: String = row.get(1);
        if outcome != "busy" {
            waiting.answer(Ok(Answer {
                outcome,
                transaction_id: row.get(2),
                accounting_date: row.get(3),
                reason: row.get(4),
                subject: row.get(5),
                message: row.get(6),
                config_epoch_min: row.get(7),
                place,
            }));
        } else if waiting.tries < TRIES_MAX {
            waiting.tries = waiting.tries.saturating_add(1);
            queue.back(waiting);
        } else {
            waiting.answer(Err(BooksError::Locked));
        }
    }
    // The function answers each item; a caller of one that it forgot asks again.
    items.into_iter().flatten().for_each(|waiting| waiting.answer(Err(BooksError::Ended)));
}

/// The whole call failed. A batch that was rejected, or locked out, for one item's
/// sake is sent again item by item, so that it drags no neighbours along.
pub(super) fn fail(items: Vec<Waiting>, error: &BooksError, queue: &Arc<Queue>) {
    let one_by_one =
        items.len() > 1 && matches!(error, BooksError::Rejected { .. } | BooksError::Busy { .. });
    if matches!(error, BooksError::Rejected { .. }) {
        queue.rejected.fetch_add(1, Ordering::Relaxed);
        tracing::error!(error = chain(error), items = items.len(), "a batch was rejected");
    }
    for mut waiting in items.into_iter().rev() {
        if one_by_one {
            waiting.alone = true;
            queue.back(waiting);
        } else {
            waiting.answer(Err(error.clone()));
        }
    }
}

/// Nothing was sent, this time.
pub(super) fn unreachable(items: Vec<Waiting>, source: PoolError) {
    let source = Arc::new(source);
    for waiting in items {
        let sent_before = waiting.tries > 0 || waiting.alone;
        let error = BooksError::Unreachable { source: source.clone() };
        waiting.answer(Err(if sent_before { BooksError::Locked } else { error }));
    }
}
