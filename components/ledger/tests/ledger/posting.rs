//! Identities, caps, floors and the fence, many callers at once.

use std::collections::BTreeSet;
use std::time::Duration;

use payplane_ledger::books::Books;
use payplane_ledger::request::Posting;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn the_same_posting_fifty_times_at_once_books_once() {
    let ledger = Ledger::start().await;
    let connections: Vec<_> = (0..5).map(|_| books(&ledger.postgres, 10)).collect();
    for round in 0..4 {
        let same = vec![sale(&format!("sale:{round}"), 0, 100); 50];
        let answers = at_once(&connections, same).await;
        let ids: BTreeSet<_> = answers.iter().map(|answer| answer.transaction_id).collect();
        assert_eq!(ids.len(), 1, "one transaction was answered");
        let tally = tally(answers.iter().map(word));
        assert_eq!((tally["booked"], tally["replayed"]), (1, 49));
    }
    assert_eq!(ledger.number("SELECT count(*) FROM ledger.transactions").await, 4);
    assert_eq!(ledger.balance(&merchant(0)).await, 400);
    ledger.check().await;
}

#[tokio::test]
pub(crate) async fn an_identity_answers_one_content() {
    let ledger = Ledger::start().await;
    let first = ledger.post(sale("sale:1", 0, 100)).await;
    assert_eq!(ledger.word(sale("sale:1", 0, 101)).await, "IDENTITY_CONFLICT");
    assert_eq!(ledger.word(sale("sale:1", 1, 100)).await, "IDENTITY_CONFLICT");
    let before = ledger.number("SELECT count(*) FROM ledger.batches").await;
    let again = ledger.post(sale("sale:1", 0, 100)).await;
    assert_eq!((word(&again), again.transaction_id), ("replayed".to_owned(), first.transaction_id));
    // Even an answer that only repeats is preceded by a commit that wrote.
    assert_eq!(ledger.number("SELECT count(*) FROM ledger.batches").await, before + 1);
    assert_eq!(ledger.balance(&merchant(0)).await, 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn refunds_at_once_never_exceed_their_original() {
    let ledger = Ledger::start().await;
    ledger.post(sale("sale:1", 0, 100)).await;
    // Out of an account without a floor: nothing but the cap stands in their way.
    let refund = |n: usize| {
        let lines = [(FEE, "debit", 10), (CLEARING, "credit", 10)];
        Posting { original: Some(key("sale:1")), ..posting("refund", &format!("refund:{n}"), &lines) }
    };
    let replicas: Vec<_> = (0..8).map(|_| books(&ledger.postgres, 4)).collect();
    // Somebody holds the cap until all of them want it.
    ledger.owner.batch_execute("BEGIN; SELECT FROM ledger.caps FOR UPDATE").await.unwrap();
    let let_go = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        ledger.owner.batch_execute("COMMIT").await.unwrap();
    };
    let (answers, ()) = tokio::join!(at_once(&replicas, (0..80).map(refund).collect()), let_go);
    let tally = tally(answers.iter().map(word));
    assert_eq!((tally["booked"], tally["OVER_ORIGINAL"]), (10, 70));
    // The lock decides: the table's own check, which rejects a whole batch, saw nothing.
    assert_eq!(replicas.iter().map(Books::rejected).sum::<u64>(), 0);
    assert_eq!(ledger.balance(&merchant(0)).await, 100);
    ledger.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn a_floor_holds_against_many_at_once() {
    let ledger = Ledger::start().await;
    ledger.post(sale("sale:1", 0, 55)).await;
    ledger.post(sale("sale:2", 1, 55)).await;
    // Both merchants in one posting, in either order: locks are sorted, so none is a deadlock.
    let both = |n: usize| {
        let (a, b) = (merchant(n % 2), merchant((n + 1) % 2));
        let lines = [(a.as_str(), "debit", 10), (b.as_str(), "debit", 10), (CLEARING, "credit", 20)];
        posting("payout", &format!("payout:{n}"), &lines)
    };
    let replicas: Vec<_> = (0..8).map(|_| books(&ledger.postgres, 4)).collect();
    let answers = at_once(&replicas, (0..40).map(both).collect()).await;
    let tally = tally(answers.iter().map(word));
    assert_eq!((tally["booked"], tally["INSUFFICIENT"]), (5, 35));
    assert_eq!((ledger.balance(&merchant(0)).await, ledger.balance(&merchant(1)).await), (5, 5));
    ledger.check().await;
}

#[tokio::test]
pub(crate) async fn a_refusal_is_kept_and_answered_again() {
    let ledger = Ledger::start().await;
    assert_eq!(ledger.word(payout("payout:1", 0, 10)).await, "INSUFFICIENT");
    ledger.post(sale("sale:1", 0, 100)).await;
    let again = ledger.post(payout("payout:1", 0, 10)).await;
    assert_eq!(word(&again), "INSUFFICIENT");
    assert_eq!(again.subject.as_deref(), Some("merchant:m0:pending"));
    assert_eq!(ledger.word(payout("payout:1", 0, 11)).await, "IDENTITY_CONFLICT");
    assert_eq!(ledger.word(payout("payout:2", 0, 10)).await, "booked");
    ledger.check().await;
}

#[tokio::test]
pub(crate) async fn a_stale_config_leaves_the_identity_unused() {
    let ledger = Ledger::start().await;
    ledger.post(sale("sale:0", 0, 100)).await;
    assert_eq!(ledger.books.raise_config_epoch(5, soon()).await.unwrap(), 5);
    assert_eq!(ledger.books.raise_config_epoch(3, soon()).await.unwrap(), 5, "it never goes down");
    let stale = ledger.post(sale("sale:1", 0, 100)).await;
    assert_eq!((word(&stale), stale.config_epoch_min), ("STALE_CONFIG".to_owned(), Some(5)));
    let mut fresh = sale("sale:1", 0, 90);
    fresh.config_epoch = 5;
    assert_eq!(ledger.word(fresh).await, "booked");
    // What was answered on an older config is still answered.
    assert_eq!(ledger.word(sale("sale:0", 0, 100)).await, "replayed");
}

#[tokio::test]
pub(crate) async fn the_fence_waits_for_postings_and_stops_later_ones() {
    let ledger = Ledger::start().await;
    let slow = ledger.postgres.connect("ledger").await.unwrap();
    slow.batch_execute("BEGIN").await.unwrap();
    slow.batch_execute(&crate::hostile::post_sql(&sale("sale:slow", 0, 5), "gateway")).await.unwrap();
    let fencing = ledger.books.clone();
    let raise = tokio::spawn(async move { fencing.raise_config_epoch(9, soon()).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!raise.is_finished(), "the fence was raised past a posting that was under way");
    let waiting = ledger.books.clone();
    let after = tokio::spawn(async move { post(&waiting, sale("sale:after", 0, 5)).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(100)).await;
    slow.batch_execute("COMMIT").await.unwrap();
    assert_eq!(raise.await.unwrap(), 9);
    assert_eq!(word(&after.await.unwrap()), "STALE_CONFIG", "decided on what was read before the fence");
    ledger.check().await;
}
