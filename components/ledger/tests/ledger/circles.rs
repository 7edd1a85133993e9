//! What many want at once is waited for in one order: nobody waits in a circle.

use std::time::Duration;

use payplane_ledger::request::Posting;
use tokio_postgres::Client;

use crate::harness::*;

const SESSIONS: usize = 4;

async fn sessions(ledger: &Ledger) -> Vec<Client> {
    let mut sessions = vec![];
    for _ in 0..SESSIONS {
        sessions.push(ledger.postgres.connect("ledger").await.unwrap());
    }
    sessions
}

/// Each session sends the same, in an order of its own; the fence lets them go at once.
async fn rush(
    ledger: &Ledger,
    sessions: &[Client],
    batch: impl Fn(usize) -> Vec<Posting>,
) -> Vec<Result<Vec<String>, tokio_postgres::Error>> {
    let sent = sessions.iter().enumerate().map(|(n, session)| {
        let mut postings = batch(n);
        let places = postings.len();
        postings.rotate_left(n * places / SESSIONS);
        if n % 2 == 1 {
            postings.reverse();
        }
        call(session, postings)
    });
    ledger.owner.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(7813575001)").await.unwrap();
    let let_go = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        ledger.owner.batch_execute("COMMIT").await.unwrap();
    };
    tokio::join!(futures_util::future::join_all(sent), let_go).0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn the_same_keys_in_any_order_are_booked_once_and_nobody_is_broken_off() {
    let ledger = Ledger::start().await;
    let sessions = sessions(&ledger).await;
    for round in 0..4 {
        let same = |_| (0..200).map(|n| sale(&format!("sale:{round}:{n}"), n % 8, 1)).collect();
        let mut said = vec![];
        for answers in rush(&ledger, &sessions, same).await {
            said.extend(answers.unwrap());
        }
        let tally = tally(said);
        assert_eq!((tally["booked"], tally["replayed"]), (200, 200 * (SESSIONS - 1)));
    }
    assert_eq!(ledger.number("SELECT count(*) FROM ledger.transactions").await, 800);
    ledger.check().await;
}

/// Who waits for others' rows, the fence apart.
const WAITING: &str = "
    SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event <> 'advisory'";

/// Who waits for each other, at this moment.
const CIRCLES: &str = "
    WITH waiting AS MATERIALIZED (
        SELECT a.pid, pg_blocking_pids(a.pid) AS on_whom FROM pg_stat_activity a WHERE a.wait_event_type = 'Lock')
    SELECT count(*) FROM waiting a JOIN waiting b ON b.pid = ANY (a.on_whom) AND a.pid = ANY (b.on_whom)";

/// Caps and balances: a wait for them is broken off long before PostgreSQL looks for a
/// circle, so the test looks itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn the_same_caps_and_balances_in_any_order_are_waited_for_in_one() {
    let ledger = Ledger::start().await;
    let sales = (0..8).map(|n| sale(&format!("sale:{n}"), n, 10_000)).collect();
    at_once(std::slice::from_ref(&ledger.books), sales).await;
    let sessions = sessions(&ledger).await;
    // What others wait for is not for everybody to see.
    let admin = ledger.postgres.connect("postgres").await.unwrap();
    let count = async |sql: &str| admin.query_one(sql, &[]).await.unwrap().get::<_, i64>(0);
    let (mut circles, mut waits) = (0, 0);
    for round in 0..20 {
        // Refunds take caps and balances, payouts balances alone.
        let lowering = |session: usize| {
            let one = |n: usize| {
                let text = format!("{round}:{session}:{n}");
                if round % 2 == 0 { refund(&text, &format!("sale:{n}"), n, 1) } else { payout(&text, n, 1) }
            };
            (0..8).map(one).collect()
        };
        let rushed = rush(&ledger, &sessions, lowering);
        tokio::pin!(rushed);
        let said = loop {
            tokio::select! {
                said = &mut rushed => break said,
                () = tokio::time::sleep(Duration::from_millis(2)) => {}
            }
            waits += count(WAITING).await;
            circles += count(CIRCLES).await;
        };
        said.into_iter().for_each(|answers| assert_eq!(answers.unwrap().len(), 8));
    }
    assert!(waits > 0, "nobody waited for anybody: the test proves nothing");
    assert_eq!(circles, 0, "they waited for each other");
    ledger.check().await;
}
