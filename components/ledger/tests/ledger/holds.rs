//! Holds: money that is set aside, captured in parts, and set free.

use payplane_ledger::books::Books;
use payplane_ledger::request::Posting;

use crate::harness::*;

fn until(hold: Posting, time: &str) -> Posting {
    Posting { expires_at: Some(time.parse().unwrap()), ..hold }
}

#[tokio::test]
pub(crate) async fn what_is_held_is_not_available_to_others() {
    let ledger = Ledger::start().await;
    ledger.post(sale("sale:1", 0, 100)).await;
    assert_eq!(ledger.word(hold("hold:1", 0, 70)).await, "booked");
    assert_eq!(ledger.balances(&merchant(0)).await, (100, 70));
    assert_eq!(ledger.word(hold("hold:2", 0, 31)).await, "INSUFFICIENT");
    assert_eq!(ledger.word(payout("payout:1", 0, 31)).await, "INSUFFICIENT");
    assert_eq!(ledger.word(payout("payout:2", 0, 30)).await, "booked");
    assert_eq!(ledger.balances(&merchant(0)).await, (70, 70));
    // In parts, and never more than is held.
    assert_eq!(ledger.word(capture("capture:1", "hold:1", 0, 20)).await, "booked");
    assert_eq!(ledger.word(capture("capture:1", "hold:1", 0, 20)).await, "replayed");
    assert_eq!(ledger.word(capture("capture:2", "hold:1", 0, 51)).await, "OVER_ORIGINAL");
    assert_eq!(ledger.word(capture("capture:3", "hold:1", 0, 30)).await, "booked");
    assert_eq!(ledger.balances(&merchant(0)).await, (20, 20));
    // The rest is set free, once.
    assert_eq!(ledger.word(end("void", "void:1", "hold:1")).await, "booked");
    assert_eq!(ledger.balances(&merchant(0)).await, (20, 0));
    for (n, late) in [
        capture("late:1", "hold:1", 0, 1),
        end("void", "late:2", "hold:1"),
        end("expire", "late:3", "hold:1"),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(ledger.word(late).await, "HOLD_ENDED", "{n}");
    }
    assert_eq!(ledger.word(payout("payout:3", 0, 20)).await, "booked");
    ledger.check().await;
}

#[tokio::test]
pub(crate) async fn a_capture_waits_for_no_balance_and_is_a_transaction_like_another() {
    let ledger = Ledger::start().await;
    ledger.post(sale("sale:1", 0, 100)).await;
    ledger.post(hold("hold:1", 0, 60)).await;
    // Somebody holds the merchant's balance: the money was set aside before.
    ledger.owner.batch_execute("BEGIN; SELECT FROM ledger.balances FOR UPDATE").await.unwrap();
    let captured = capture("capture:1", "hold:1", 0, 60);
    assert_eq!(ledger.word(captured.clone()).await, "booked");
    ledger.owner.batch_execute("COMMIT").await.unwrap();
    assert_eq!(ledger.word(capture("capture:2", "hold:1", 0, 1)).await, "HOLD_ENDED", "captured in full");
    assert_eq!(ledger.word(end("void", "void:1", "hold:1")).await, "HOLD_ENDED");
    // It is refunded or reversed like another; its money is then available, not held again.
    assert_eq!(ledger.word(refund("refund:1", "capture:1", 0, 61)).await, "OVER_ORIGINAL");
    assert_eq!(ledger.word(reversal("rev:1", &captured)).await, "booked");
    assert_eq!(ledger.balances(&merchant(0)).await, (100, 0));
    assert_eq!(ledger.word(payout("payout:1", 0, 100)).await, "booked");
    ledger.check().await;
}

#[tokio::test]
pub(crate) async fn a_hold_is_a_hold_and_nothing_else_is() {
    let ledger = Ledger::start().await;
    ledger.post(sale("sale:1", 0, 100)).await;
    ledger.post(sale("sale:2", 1, 100)).await;
    ledger.post(hold("hold:1", 0, 50)).await;
    let wrong_side = posting("hold", "wrong:1", &[(&merchant(0), "credit", 1)]);
    let no_floor = posting("hold", "wrong:2", &[(CLEARING, "credit", 1)]);
    // The hold of another merchant is no reason to pay this one.
    let other = capture("wrong:3", "hold:1", 1, 1);
    let of_sale = capture("wrong:4", "sale:1", 0, 1);
    let of_hold = refund("wrong:5", "hold:1", 0, 1);
    let back = Posting {
        original: Some(key("hold:1")),
        ..posting("reversal", "wrong:6", &[(CLEARING, "debit", 1), (FEE, "credit", 1)])
    };
    let early = end("expire", "wrong:7", "hold:1");
    for wrong in
        [wrong_side, no_floor, other, of_sale, of_hold, back, early, end("void", "wrong:8", "sale:1")]
    {
        let asked = format!("{wrong:?}");
        assert_eq!(ledger.word(wrong).await, "INVALID", "{asked}");
    }
    assert_eq!(ledger.word(capture("wrong:9", "hold:none", 0, 1)).await, "UNKNOWN_ORIGINAL");
    assert_eq!(ledger.word(end("void", "void:1", "hold:1")).await, "booked");
    assert_eq!(ledger.word(end("void", "wrong:10", "void:1")).await, "INVALID");
    ledger.check().await;
}

#[tokio::test]
pub(crate) async fn a_hold_expires_when_its_time_has_come_and_somebody_says_so() {
    let ledger = Ledger::start().await;
    ledger.post(sale("sale:1", 0, 100)).await;
    ledger.post(until(hold("hold:1", 0, 40), "2024-01-16T00:00:00Z")).await;
    ledger.post(until(hold("hold:2", 0, 50), "2999-01-01T00:00:00Z")).await;
    // Its time is over, and the money is held still: nobody said so yet.
    assert_eq!(ledger.word(capture("capture:1", "hold:1", 0, 10)).await, "booked");
    assert_eq!(ledger.balances(&merchant(0)).await, (90, 80));
    assert_eq!(ledger.word(end("expire", "expire:1", "hold:1")).await, "booked");
    assert_eq!(ledger.word(end("expire", "expire:2", "hold:2")).await, "INVALID");
    assert_eq!(ledger.balances(&merchant(0)).await, (90, 50));
    // Another time is another hold.
    assert_eq!(ledger.word(hold("hold:2", 0, 50)).await, "IDENTITY_CONFLICT");
    ledger.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn captures_voids_and_payouts_at_once_share_what_there_is() {
    let ledger = Ledger::start().await;
    ledger.post(sale("sale:1", 0, 100)).await;
    let replicas: Vec<_> = (0..8).map(|_| books(&ledger.postgres, 4)).collect();
    let holds = (0..30).map(|n| hold(&format!("hold:{n}"), 0, 10)).collect();
    let held = at_once(&replicas, holds).await;
    assert_eq!(tally(held.iter().map(word))["booked"], 10);
    let (first, _) = held.iter().enumerate().find(|(_, answer)| word(answer) == "booked").unwrap();
    let first = format!("hold:{first}");
    // Somebody holds the cap until all of them want it.
    ledger.owner.batch_execute("BEGIN; SELECT FROM ledger.caps FOR UPDATE").await.unwrap();
    let let_go = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        ledger.owner.batch_execute("COMMIT").await.unwrap();
    };
    let captures = (0..40).map(|n| capture(&format!("capture:{n}"), &first, 0, 4)).collect();
    let (captured, ()) = tokio::join!(at_once(&replicas, captures), let_go);
    let tally_of = tally(captured.iter().map(word));
    assert_eq!((tally_of["booked"], tally_of["OVER_ORIGINAL"]), (2, 38));
    let voids = (0..20).map(|n| end("void", &format!("void:{n}"), &first)).collect();
    let tally_of = tally(at_once(&replicas, voids).await.iter().map(word));
    assert_eq!((tally_of["booked"], tally_of["HOLD_ENDED"]), (1, 19));
    assert_eq!(ledger.balances(&merchant(0)).await, (92, 90));
    assert_eq!(replicas.iter().map(Books::rejected).sum::<u64>(), 0, "the locks decide, not the checks");
    ledger.check().await;
}

/// A batch goes on without an item whose hold is being ended elsewhere, and says
/// nothing of that hold: what it read there is old by then.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn a_hold_that_ends_elsewhere_meanwhile_stays_ended() {
    let ledger = Ledger::start().await;
    ledger.post(sale("sale:1", 0, 100)).await;
    ledger.post(hold("hold:1", 0, 70)).await;
    ledger.post(hold("hold:2", 0, 20)).await;
    // Whoever decides on a capture takes his time.
    let slow = "ALTER FUNCTION ledger.check_hold RENAME TO check_hold_now;
        CREATE FUNCTION ledger.check_hold(p_kind text, p_captured bigint, p_original_kind text, p_held bigint,
            p_expires_at timestamptz) RETURNS ledger.refusal LANGUAGE plpgsql AS $$
        BEGIN
            IF p_captured = 7 THEN PERFORM pg_sleep(1); END IF;
            RETURN ledger.check_hold_now(p_kind, p_captured, p_original_kind, p_held, p_expires_at);
        END $$";
    ledger.owner.batch_execute(slow).await.unwrap();
    let ending = ledger.postgres.connect("payplane_owner").await.unwrap();
    ending
        .batch_execute(
            "BEGIN; SELECT FROM ledger.caps c JOIN ledger.transactions t ON t.transaction_id = c.original_id
        WHERE t.key = 'hold:1' FOR UPDATE OF c",
        )
        .await
        .unwrap();
    // Both in one batch: it waits 2 ms for company.
    let both = vec![capture("capture:1", "hold:1", 0, 20), capture("capture:2", "hold:2", 0, 7)];
    let replica = [books(&ledger.postgres, 1)];
    let end = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let sql = "WITH v AS (UPDATE ledger.caps c SET remaining_minor = 0, reversed_by = gen_random_uuid()
              FROM ledger.transactions t WHERE t.transaction_id = c.original_id AND t.key = 'hold:1' RETURNING c.original_id)
            INSERT INTO ledger.raisings SELECT h.account_id, 0, -70 FROM v JOIN ledger.holds h ON h.hold_id = v.original_id; COMMIT";
        ending.batch_execute(sql).await.unwrap();
    };
    let (answers, ()) = tokio::join!(at_once(&replica, both), end);
    assert_eq!(answers.iter().map(word).collect::<Vec<_>>(), ["HOLD_ENDED", "booked"]);
    assert_eq!(ledger.balances(&merchant(0)).await, (93, 13));
    assert_eq!(ledger.word(capture("capture:3", "hold:1", 0, 1)).await, "HOLD_ENDED");
}
