use jiff::civil::date;
use payplane_api::ledger::v1::{Direction, Entry, Identity, PostRequest};

use super::*;
use crate::request;
use crate::writer::Item;

fn waiting(caller: &str, key: &str) -> Waiting {
    let entry = |direction: Direction| Entry {
        account: "a".into(),
        direction: direction.into(),
        amount_minor: 1,
        currency: "CNY".into(),
    };
    let request = PostRequest {
        identity: Some(Identity { key_date: "2024-01-15".into(), key: key.into() }),
        kind: "sale".into(),
        entries: vec![entry(Direction::Debit), entry(Direction::Credit)],
        effective_time: "2024-01-15T04:00:00Z".into(),
        ..PostRequest::default()
    };
    let posting = request::check(request).unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    Item::new(caller.into(), posting, date(2024, 1, 15), deadline).ticket().1
}

fn keys(batch: &UnderWay<'_>) -> Vec<String> {
    batch.items.iter().map(|w| format!("{}/{}", w.item.caller, w.item.posting.identity.key)).collect()
}

#[tokio::test]
async fn callers_take_turns_and_an_identity_is_in_a_batch_once() {
    let queue = Queue::default();
    for (caller, key) in [("a", "1"), ("a", "2"), ("a", "1"), ("b", "1"), ("a", "3")] {
        queue.push(waiting(caller, key), Lane::Raising).unwrap();
    }
    assert_eq!(keys(&queue.next().await.unwrap()), ["a/1", "b/1", "a/2", "a/3"]);
    assert_eq!(keys(&queue.next().await.unwrap()), ["a/1"], "the second of an identity comes next");
    queue.close();
    assert!(queue.next().await.is_none());
}

#[tokio::test]
async fn lanes_do_not_mix_and_what_is_put_back_comes_first() {
    let queue = Queue::default();
    queue.push(waiting("a", "lowers"), Lane::Lowering).unwrap();
    queue.push(waiting("a", "raises"), Lane::Raising).unwrap();
    let mut lowering = queue.next().await.unwrap();
    assert_eq!(keys(&lowering), ["a/lowers"]);
    queue.push(waiting("a", "later"), Lane::Lowering).unwrap();
    let mut alone = lowering.items.pop().unwrap();
    alone.alone = true;
    queue.back(alone);
    assert_eq!(
        keys(&queue.next().await.unwrap()),
        ["a/raises"],
        "what is held again and again lets others by"
    );
    assert_eq!(keys(&queue.next().await.unwrap()), ["a/lowers"], "and by itself");
    assert_eq!(keys(&queue.next().await.unwrap()), ["a/later"]);
}

#[tokio::test]
async fn a_batch_waits_to_gather_and_is_bounded() {
    let queue = Queue::default();
    let began = Instant::now();
    queue.push(waiting("a", "first"), Lane::Raising).unwrap();
    assert_eq!(queue.next().await.unwrap().items.len(), 1);
    assert!(began.elapsed() >= AGE_ENOUGH, "it might have had company");
    for n in 0..SIZE_MAX + 7 {
        queue.push(waiting("a", &n.to_string()), Lane::Raising).unwrap();
    }
    assert_eq!(queue.next().await.unwrap().items.len(), SIZE_MAX);
    assert_eq!(queue.next().await.unwrap().items.len(), 7);
}

#[tokio::test]
async fn a_batch_gathers_longer_while_another_one_is_under_way() {
    let queue = Queue::default();
    queue.push(waiting("a", "first"), Lane::Raising).unwrap();
    let first = queue.next().await.unwrap();
    let began = Instant::now();
    queue.push(waiting("a", "second"), Lane::Raising).unwrap();
    let second = queue.next().await.unwrap();
    assert!(began.elapsed() >= AGE_BUSY, "the first is under way");
    drop(first);
    queue.push(waiting("a", "third"), Lane::Raising).unwrap();
    let (third, ()) = tokio::join!(queue.next(), async {
        tokio::task::yield_now().await;
        drop(second);
    });
    assert_eq!(third.unwrap().items.len(), 1, "what ends lets the next one go");
}

#[tokio::test]
async fn batches_that_lower_leave_one_after_the_other_unless_one_is_stuck() {
    let queue = Queue::default();
    queue.push(waiting("a", "first"), Lane::Lowering).unwrap();
    let began = Instant::now();
    let first = queue.next().await.unwrap();
    queue.push(waiting("a", "second"), Lane::Lowering).unwrap();
    queue.push(waiting("a", "raises"), Lane::Raising).unwrap();
    assert_eq!(keys(&queue.next().await.unwrap()), ["a/raises"], "which waits for no row");
    assert_eq!(keys(&queue.next().await.unwrap()), ["a/second"]);
    assert!(began.elapsed() >= LOWERING_APART, "the first is under way");
    drop(first);
}

#[tokio::test]
async fn the_end_of_a_batch_that_lowers_lets_the_next_one_go_and_who_is_alone_waits_for_none() {
    let queue = Queue::default();
    for ends in [true, false] {
        queue.push(waiting("a", "first"), Lane::Lowering).unwrap();
        let first = queue.next().await.unwrap();
        if ends {
            drop(first);
            let state = queue.state();
            assert_eq!((state.under_way, state.lowering_under_way), (0, 0));
        } else {
            let mut alone = waiting("a", "alone");
            alone.alone = true;
            queue.back(alone);
            let due = queue.state().due().unwrap();
            assert!(due < queue.state().lowered.unwrap() + LOWERING_APART);
            assert_eq!(keys(&queue.next().await.unwrap()), ["a/alone"]);
            assert_eq!(queue.state().lowering_under_way, 1, "the first");
        }
    }
}

#[test]
fn a_flooding_caller_leaves_room_for_another() {
    let queue = Queue::default();
    for n in 0..CALLER_MAX {
        queue.push(waiting("a", &n.to_string()), Lane::Raising).unwrap();
    }
    for lane in [Lane::Raising, Lane::Lowering] {
        assert!(matches!(queue.push(waiting("a", "more"), lane), Err(BooksError::Full)));
    }
    queue.push(waiting("b", "1"), Lane::Raising).unwrap();
    queue.close();
    assert!(matches!(queue.push(waiting("b", "2"), Lane::Raising), Err(BooksError::Full)));
}

#[tokio::test]
async fn large_postings_are_bounded_by_their_bytes() {
    let queue = Queue::default();
    let large = |caller: &str, n: usize| {
        let mut waiting = waiting(caller, &n.to_string());
        waiting.item.bytes = 16 << 10;
        waiting
    };
    let taken =
        |caller: &str| (0..).take_while(|n| queue.push(large(caller, *n), Lane::Raising).is_ok()).count();
    assert_eq!(taken("a"), CALLER_BYTES_MAX >> 14, "a caller has half of it");
    assert_eq!(taken("b"), (QUEUE_BYTES_MAX - CALLER_BYTES_MAX) >> 14);
    assert_eq!(queue.next().await.unwrap().items.len(), BATCH_BYTES_ENOUGH >> 14);
    assert_eq!(taken("c"), BATCH_BYTES_ENOUGH >> 14, "what has left makes room");
}
