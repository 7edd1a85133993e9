//! The posting function, called by hand on the writer's login while no ledger runs: it
//! decides itself, so whoever has the login gets no other answers than its callers.

use jiff::civil::{Date, date};
use payplane_api::currency::Currency;
use payplane_ledger::request::Posting;
use tokio_postgres::Client;

use crate::harness::*;
use crate::sealed::Sealed;

fn demanding(day: Date, text: &str) -> Posting {
    Posting { demanded_date: Some(day), ..sale(text, 1, 1) }
}

fn dated(days: i64, text: &str) -> Posting {
    let mut posting = sale(text, 1, 1);
    posting.identity.date = today().saturating_add(jiff::Span::new().days(days));
    posting
}

/// What is reversed a second time.
struct Booked {
    refund: Posting,
    reversal: Posting,
}

async fn book(thief: &Client) -> Booked {
    let refund = refund("hand:refund", "hand:1", 1, 10);
    let (back, second) = (reversal("hand:back", &refund), sale("hand:2", 2, 50));
    for posting in [
        sale("hand:1", 1, 100),
        second.clone(),
        hold("hand:open", 1, 10),
        hold("hand:gone", 1, 10),
        end("void", "hand:void", "hand:gone"),
        refund.clone(),
        back.clone(),
        reversal("hand:undone", &second),
    ] {
        assert_eq!(call(thief, vec![posting]).await.unwrap(), ["booked"]);
    }
    Booked { refund, reversal: back }
}

/// What is asked for, and why it is refused.
fn refused(booked: &Booked) -> Vec<(Posting, &'static str)> {
    let mut part = reversal("part", &sale("hand:1", 1, 100));
    part.entries.iter_mut().for_each(|line| line.amount_minor = 99);
    let mut dollars = sale("dollars", 1, 1);
    dollars.entries.iter_mut().for_each(|line| line.currency = Currency::parse("USD").unwrap());
    vec![
        (capture("over", "hand:open", 1, 11), "OVER_ORIGINAL"),
        (capture("late", "hand:gone", 1, 1), "HOLD_ENDED"),
        (end("void", "void:again", "hand:gone"), "HOLD_ENDED"),
        (end("expire", "early", "hand:open"), "INVALID"),
        (end("void", "void:sale", "hand:1"), "INVALID"),
        (capture("capture:sale", "hand:1", 1, 1), "INVALID"),
        (capture("capture:other", "hand:open", 0, 1), "INVALID"),
        (capture("capture:none", "hand:none", 1, 1), "UNKNOWN_ORIGINAL"),
        (refund("refund:hold", "hand:open", 1, 1), "INVALID"),
        (hold("hold:over", 1, 91), "INSUFFICIENT"),
        (posting("hold", "hold:fee", &[(FEE, "debit", 1)]), "INVALID"),
        (reversal("back:again", &booked.refund), "ALREADY_REVERSED"),
        (reversal("back:back", &booked.reversal), "INVALID"),
        (part, "INVALID"),
        (refund("refund:over", "hand:1", 1, 101), "OVER_ORIGINAL"),
        (refund("refund:undone", "hand:2", 2, 1), "ALREADY_REVERSED"),
        (refund("refund:none", "hand:none", 1, 1), "UNKNOWN_ORIGINAL"),
        (payout("payout:held", 1, 91), "INSUFFICIENT"),
        (Posting { config_epoch: 0, ..sale("stale", 1, 1) }, "STALE_CONFIG"),
        (demanding(date(2024, 1, 13), "closed"), "CLOSED_DAY"),
        (demanding(date(2024, 1, 14), "closing"), "CLOSED_DAY"),
        (sale("frozen", 7, 1), "ACCOUNT_NOT_OPEN"),
        (sale("unknown", 99, 1), "UNKNOWN_ACCOUNT"),
        (dollars, "CURRENCY"),
        (posting("probe", "probe", &[(CLEARING, "debit", 1), (FEE, "credit", 1)]), "INVALID"),
        (sale("hand:1", 1, 101), "IDENTITY_CONFLICT"),
        (sale("hand:1", 2, 100), "IDENTITY_CONFLICT"),
        (dated(-402, "old"), "KEY_DATE"),
        (dated(3, "ahead"), "KEY_DATE"),
    ]
}

#[tokio::test]
async fn what_is_asked_by_hand_is_refused_for_its_reason() {
    let sealed = Sealed::create().await;
    let thief = sealed.postgres.connect("ledger").await.unwrap();
    thief.batch_execute("SELECT ledger.close_day('2024-01-13', 'closed')").await.unwrap();
    let booked = book(&thief).await;
    let count = async || {
        let sql = "SELECT count(*) FROM ledger.transactions";
        thief.query_one(sql, &[]).await.unwrap().get::<_, i64>(0)
    };
    let before = count().await;
    let refused = refused(&booked);
    for (posting, reason) in &refused {
        let said = call(&thief, vec![posting.clone()]).await.unwrap();
        assert_eq!(said, [format!("refused {reason}")], "{posting:?}");
    }
    // Once more, all in one batch; an identity is in it once.
    let mut known = std::collections::BTreeSet::new();
    let once = refused.iter().filter(|(posting, _)| known.insert(posting.identity.key.clone()));
    let (batch, reasons): (Vec<_>, Vec<_>) =
        once.map(|(posting, reason)| (posting.clone(), format!("refused {reason}"))).unzip();
    assert_eq!(call(&thief, batch).await.unwrap(), reasons);
    assert_eq!(count().await, before, "something was booked");
    println!("{} refused by hand", refused.len());
    sealed.prove().await;
}

#[tokio::test]
async fn two_sessions_over_one_floor_do_not_both_get_below_it() {
    let sealed = Sealed::create().await;
    let [one, two] = [sealed.postgres.connect("ledger").await, sealed.postgres.connect("ledger").await];
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(call(&one, vec![sale("both", 2, 10)]).await.unwrap(), ["booked"]);
    for session in [&one, &two] {
        session.batch_execute("BEGIN").await.unwrap();
    }
    assert_eq!(call(&one, vec![payout("one", 2, 10)]).await.unwrap(), ["booked"]);
    // The other one's may go back still: nothing is decided on it.
    assert_eq!(call(&two, vec![payout("two", 2, 10)]).await.unwrap(), ["busy"]);
    one.batch_execute("COMMIT").await.unwrap();
    assert_eq!(call(&two, vec![payout("two", 2, 10)]).await.unwrap(), ["refused INSUFFICIENT"]);
    two.batch_execute("COMMIT").await.unwrap();
    assert_eq!(call(&one, vec![payout("two", 2, 10)]).await.unwrap(), ["refused INSUFFICIENT"]);
    sealed.prove().await;
}
