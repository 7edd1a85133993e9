//! A floor is linearizable: whatever clients see at once could have happened one
//! after the other, each between its call and its answer.

use std::time::{Duration, Instant};

use payplane_ledger::books::Books;

use crate::harness::*;

const HISTORIES: usize = 100;
const CLIENTS: usize = 5;
const CALLS: usize = 3;

/// A call: what it adds to the balance, whether it was booked, and when.
#[derive(Clone, Copy, Debug)]
struct Call {
    change: i64,
    booked: bool,
    sent: Instant,
    answered: Instant,
}

/// Is there an order of the calls that keeps to their times and explains each answer?
/// What is booked before says the balance, so a set of calls is all that is remembered.
fn is_linearizable(calls: &[Call]) -> bool {
    let sets = 1_usize << calls.len();
    let mut reached = vec![false; sets];
    reached[0] = true;
    for set in 0..sets {
        if !reached[set] {
            continue;
        }
        let has = |n: usize| set & (1 << n) != 0;
        let balance: i64 =
            (0..calls.len()).filter(|n| has(*n) && calls[*n].booked).map(|n| calls[n].change).sum();
        for (n, call) in calls.iter().enumerate().filter(|(n, _)| !has(*n)) {
            let in_time = (0..calls.len()).all(|other| has(other) || calls[other].answered >= call.sent);
            if in_time && call.booked == (balance + call.change >= 0) {
                reached[set | (1 << n)] = true;
            }
        }
    }
    reached[sets - 1]
}

async fn client(books: Books, history: usize, client: usize) -> Vec<Call> {
    let (mut calls, mut held) = (vec![], Vec::<(String, i64)>::new());
    for n in 0..CALLS {
        let dice = i64::from(uuid::Uuid::new_v4().as_bytes()[0]);
        let (amount, key) = (1 + dice % 40, format!("history:{history}:{client}:{n}"));
        // What is held is not available any more, and is again once it is let go.
        let (change, posting) = match (dice % 6, held.pop()) {
            (0..=2, Some((open, amount))) => (amount, end("void", &key, &open)),
            (0 | 1, None) => (amount, sale(&key, history, amount)),
            (2 | 3, None) => (-amount, hold(&key, history, amount)),
            _ => (-amount, payout(&key, history, amount)),
        };
        let holds = posting.kind == "hold";
        let sent = Instant::now();
        let answer = word(&post(&books, posting).await.unwrap());
        assert!(["booked", "INSUFFICIENT"].contains(&answer.as_str()), "{answer}");
        let booked = answer == "booked";
        calls.push(Call { change, booked, sent, answered: Instant::now() });
        held.extend((holds && booked).then_some((key, amount)));
        tokio::time::sleep(Duration::from_millis(u64::from(dice % 3 == 0))).await;
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn whatever_clients_see_at_once_could_have_been_one_after_the_other() {
    let ledger = Ledger::start().await;
    let replicas: Vec<_> = (0..3).map(|_| books(&ledger.postgres, 5)).collect();
    let (mut refused, mut overlapping) = (0, 0);
    for history in 0..HISTORIES {
        ledger.open(&[(&merchant(history), "credit", true)]).await;
        let clients = (0..CLIENTS).map(|n| tokio::spawn(client(replicas[n % 3].clone(), history, n)));
        let mut calls = vec![];
        for client in clients.collect::<Vec<_>>() {
            calls.extend(client.await.unwrap());
        }
        assert!(is_linearizable(&calls), "history {history}: {calls:#?}");
        refused += calls.iter().filter(|call| !call.booked).count();
        let meets = |a: &Call, b: &Call| a.sent < b.answered && b.sent < a.answered;
        overlapping +=
            calls.iter().enumerate().filter(|(n, a)| calls[n + 1..].iter().any(|b| meets(a, b))).count();
    }
    assert!(refused > HISTORIES && overlapping > 5 * HISTORIES, "{refused} refused, {overlapping} at once");
    ledger.check().await;
}

#[test]
fn the_judge_knows_what_cannot_have_been() {
    let start = Instant::now();
    let call = |change, booked, from: u64, to: u64| Call {
        change,
        booked,
        sent: start + Duration::from_millis(from),
        answered: start + Duration::from_millis(to),
    };
    // The same money paid out twice, at once.
    assert!(!is_linearizable(&[call(10, true, 0, 1), call(-10, true, 2, 5), call(-10, true, 3, 6)]));
    assert!(is_linearizable(&[call(10, true, 0, 1), call(-10, true, 2, 5), call(-10, false, 3, 6)]));
    // Refused, though the money had been there before it was asked for.
    assert!(!is_linearizable(&[call(10, true, 0, 1), call(-10, false, 2, 3)]));
    assert!(is_linearizable(&[call(10, true, 0, 4), call(-10, false, 2, 3)]));
}
