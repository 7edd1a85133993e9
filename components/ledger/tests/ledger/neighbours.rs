//! A row that somebody holds keeps those who need it, and a refusal is for its own: nobody
//! beside them is concerned.

use std::time::Duration;

use payplane_ledger::books::BooksError;
use payplane_ledger::request::Posting;

use crate::harness::*;

/// One that is refused is refused alone: the others of its batch are booked.
#[tokio::test]
pub(crate) async fn a_refused_one_takes_no_neighbour_along() {
    let ledger = Ledger::start().await;
    ledger.post(sale("sale:0", 0, 100)).await;
    let session = ledger.postgres.connect("ledger").await.unwrap();
    let closed = Posting { demanded_date: Some(jiff::civil::date(2024, 1, 14)), ..sale("closed", 3, 1) };
    ledger.books.close_day(jiff::civil::date(2024, 1, 14), "closing", soon()).await.unwrap();
    let batch = vec![
        sale("sale:1", 1, 10),
        payout("payout:1", 0, 101),
        sale("unknown", 99, 1),
        payout("payout:2", 0, 60),
        closed,
        refund("refund:1", "sale:none", 0, 1),
        refund("refund:2", "sale:0", 0, 40),
        sale("sale:2", 2, 10),
    ];
    let said = call(&session, batch.clone()).await.unwrap();
    let expected = [
        "booked",
        "refused INSUFFICIENT",
        "refused UNKNOWN_ACCOUNT",
        "booked",
        "refused CLOSED_DAY",
        "refused UNKNOWN_ORIGINAL",
        "booked",
        "booked",
    ];
    assert_eq!(said, expected);
    let again = call(&session, batch).await.unwrap();
    assert_eq!(again, expected.map(|said| if said == "booked" { "replayed" } else { said }));
    assert_eq!(ledger.number("SELECT count(*) FROM ledger.transactions").await, 5);
    ledger.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn a_held_row_keeps_no_neighbour() {
    let ledger = Ledger::start().await;
    ledger.post(sale("sale:1", 0, 100)).await;
    ledger.post(sale("sale:2", 1, 100)).await;
    let refunded = refund("refund:1", "sale:1", 0, 10);
    ledger.post(refunded.clone()).await;
    // Out of an account without a floor: nothing but the cap is in its way.
    let lines = [(FEE, "debit", 1), (CLEARING, "credit", 1)];
    let linked = Posting { original: Some(key("sale:1")), ..posting("refund", "refund:2", &lines) };
    let balance = "SELECT FROM ledger.balances b JOIN ledger.accounts a USING (account_id)
                    WHERE a.code = 'merchant:m0:pending' FOR UPDATE OF b";
    let cap = "SELECT FROM ledger.caps c JOIN ledger.transactions t ON t.transaction_id = c.original_id
                WHERE t.key = 'sale:1' FOR UPDATE OF c";
    let held = [
        (balance, payout("payout:1", 0, 1)),
        (cap, linked),
        // It gives its part back to the original of what it reverses.
        (cap, reversal("reversal:1", &refunded)),
    ];
    for (n, (hold, kept)) in held.into_iter().enumerate() {
        // One writer, so that both are in its batches.
        let books = books(&ledger.postgres, 3);
        // And in the same: until an account is known, it travels as one that waits for nothing.
        for merchant in 0..2 {
            post(&books, sale(&format!("known:{n}:{merchant}"), merchant, 1)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        ledger.owner.batch_execute(&format!("BEGIN; {hold}")).await.unwrap();
        let kept = tokio::spawn({
            let books = books.clone();
            async move { post(&books, kept).await.unwrap() }
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        let neighbour = post(&books, payout(&format!("beside:{n}"), 1, 1)).await.unwrap();
        assert_eq!(word(&neighbour), "booked", "beside {n}");
        let raising = post(&books, sale(&format!("raising:{n}"), 0, 1)).await.unwrap();
        assert_eq!(word(&raising), "booked", "a sale waits for no row, nor for who does, {n}");
        assert!(!kept.is_finished(), "{n} did not need the row");
        ledger.owner.batch_execute("COMMIT").await.unwrap();
        assert_eq!(word(&kept.await.unwrap()), "booked", "{n}");
    }
    ledger.check().await;
}

/// Callers' calls wait for each other; what the ledger does by itself waits for none.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_flood_of_calls_does_not_delay_positions() {
    let ledger = Ledger::start().await;
    let (books, before) = (books(&ledger.postgres, 3), ledger.chain().await);
    post(&books, sale("sale:1", 0, 1)).await.unwrap();
    let answered = books.answered();
    ledger.owner.batch_execute("BEGIN; LOCK TABLE ledger.settlements IN SHARE MODE").await.unwrap();
    let calls: Vec<_> = (0..600)
        .map(|_| {
            let books = books.clone();
            tokio::spawn(async move {
                books.set_settlement_dates("gateway", &[(key("sale:1"), today())], soon()).await
            })
        })
        .collect();
    let refused = || calls.iter().filter(|call| call.is_finished()).count();
    while refused() == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(books.give_positions(10).await.unwrap(), 1, "all others wait");
    assert_eq!(books.seal(10, None).await.unwrap().position, before + 1);
    ledger.owner.batch_execute("COMMIT").await.unwrap();
    let mut told = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(answers) => told += usize::from(answers == [None]),
            Err(error) => assert!(matches!(error, BooksError::Full | BooksError::Busy { .. }), "{error}"),
        }
    }
    assert!(told > 500, "{told}");
    assert!(books.answered() > answered, "what is published covers them");
}
