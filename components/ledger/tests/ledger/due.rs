//! What is pending is read by due date: sales, less what was refunded and released.

use std::time::Duration;

use payplane_api::ledger::v1::ledger_client::LedgerClient;
use payplane_api::ledger::v1::*;
use tonic::Code;
use tonic::transport::Channel;

use crate::service::{Served, entry, open, sale};

const PENDING: &str = "merchant:m:pending";
const FIRST: &str = "2024-01-16";
const SECOND: &str = "2024-01-22";

fn due(date: &str, request: PostRequest) -> PostRequest {
    PostRequest { due_date: date.into(), calendar_version: 7, ..request }
}

/// Takes this much from what is pending.
fn taken(kind: &str, key: &str, original: Option<&str>, amount_minor: i64) -> PostRequest {
    PostRequest {
        kind: kind.into(),
        entries: vec![
            entry(PENDING, Direction::Debit, amount_minor),
            entry("channel:c:receivable", Direction::Credit, amount_minor),
        ],
        original: original.and_then(|key| sale(key).identity),
        ..sale(key)
    }
}

async fn read(gateway: &mut LedgerClient<Channel>, from: &str, to: &str) -> GetDueBalancesResponse {
    let (account, currency) = (PENDING.into(), "CNY".into());
    let asked = GetDueBalancesRequest { account, currency, from: from.into(), to: to.into() };
    gateway.get_due_balances(asked).await.unwrap().into_inner()
}

/// By date, what there is, sealed or not. A date whose sales are sealed and whose release
/// is not yet is told with both, which are nothing together.
fn sums(read: &GetDueBalancesResponse) -> Vec<(&str, i64)> {
    let sum = |due: &DueBalance| due.balance_minor + due.provisional_minor;
    let all = read.balances.iter().map(|due| (due.due_date.as_str(), sum(due)));
    all.filter(|(_, sum)| *sum != 0).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn what_is_pending_is_read_by_due_date() {
    let served = Served::start().await;
    let mut gateway = served.client("gateway");
    open(&mut gateway).await;
    let postings = [
        due(FIRST, sale("sale:1")),
        due(FIRST, sale("sale:2")),
        due(SECOND, sale("sale:3")),
        sale("sale:never"),
        due(FIRST, taken("refund", "refund:1", Some("sale:1"), 30)),
        due(FIRST, taken("release", "release:1", None, 168)),
        due(SECOND, taken("payout", "too-much", None, 1_000)),
    ];
    let mut outcomes = vec![];
    for (n, posting) in postings.iter().enumerate() {
        let told = gateway.post(posting.clone()).await.unwrap().into_inner();
        outcomes.push(told.outcome());
        let sums_then = match n {
            1 => vec![(FIRST, 198)],
            4 => vec![(FIRST, 168), (SECOND, 99)],
            5 | 6 => vec![(SECOND, 99)],
            _ => continue,
        };
        assert_eq!(sums(&read(&mut gateway, FIRST, "2024-12-31").await), sums_then, "after {n}");
    }
    assert_eq!(outcomes[..6], [Outcome::Created; 6]);
    assert_eq!(outcomes[6], Outcome::Refused);
    let sealed = loop {
        let told = read(&mut gateway, SECOND, SECOND).await;
        assert_eq!(sums(&told), [(SECOND, 99)]);
        if told.balances[0].provisional_minor == 0 {
            break told;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!(sealed.position >= 4 && sealed.epoch == 1, "{sealed:?}");
    let nothing = read(&mut gateway, "2024-01-17", "2024-01-21").await;
    assert!(nothing.balances.is_empty() && nothing.position >= sealed.position, "{nothing:?}");
    let owner = served.postgres.connect("payplane_owner").await.unwrap();
    assert_eq!(payplane_ledger::verify::invariants(&owner).await.unwrap(), vec![]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_due_date_is_part_of_what_is_asked_for() {
    let served = Served::start().await;
    let mut gateway = served.client("gateway");
    open(&mut gateway).await;
    let booked = gateway.post(due(FIRST, sale("sale:1"))).await.unwrap().into_inner();
    let by = find_transactions_request::By::TransactionId(booked.transaction_id);
    let asked = FindTransactionsRequest { by: Some(by), after: String::new() };
    let found = gateway.find_transactions(asked).await.unwrap().into_inner().transactions;
    let told = found[0].transaction.clone().unwrap();
    assert_eq!((told.due_date.as_str(), told.calendar_version), (FIRST, 7));
    for other in [due(SECOND, sale("sale:1")), sale("sale:1")] {
        let refusal = gateway.post(other).await.unwrap().into_inner().refusal.unwrap();
        assert_eq!(refusal.reason(), RefusalReason::IdentityConflict);
    }
    let hold = PostRequest { entries: vec![], ..taken("void", "void:1", Some("sale:1"), 1) };
    for (wrong, field) in [
        (due("16.1.2024", sale("sale:2")), "due_date"),
        (due("", sale("sale:2")), "calendar_version"),
        (due(FIRST, hold), "due_date"),
        (PostRequest { calendar_version: u64::MAX, ..due(FIRST, sale("sale:2")) }, "calendar_version"),
    ] {
        let refusal = gateway.post(wrong.clone()).await.unwrap().into_inner().refusal.unwrap();
        assert_eq!(refusal.subject, field, "{wrong:?}");
    }
    for (from, to) in [(FIRST, "2025-02-19"), (SECOND, FIRST), ("", FIRST), (FIRST, "x")] {
        let asked = GetDueBalancesRequest { from: from.into(), to: to.into(), ..Default::default() };
        let refused = gateway.get_due_balances(asked).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{from} {to}");
    }
    let mut operator = served.client("operator");
    let refused = operator.get_due_balances(GetDueBalancesRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}
