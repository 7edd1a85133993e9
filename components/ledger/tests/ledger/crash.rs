//! kill -9 of PostgreSQL and power cuts of its disk under load. The outside record is what
//! the callers were told: acknowledged but missing 0, doubled 0, every unknown resolved.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use payplane_ledger::books::{Books, BooksError};
use payplane_testkit::Postgres;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::harness::*;

const WORKERS: usize = 12;
const TIMES: RangeInclusive<u64> = 4..=20;
/// Nobody waits for longer, whatever happened to the server.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Record {
    acknowledged: Vec<(String, Uuid)>,
    unknown: usize,
    unsent: usize,
}

/// What was done, and what was in flight when something befell the server.
#[derive(Default)]
struct Met {
    done: AtomicUsize,
    in_flight: AtomicUsize,
}

/// Posts one sale after the other; an unknown one is asked for again under the
/// same identity until it is answered.
async fn work(worker: usize, books: Books, stop: Arc<AtomicBool>, met: Arc<Met>) -> Record {
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
                ) => {
                    record.unknown += 1;
                    met.in_flight.fetch_add(1, Ordering::AcqRel);
                }
                Err(_) => record.unsent += 1,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        record.acknowledged.push((key, id));
        met.done.fetch_add(1, Ordering::AcqRel);
        n += 1;
    }
    record
}

/// What callers were told beside what is booked.
#[derive(Debug, Default)]
struct Tally {
    told: usize,
    booked: usize,
    missing: usize,
    unknown: usize,
    unsent: usize,
}

/// Something befalls the server again and again while many post: so often, and until it met
/// something in flight. Most of the time a batch is being gathered, or none is there.
async fn befall(ledger: &mut Ledger, times: RangeInclusive<u64>, what: impl Fn(&mut Postgres, u64)) -> Tally {
    let stop = Arc::new(AtomicBool::new(false));
    let met = Arc::new(Met::default());
    let mut workers = JoinSet::new();
    for n in 0..WORKERS {
        workers.spawn(work(n, ledger.books.clone(), stop.clone(), met.clone()));
    }
    for time in 0..*times.end() {
        if time >= *times.start() && met.in_flight.load(Ordering::Acquire) > 0 {
            break;
        }
        // Each time it meets writes in flight, whatever the disk's speed.
        let goal = met.done.load(Ordering::Acquire) + 100;
        let posted = async {
            while met.done.load(Ordering::Acquire) < goal {
                tokio::time::sleep(Duration::from_millis(5 + time)).await;
            }
            tokio::time::sleep(Duration::from_millis(3 * time)).await;
        };
        timeout(ANSWERED_WITHIN, posted).await.unwrap();
        what(&mut ledger.postgres, time);
        ledger.postgres.launch().await.unwrap();
    }
    stop.store(true, Ordering::Release);
    let records = timeout(ANSWERED_WITHIN, workers.join_all()).await.unwrap();
    let mut tally = Tally::default();
    let mut told = vec![];
    for record in records {
        (tally.unknown, tally.unsent) = (tally.unknown + record.unknown, tally.unsent + record.unsent);
        told.extend(record.acknowledged);
    }
    ledger.owner = ledger.postgres.connect("payplane_owner").await.unwrap();
    let rows = ledger.owner.query("SELECT key, transaction_id FROM ledger.transactions", &[]).await.unwrap();
    let booked: BTreeMap<String, Uuid> = rows.iter().map(|r| (r.get(0), r.get(1))).collect();
    assert_eq!(rows.len(), booked.len(), "doubled");
    tally.missing = told.iter().filter(|(key, id)| booked.get(key) != Some(id)).count();
    (tally.told, tally.booked) = (told.len(), rows.len());
    tally
}

fn assert_nothing_lost(tally: &Tally) {
    assert!(tally.unknown > 0, "no write was in flight: the test proves nothing: {tally:?}");
    assert_eq!((tally.missing, tally.booked), (0, tally.told), "acknowledged and booked differ: {tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_acknowledged_is_lost_or_doubled() {
    let mut ledger = Ledger::start().await;
    assert_nothing_lost(&befall(&mut ledger, TIMES, |postgres, _| postgres.kill_9().unwrap()).await);
    ledger.check().await;
}

/// All that was written up to here is on the disk.
async fn on_disk() -> Ledger {
    let ledger = Ledger::on(Postgres::start_on_disk().await.unwrap()).await;
    ledger.postgres.sync_disk();
    ledger
}

/// The disk loses what was not synced, in each of the cuts other pages of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn nothing_acknowledged_is_lost_with_the_power() {
    let mut ledger = on_disk().await;
    let tally = befall(&mut ledger, TIMES, |postgres, time| {
        assert!(postgres.cut_power(Some(time)).unwrap() > 0, "there was nothing to lose");
    });
    assert_nothing_lost(&tally.await);
    ledger.check().await;
}

/// Else the test above proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_fsync_the_power_takes_what_was_acknowledged() {
    let mut ledger = on_disk().await;
    // The migration would not have it.
    let admin = ledger.postgres.connect("postgres").await.unwrap();
    admin.batch_execute("ALTER SYSTEM SET fsync = off").await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    while admin.query_one("SHOW fsync", &[]).await.unwrap().get::<_, &str>(0) != "off" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ledger.postgres.sync_disk();
    let tally =
        befall(&mut ledger, 1..=1, |postgres, _| assert!(postgres.cut_power(None).unwrap() > 0)).await;
    assert!(tally.missing > 0, "{tally:?}");
}
