//! What nobody can know is told as unknown, and nothing is sent for a caller
//! that has gone.

use std::time::Duration;

use payplane_api::ledger::v1::Outcome;
use payplane_ledger::books::BooksError;
use tokio_postgres::Client;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::*;
use crate::service::{Served, open, sale as request};

/// The first call of an identity is committing where the second gives up on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_identity_that_is_committing_elsewhere_is_unknown() {
    let served = Served::start().await;
    let mut gateway = served.client("gateway");
    open(&mut gateway).await;
    let elsewhere = served.postgres.connect("payplane_owner").await.unwrap();
    elsewhere.batch_execute("BEGIN").await.unwrap();
    elsewhere.batch_execute(&crate::hostile::post_sql(&sale("sale:1", 0, 5), "gateway")).await.unwrap();
    let told = gateway.post(request("sale:1")).await.unwrap_err();
    assert_eq!(told.code(), Code::Unavailable, "{told:?}");
    assert!(told.message().contains("unknown"), "{told:?}");
    assert_eq!(told.metadata().get("retry-after").unwrap(), "1");
    assert_eq!(told.get_details_error_info().unwrap().reason, "OUTCOME_UNKNOWN");
    assert_eq!(told.get_details_retry_info().unwrap().retry_delay, Some(Duration::from_secs(1)));
    elsewhere.batch_execute("COMMIT").await.unwrap();
    // The key was not unused: what the other call asked for stands under it.
    let refusal = gateway.post(request("sale:1")).await.unwrap().into_inner().refusal.unwrap();
    assert_eq!(refusal.subject, "identity");
    assert_eq!(gateway.post(request("sale:2")).await.unwrap().into_inner().outcome(), Outcome::Created);
}

/// It hangs there for longer than a lock is waited for: that is its own affair.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_identity_that_hangs_elsewhere_drags_no_neighbour_along() {
    let ledger = Ledger::start().await;
    let elsewhere = ledger.postgres.connect("ledger").await.unwrap();
    elsewhere.batch_execute("BEGIN").await.unwrap();
    elsewhere.batch_execute(&crate::hostile::post_sql(&sale("sale:held", 0, 5), "gateway")).await.unwrap();
    // One writer: both are in its batch.
    let books = books(&ledger.postgres, 3);
    let (held, other) =
        tokio::join!(post(&books, sale("sale:held", 0, 5)), post(&books, sale("sale:other", 0, 5)));
    assert!(matches!(held, Err(BooksError::Busy { .. })), "{held:?}");
    assert_eq!(word(&other.unwrap()), "booked");
    elsewhere.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(ledger.word(sale("sale:held", 0, 5)).await, "booked");
    ledger.check().await;
}

#[tokio::test]
async fn nothing_is_sent_for_a_caller_that_has_gone() {
    let ledger = Ledger::start().await;
    // One writer, which the fence holds up with the first posting.
    let books = books(&ledger.postgres, 3);
    ledger.owner.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(7813575001)").await.unwrap();
    let start = |text: &'static str| {
        let books = books.clone();
        tokio::spawn(async move { post(&books, sale(text, 0, 5)).await.unwrap() })
    };
    let first = start("sale:first");
    tokio::time::sleep(Duration::from_millis(300)).await;
    let gone = start("sale:gone");
    tokio::time::sleep(Duration::from_millis(300)).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled(), "it was answered too early");
    ledger.owner.batch_execute("COMMIT").await.unwrap();
    assert_eq!(word(&first.await.unwrap()), "booked");
    assert_eq!(word(&start("sale:last").await.unwrap()), "booked");
    assert_eq!(ledger.number("SELECT count(*) FROM ledger.identities").await, 2);
}

/// Asks until what befalls a posting has met one.
async fn meets(admin: &Client, sql: &str) {
    for attempt in 0.. {
        assert!(attempt < 100, "no posting waits for that: {sql}");
        tokio::time::sleep(Duration::from_millis(50)).await;
        if admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) > 0 {
            return;
        }
    }
}

/// Its identity too is as it was: asked for again it is booked.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn a_posting_whose_session_was_ended_leaves_nothing_behind() {
    let ledger = Ledger::start().await;
    ledger.owner.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(7813575001)").await.unwrap();
    let books = ledger.books.clone();
    let waiting = tokio::spawn(async move { post(&books, sale("sale:1", 0, 5)).await });
    let admin = ledger.postgres.connect("postgres").await.unwrap();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE wait_event = 'advisory' AND query LIKE '%ledger.post(%'";
    meets(&admin, end).await;
    let told = waiting.await.unwrap();
    assert!(matches!(told, Err(BooksError::Unknown { .. })), "{told:?}");
    ledger.owner.batch_execute("COMMIT").await.unwrap();
    assert_eq!(ledger.word(sale("sale:1", 0, 5)).await, "booked");
    ledger.check().await;
}

/// The required standby is away, and somebody who is tired of waiting cancels:
/// the primary alone has committed, which nobody may call booked.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn a_commit_whose_wait_for_the_standby_was_cancelled_is_unknown() {
    let ledger = Ledger::start().await;
    let books = books(&ledger.postgres, 3);
    assert_eq!(word(&post(&books, sale("sale:before", 0, 5)).await.unwrap()), "booked");
    let admin = ledger.postgres.connect("postgres").await.unwrap();
    let standby = async |names: &str| {
        let set = format!("ALTER SYSTEM SET synchronous_standby_names = '{names}'");
        admin.batch_execute(&set).await.unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
    };
    standby("nobody").await;
    let waiting = {
        let books = books.clone();
        tokio::spawn(async move { post(&books, sale("sale:alone", 0, 5)).await })
    };
    let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
        WHERE wait_event = 'SyncRep' AND usename = 'ledger'";
    meets(&admin, cancel).await;
    let told = waiting.await.unwrap();
    assert!(matches!(told, Err(BooksError::Unknown { .. })), "{told:?}");
    standby("").await;
    assert_eq!(word(&post(&books, sale("sale:alone", 0, 5)).await.unwrap()), "replayed");
}

/// A client that hangs, or is gone without a word, holds no row for long.
#[tokio::test]
async fn a_client_that_hangs_in_a_transaction_lets_go_of_its_rows() {
    let ledger = Ledger::start().await;
    let (tls, config) =
        (ledger.postgres.tls("payplane_owner").unwrap(), ledger.postgres.config("payplane_owner"));
    let (hangs, _driver) = payplane_common::database::connect(&config, &tls, "test").await.unwrap();
    for (name, value) in
        [("tcp_keepalives_idle", "5"), ("tcp_keepalives_count", "3"), ("tcp_user_timeout", "10000")]
    {
        let row = hangs.query_one(&format!("SHOW {name}"), &[]).await.unwrap();
        assert_eq!(row.get::<_, &str>(0), value, "{name}");
    }
    let row = "SELECT FROM ledger.balances ORDER BY account_id LIMIT 1 FOR UPDATE";
    hangs.batch_execute(&format!("BEGIN; {row}")).await.unwrap();
    ledger.owner.batch_execute(&format!("SET lock_timeout = '30s'; {row}")).await.unwrap();
    assert!(hangs.batch_execute("COMMIT").await.is_err(), "its session was ended");
}
