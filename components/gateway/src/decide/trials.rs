//! What may be proposed when, and what may not.

use super::*;

fn item(kind: Kind, status: &str, age_seconds: i64) -> (Item, Timestamp) {
    let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1_000);
    let item = Item {
        kind,
        item_id: Uuid::nil(),
        order_id: None,
        channel: "c".into(),
        amount_minor: 1,
        currency: "CNY".into(),
        status: status.into(),
        since: now - SignedDuration::from_secs(age_seconds),
        is_known: false,
        seen: String::new(),
        proposal: None,
    };
    (item, now)
}

fn proposal(kind: Kind, choice: Choice, at: Option<Timestamp>) -> Proposal {
    let receipt = at.map(|at| ("N-1".to_owned(), at));
    Proposal { kind, item_id: Uuid::nil(), choice, receipt, reason: "r".into(), reference: "b".into() }
}

#[test]
fn what_may_still_be_answered_is_decided_by_nobody() {
    for kind in [Kind::Payment, Kind::Refund, Kind::Payout] {
        for (age, holds) in [(0, false), (899, false), (900, true), (1_000_000, true)] {
            let (item, now) = item(kind, "Unknown", age);
            let found = check(&item, false, &proposal(kind, Choice::Failed, None), now);
            assert_eq!(found, if holds { Ok(()) } else { Err(Unfit::TooYoung) }, "{kind:?} {age}");
        }
    }
}

/// It may take days to be done.
#[test]
fn what_the_network_knows_is_unknown_after_a_week() {
    for kind in [Kind::Refund, Kind::Payout] {
        for (age, holds) in [(604_799, false), (604_800, true)] {
            let (item, now) = item(kind, "Sending", age);
            let item = Item { is_known: true, ..item };
            let found = check(&item, false, &proposal(kind, Choice::Failed, None), now);
            assert_eq!(found.is_ok(), holds, "{kind:?} {age}");
        }
    }
}

#[test]
fn a_success_lies_between_the_request_and_now() {
    let (item, now) = item(Kind::Payment, "Unknown", 7_200);
    let at = |seconds: i64| now - SignedDuration::from_secs(seconds);
    for (ago, holds) in [(-1, false), (0, true), (7_200, true), (18_000, true), (18_001, false)] {
        let asked = proposal(Kind::Payment, Choice::Succeeded, Some(at(ago)));
        assert_eq!(check(&item, false, &asked, now).is_ok(), holds, "{ago}");
    }
}

#[test]
fn what_is_not_booked_leaves_no_suspense() {
    for (booked, choice, holds) in [
        (true, Choice::Refunded, true),
        (false, Choice::Refunded, false),
        (true, Choice::TakeToIncome, true),
        (false, Choice::TakeToIncome, false),
    ] {
        let (item, now) = item(Kind::Surplus, "Held", 0);
        let at = choice.has_receipt().then_some(now);
        let found = check(&item, booked, &proposal(Kind::Surplus, choice, at), now);
        assert_eq!(found.is_ok(), holds, "{booked} {choice:?}");
    }
    for (status, holds) in [("Noted", false), ("Open", true)] {
        let (item, now) = item(Kind::Contradiction, status, 0);
        let found = check(&item, false, &proposal(Kind::Contradiction, Choice::Resolved, None), now);
        assert_eq!(found.is_ok(), holds, "{status}");
    }
}

#[test]
fn names_read_back_and_a_reversal_is_nobodys_to_decide() {
    for kind in Kind::ALL {
        assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
        assert_eq!(kind.choices().is_empty(), *kind == Kind::Reversal);
    }
    for choice in Choice::ALL {
        assert_eq!(Choice::parse(choice.as_str()), Some(*choice));
        assert!(Kind::ALL.iter().any(|kind| kind.choices().contains(choice)), "{choice:?}");
    }
    assert_eq!(Kind::parse("payment"), None);
}
