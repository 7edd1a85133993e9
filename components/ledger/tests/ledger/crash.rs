//! kill -9 of PostgreSQL under load. The outside record is what the callers were
//! told: acknowledged but missing 0, doubled 0, every unknown resolved.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use payplane_ledger::books::{Books, BooksError};
use uuid::Uuid;

use crate::harness::*;

const WORKERS: usize = 12;
const KILLS: usize = 4;

#[derive(Default)]
struct Record {
    acknowledged: Vec<(String, Uuid)>,
    unknown: usize,
    unsent: usize,
}

/// Posts one sale after the other; an unknown one is asked for again under the
/// same identity until it is answered.
async fn work(worker: usize, books: Books, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> Record {
    let mut record = Record::default();
    let mut n = 0;
    while !stop.load(Ordering::Acquire) {
        let key = format!("sale:{worker}:{n}");
        let id = loop {
            match post(&books, sale(&key, worker % 8, 3)).await {
                Ok(answer) => break answer.transaction_id.unwrap(),
                Err(
                    BooksError::Unknown { .. }
                    | BooksError::Busy { .. }
                    | BooksError::Locked
                    | BooksError::Waited
                    | BooksError::Ended,
                ) => record.unknown += 1,
                Err(_) => record.unsent += 1,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        record.acknowledged.push((key, id));
        done.fetch_add(1, Ordering::AcqRel);
        n += 1;
    }
    record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_or_doubled() {
    let mut ledger = Ledger::start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let workers: Vec<_> = (0..WORKERS)
        .map(|n| tokio::spawn(work(n, ledger.books.clone(), stop.clone(), done.clone())))
        .collect();
    for kill in 0..KILLS {
        // Each kill finds writes in flight, whatever the disk's speed.
        let goal = done.load(Ordering::Acquire) + 100;
        while done.load(Ordering::Acquire) < goal {
            tokio::time::sleep(Duration::from_millis(5 + kill as u64)).await;
        }
        ledger.postgres.kill_9().unwrap();
        ledger.postgres.launch().await.unwrap();
    }
    stop.store(true, Ordering::Release);
    let (mut acknowledged, mut unknown, mut unsent) = (vec![], 0, 0);
    for worker in workers {
        let record = worker.await.unwrap();
        acknowledged.extend(record.acknowledged);
        unknown += record.unknown;
        unsent += record.unsent;
    }
    ledger.owner = ledger.postgres.connect("payplane_owner").await.unwrap();
    println!("acknowledged {}, unknown {unknown}, not sent {unsent}, kills {KILLS}", acknowledged.len());
    assert!(unknown > 0, "no kill hit a write in flight: the test proves nothing");
    let rows = ledger.owner.query("SELECT key, transaction_id FROM ledger.transactions", &[]).await.unwrap();
    let booked: std::collections::BTreeMap<String, Uuid> =
        rows.iter().map(|r| (r.get(0), r.get(1))).collect();
    assert_eq!(rows.len(), booked.len(), "doubled");
    for (key, id) in &acknowledged {
        assert_eq!(booked.get(key), Some(id), "{key} was acknowledged");
    }
    assert_eq!(booked.len(), acknowledged.len(), "something was booked that nobody was told of");
    ledger.check().await;
}
