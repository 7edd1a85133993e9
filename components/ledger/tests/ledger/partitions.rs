//! Partitions are there before they are needed; nothing waits for one that comes or
//! goes, and each is guarded as its table is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use payplane_ledger::books::Books;

use crate::harness::*;
use crate::past::{TABLES, carry_out, months_ago, old_months, refused, said};
use crate::plants::begin_with;

/// As if nobody had prepared anything since that many months.
fn unprepared(months: i32) -> String {
    format!(
        "ALTER TABLE ledger.control DISABLE TRIGGER what_left_stays_away;
         DO $$
         DECLARE name text; upto date := date_trunc('month', now()) - interval '{months} months';
         BEGIN
             FOR name IN SELECT i.inhrelid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhparent
                          WHERE c.relnamespace = 'ledger'::regnamespace AND c.relkind = 'p' LOOP
                 EXECUTE format('DROP TABLE %s', name);
             END LOOP;
             FOREACH name IN ARRAY {TABLES} LOOP
                 PERFORM ledger.make_partition(name, NULL, upto);
             END LOOP;
             UPDATE ledger.control SET prepared_upto = upto;
         END $$;
         ALTER TABLE ledger.control ENABLE TRIGGER what_left_stays_away"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn a_posting_that_finds_no_partition_makes_it() {
    // This month alone lacks; five of them; more than anybody prepares one by one.
    for months in [0, 5, 40] {
        begin_with(unprepared(months));
        let ledger = Ledger::start().await;
        let replicas: Vec<_> = (0..4).map(|_| books(&ledger.postgres, 6)).collect();
        let begun = Instant::now();
        let answers =
            at_once(&replicas, (0..64).map(|n| sale(&format!("sale:{n}"), n % 8, 10)).collect()).await;
        let took = begun.elapsed();
        assert_eq!(tally(answers.iter().map(word))["booked"], 64);
        let made = ledger
            .number("SELECT count(*) FROM pg_inherits WHERE inhparent = 'ledger.entries'::regclass")
            .await;
        println!(
            "figure: unprepared_months_{months}_ms={} ms, {made} partitions of a table",
            took.as_millis()
        );
        assert_eq!(ledger.books.rotate().await.unwrap(), 0, "postings have made all");
        ledger.check().await;
    }
}

/// What every partition lacks of its table: triggers, indexes; or has besides, a grant.
const UNGUARDED: &str = "
    SELECT c.relname::text FROM pg_class p JOIN pg_inherits i ON i.inhparent = p.oid JOIN pg_class c ON c.oid = i.inhrelid
     WHERE p.relnamespace = 'ledger'::regnamespace AND p.relkind = 'p' AND (c.relacl IS NOT NULL
        OR (SELECT array_agg(t.tgname || ' ' || t.tgenabled::text || ' ' || t.tgfoid ORDER BY t.tgname) FROM pg_trigger t WHERE t.tgrelid = c.oid)
           IS DISTINCT FROM
           (SELECT array_agg(t.tgname || ' ' || t.tgenabled::text || ' ' || t.tgfoid ORDER BY t.tgname) FROM pg_trigger t WHERE t.tgrelid = p.oid)
        OR (SELECT count(*) FROM pg_index x WHERE x.indrelid = c.oid) <> (SELECT count(*) FROM pg_index x WHERE x.indrelid = p.oid))";

#[tokio::test]
pub(crate) async fn new_partitions_are_guarded_like_their_tables() {
    let ledger = Ledger::start().await;
    let next = ledger
        .owner
        .query_one("SELECT to_char(prepared_upto, 'YYYYMM') FROM ledger.control", &[])
        .await
        .unwrap();
    let next: String = next.get(0);
    let mut more = "SELECT ledger.prepare(prepared_upto - 20) FROM ledger.control".to_owned();
    assert_eq!(ledger.number(&more).await, 1);
    let unguarded = ledger.owner.query(UNGUARDED, &[]).await.unwrap();
    assert_eq!(unguarded.iter().map(|row| row.get(0)).collect::<Vec<String>>(), Vec::<String>::new());
    let thief = ledger.postgres.connect("ledger").await.unwrap();
    for table in ["identities", "transactions", "entries", "external_references", "holds", "hold_ends"] {
        let name = format!("ledger.{table}_{next}");
        for sql in ["SELECT * FROM", "DELETE FROM", "TRUNCATE", "DROP TABLE", "INSERT INTO"] {
            more = format!("{sql} {name}{}", if sql == "INSERT INTO" { " DEFAULT VALUES" } else { "" });
            refused(&thief, &more, if sql == "DROP TABLE" { "must be owner" } else { "permission denied" })
                .await;
        }
        refused(&ledger.owner, &format!("TRUNCATE {name}"), "append-only").await;
    }
    let entry = format!(
        "INSERT INTO ledger.entries_{next} SELECT ledger.first_id(c.prepared_upto - 20), 1, 1, 1, 'debit', 1 FROM ledger.control c"
    );
    refused(&ledger.owner, &entry, "are not the").await;
}

/// The longest that a posting took since it was last asked, in microseconds.
#[derive(Default)]
struct Watch {
    longest: AtomicU64,
    booked: AtomicU64,
    stop: AtomicBool,
}

impl Watch {
    fn of(&self, phase: &str) -> String {
        let (longest, booked) =
            (self.longest.swap(0, Ordering::Relaxed), self.booked.swap(0, Ordering::Relaxed));
        let ms = Duration::from_micros(longest).as_secs_f64() * 1e3;
        format!("figure: posting_longest_ms({phase})={ms:.1} ms of {booked} postings")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn partitions_come_and_go_under_load() {
    begin_with(old_months());
    let ledger = Ledger::start().await;
    let replicas: Vec<_> = (0..2).map(|_| books(&ledger.postgres, 6)).collect();
    let watch = Arc::new(Watch::default());
    let clients: Vec<_> = (0..32)
        .map(|n| {
            let (books, watch) = (replicas[n % 2].clone(), watch.clone());
            tokio::spawn(async move {
                for round in 0.. {
                    if watch.stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let (key, begun) = (format!("sale:{n}:{round}"), Instant::now());
                    assert_eq!(said(&books, sale(&key, n % 8, 10)).await, "booked");
                    watch
                        .longest
                        .fetch_max(begun.elapsed().as_micros().try_into().unwrap(), Ordering::Relaxed);
                    watch.booked.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let pause = || tokio::time::sleep(Duration::from_millis(500));
    pause().await;
    println!("{}", watch.of("start"));
    pause().await;
    println!("{}", watch.of("nothing else"));
    for month in 1..=6 {
        ledger.number(&format!("SELECT ledger.prepare(current_date + 31 * {month})")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    println!("{}", watch.of("six months are prepared"));
    carry_out(&ledger.owner, &format!("SELECT ledger.retire_keys('{}')", months_ago(14))).await;
    println!("{}", watch.of("identities leave"));
    carry_out(&ledger.owner, &format!("SELECT ledger.archive('{}')", months_ago(16))).await;
    println!("{}", watch.of("months are archived"));
    pause().await;
    watch.stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(replicas.iter().map(Books::rejected).sum::<u64>(), 0, "batches were rejected");
    ledger.check().await;
}
