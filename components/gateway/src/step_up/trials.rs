//! Whatever is tried in whatever order: no more than five guesses, one proof, and none too late.

use proptest::prelude::*;

use super::*;

pub(super) fn waiting() -> StepUp {
    let at = Timestamp::from_second(1_800_000_000).unwrap();
    StepUp {
        order_id: Uuid::from_u128(1),
        status: StepUpState::AwaitingCode,
        on_error: OnError::Block,
        agreement_id: None,
        code_digest: Some(vec![0; 32]),
        code_expires_at: Some(at + jiff::SignedDuration::from_secs(300)),
        sends: 1,
        tries: 0,
        why: None,
        moved_by: None,
        created_at: at,
        ended_at: None,
        read_at: at,
    }
}

#[test]
fn a_code_counts_only_where_one_is_waited_for() {
    let in_state = |status| StepUp { status, ..waiting() };
    let late = |status| StepUp { read_at: waiting().code_expires_at.unwrap(), ..in_state(status) };
    for (row, said) in [
        (in_state(StepUpState::AwaitingCode), Tried::Confirmed),
        (in_state(StepUpState::Sending), Tried::Confirmed),
        (in_state(StepUpState::Asked), Tried::NotAwaited),
        (in_state(StepUpState::Confirmed), Tried::Taken),
        (in_state(StepUpState::Allowed), Tried::Taken),
        (in_state(StepUpState::Failed), Tried::Taken),
        (StepUp { status: StepUpState::Sending, code_digest: None, ..waiting() }, Tried::NotAwaited),
        (StepUp { tries: TRIES_MAX, ..waiting() }, Tried::Over),
        (late(StepUpState::AwaitingCode), Tried::Over),
        // Another one is made.
        (late(StepUpState::Sending), Tried::NotAwaited),
        (StepUp { tries: TRIES_MAX, ..in_state(StepUpState::Sending) }, Tried::Over),
    ] {
        assert_eq!(row.judge(|_| true), said, "{row:?}");
    }
    assert_eq!(waiting().judge(|_| false), Tried::Wrong);
    assert_eq!(StepUp { tries: TRIES_MAX - 1, ..waiting() }.judge(|_| false), Tried::Last);
}

#[test]
fn what_is_not_sent_goes_on_fails_or_is_sent_again_more_and_more_seldom() {
    assert_eq!(unsent(OnError::Allow, 1), Unsent::Allow);
    assert_eq!(unsent(OnError::Block, 1), Unsent::Fail);
    let pauses: Vec<_> = (1..=HELD_SENDS_MAX).map(|sends| unsent(OnError::Hold, sends)).collect();
    let seconds: Vec<_> = pauses
        .iter()
        .map(|pause| match pause {
            Unsent::Again(after) => after.as_secs(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(seconds[..4], [5, 10, 20, 40]);
    assert!(seconds.windows(2).all(|two| two[0] <= two[1]) && seconds.iter().all(|one| *one <= 1_200));
    // An order lives for 7,200 s at most: there is a code for all of them.
    assert!(seconds.iter().sum::<u64>() > 7_200);
    assert!(OnError::Allow < OnError::Hold && OnError::Hold < OnError::Block, "the strictest is the last");
}

proptest! {
    /// As the store moves it.
    #[test]
    fn nobody_guesses_more_than_five_times(guesses in prop::collection::vec((any::<bool>(), 0_i64..400), 0..40)) {
        let (mut row, mut looked_at, mut confirmed) = (waiting(), 0_i16, 0);
        let began = row.read_at;
        let mut guesses = guesses;
        guesses.sort_by_key(|(_, at)| *at);
        for (right, at) in guesses {
            row.read_at = began + jiff::SignedDuration::from_secs(at);
            let said = row.judge(|_| { looked_at += 1; right });
            match said {
                Tried::Confirmed => {
                    prop_assert!(at < 300, "too late");
                    confirmed += 1;
                    row.status = StepUpState::Confirmed;
                }
                Tried::Wrong | Tried::Last => {
                    row.tries += 1;
                    prop_assert_eq!(said == Tried::Last, row.tries == TRIES_MAX);
                    prop_assert_eq!(row.said(), said, "who did not hear it");
                }
                Tried::Over | Tried::Taken => {}
                Tried::NotAwaited => prop_assert!(false),
            }
        }
        prop_assert!(confirmed <= 1 && row.tries <= TRIES_MAX && looked_at <= TRIES_MAX);
    }
}
