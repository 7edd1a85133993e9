//! The order of the books: positions without gaps, and what a batch was decided
//! on before it.

use crate::harness::*;
use crate::hostile::post_sql;

#[tokio::test]
pub(crate) async fn a_writer_paused_before_its_commit_delays_and_loses_nothing() {
    let ledger = Ledger::start().await;
    let paused = ledger.postgres.connect("ledger").await.unwrap();
    paused.batch_execute("BEGIN").await.unwrap();
    paused.batch_execute(&post_sql(&sale("sale:paused", 0, 5), "gateway")).await.unwrap();
    ledger.post(sale("sale:1", 0, 10)).await;
    ledger.seal().await;
    let waiting = "SELECT count(*) FROM ledger.unsealed_batches";
    assert_eq!(ledger.number(waiting).await, 0, "an open transaction delays nobody");
    let place = "SELECT p.position FROM ledger.positions p JOIN ledger.transactions t USING (batch_number)";
    let first = ledger.number(&format!("{place} WHERE t.key = 'sale:1'")).await;

    paused.batch_execute("COMMIT").await.unwrap();
    ledger.post(sale("sale:2", 0, 10)).await;
    ledger.seal().await;
    let late = ledger.number(&format!("{place} WHERE t.key = 'sale:paused'")).await;
    assert_eq!(late, first + 1, "its number is lower, its position is not");
    assert_eq!(ledger.number(&format!("{place} WHERE t.key = 'sale:1'")).await, first);
    assert_eq!(ledger.number(&format!("{place} WHERE t.key = 'sale:2'")).await, first + 2);
    ledger.check().await;
}

#[tokio::test]
pub(crate) async fn what_a_batch_was_decided_on_stands_before_it() {
    let ledger = Ledger::start().await;
    // A transaction that began first, as its id says, decides on what committed since.
    let early = ledger.postgres.connect("ledger").await.unwrap();
    early.batch_execute("BEGIN; SELECT pg_current_xact_id()").await.unwrap();
    ledger.post(sale("sale:1", 0, 100)).await;
    early.batch_execute(&post_sql(&payout("payout:1", 0, 100), "gateway")).await.unwrap();
    early.batch_execute("COMMIT").await.unwrap();
    assert_eq!(ledger.balance(&merchant(0)).await, 0);
    ledger.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn sealers_at_once_leave_no_gap() {
    let ledger = Ledger::start().await;
    let replicas: Vec<_> = (0..4).map(|_| books(&ledger.postgres, 6)).collect();
    let sealers: Vec<_> = replicas
        .iter()
        .cloned()
        .map(|books| {
            tokio::spawn(async move {
                let mut given = 0;
                for _ in 0..100 {
                    given += books.give_positions(3).await.unwrap();
                }
                given
            })
        })
        .collect();
    for round in 0..20 {
        let sales = (0..8).map(|n| sale(&format!("sale:{round}:{n}"), n, 10)).collect();
        at_once(&replicas, sales).await;
    }
    let mut given = 0;
    for sealer in sealers {
        given += sealer.await.unwrap();
    }
    assert!(given > 0, "no sealer met a posting");
    ledger.check().await;
    assert_eq!(ledger.number("SELECT count(*) FROM ledger.unsealed_batches").await, 0);
}

#[tokio::test]
pub(crate) async fn positions_stay_and_follow_each_other() {
    let ledger = Ledger::start().await;
    ledger.post(sale("sale:1", 0, 100)).await;
    ledger.seal().await;
    ledger.post(sale("sale:2", 0, 100)).await;
    for sql in [
        "UPDATE ledger.positions SET position = position + 100",
        "DELETE FROM ledger.positions",
        "TRUNCATE ledger.positions",
        "TRUNCATE ledger.unsealed_batches",
        // A gap, another epoch's past, no batch of the books.
        "INSERT INTO ledger.positions SELECT max(p.position) + 2, 1, max(b.batch_number) FROM ledger.positions p, ledger.batches b",
        "INSERT INTO ledger.positions SELECT max(p.position) + 1, 1, 1000000 FROM ledger.positions p",
        "INSERT INTO ledger.positions SELECT max(position) + 1, 1, max(batch_number) FROM ledger.positions",
        "INSERT INTO ledger.chain SELECT max(position) + 1, sha256('') FROM ledger.positions",
        "INSERT INTO ledger.chain SELECT max(position), sha256('') FROM ledger.positions",
    ] {
        let error = ledger.owner.batch_execute(sql).await.expect_err(sql);
        assert!(error.as_db_error().is_some_and(|e| e.code().code().starts_with("23")), "{sql}: {error}");
    }
    ledger.check().await;
}
