//! What an account had at any position is the fold of what stands up to there,
//! wherever checkpoints lie, and its entries are told once each, in order.

use std::time::Duration;

use payplane_api::ledger::v1::get_balances_request::At;
use payplane_api::ledger::v1::*;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::harness::*;
use crate::hostile::post_sql;
use crate::service::{Served, open};

/// Movements account by account, from what was asked for alone.
const MOVEMENTS: &str = "
    CREATE TEMP VIEW movements AS
    SELECT e.account_id, p.position, CASE side WHEN 'debit' THEN amount_minor ELSE 0 END AS debit,
           CASE side WHEN 'credit' THEN amount_minor ELSE 0 END AS credit, CASE WHEN side = 'debit' AND e.account_id =
           (SELECT h.account_id FROM ledger.holds h WHERE t.kind = 'capture' AND h.hold_id = t.original_id) THEN -amount_minor ELSE 0 END AS held
      FROM ledger.entries e JOIN ledger.transactions t USING (transaction_id) LEFT JOIN ledger.positions p ON p.batch_number = t.batch_number
    UNION ALL
    SELECT h.account_id, p.position, 0, 0, h.amount_minor
      FROM ledger.holds h JOIN ledger.transactions t ON t.transaction_id = h.hold_id LEFT JOIN ledger.positions p ON p.batch_number = t.batch_number
    UNION ALL
    SELECT h.account_id, p.position, 0, 0, -h.amount_minor + coalesce((
           SELECT sum(e.amount_minor) FROM ledger.transactions c JOIN ledger.entries e USING (transaction_id)
            WHERE c.original_id = h.hold_id AND c.kind = 'capture' AND e.account_id = h.account_id AND e.side = 'debit'), 0)
      FROM ledger.holds h JOIN ledger.transactions t ON t.original_id = h.hold_id AND t.kind = 'void'
      LEFT JOIN ledger.positions p ON p.batch_number = t.batch_number";

/// Accounts and positions of which `account_at` says something else. At the last one
/// also what is beyond it.
const DIFFERENT: &str = "
    WITH m AS MATERIALIZED (SELECT * FROM movements), s AS MATERIALIZED (SELECT max(position) AS last FROM ledger.chain)
    SELECT count(*) FROM s, LATERAL (SELECT s.last - i * i FROM generate_series(0, 40) i WHERE i * i <= s.last) q (q), ledger.accounts a,
           LATERAL ledger.account_at(a.account_id, q) at, LATERAL (
           SELECT coalesce(sum(m.debit) FILTER (WHERE m.position <= q), 0) AS debit, coalesce(sum(m.credit) FILTER (WHERE m.position <= q), 0) AS credit,
                  coalesce(sum(m.held) FILTER (WHERE m.position <= q), 0) AS held, coalesce(sum(m.debit), 0) AS all_debit,
                  coalesce(sum(m.credit), 0) AS all_credit, coalesce(sum(m.held), 0) AS all_held
             FROM m WHERE m.account_id = a.account_id) m
     WHERE (at.debit_minor, at.credit_minor, at.held_minor) IS DISTINCT FROM (m.debit, m.credit, m.held)
        OR (q = s.last AND (at.debit_minor + at.rest_debit_minor, at.credit_minor + at.rest_credit_minor, at.held_minor + at.rest_held_minor)
            IS DISTINCT FROM (m.all_debit, m.all_credit, m.all_held))";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn an_account_at_a_position_is_the_fold_up_to_there() {
    let ledger = Ledger::start().await;
    ledger.owner.batch_execute(MOVEMENTS).await.unwrap();
    let replicas: Vec<_> = (0..4).map(|_| books(&ledger.postgres, 4)).collect();
    let paused = ledger.postgres.connect("ledger").await.unwrap();
    let mut whole = 0;
    for round in 0..24 {
        let sales = (0..40).map(|n| sale(&format!("sale:{round}:{n}"), n % 3, 50));
        at_once(&replicas, sales.collect()).await;
        at_once(&replicas, (0..3).map(|n| hold(&format!("hold:{round}:{n}"), n, 7)).collect()).await;
        let part = capture(&format!("part:{round}"), &format!("hold:{round}:0"), 0, 3);
        assert_eq!(ledger.word(part).await, "booked");
        for held in [0, 1] {
            let void = end("void", &format!("void:{round}:{held}"), &format!("hold:{round}:{held}"));
            assert_eq!(ledger.word(void).await, "booked");
        }
        // One that is quiet: its batches have low numbers and late positions, beyond checkpoints of all kinds.
        if round % 6 == 1 {
            paused.batch_execute("BEGIN").await.unwrap();
            let late = sale(&format!("late:{round}"), 5, 11);
            paused.batch_execute(&post_sql(&late, "gateway")).await.unwrap();
        }
        if round % 6 == 4 {
            paused.batch_execute("COMMIT").await.unwrap();
        }
        if round % 2 == 0 {
            ledger.chain().await;
        }
        if round % 3 != 1 {
            while ledger.books.roll(100, 0, 300, 3_600).await.unwrap() {}
        }
        // Busy accounts get theirs meanwhile.
        if round % 3 == 2 && ledger.books.roll_all().await.unwrap() {
            whole += 1;
        }
        assert_eq!(ledger.number(DIFFERENT).await, 0, "round {round}");
    }
    assert!(whole > 1, "all got theirs {whole} times");
    let kinds = "SELECT count(DISTINCT account_id) + 10 * (max(moves) >= 16)::int + 100 * (count(*) > 12)::int FROM ledger.checkpoints";
    assert_eq!(ledger.number(kinds).await, 115, "busy and quiet accounts have checkpoints");
    assert_eq!(replicas[0].roll(0, -1, -1, -1).await.ok(), Some(false), "odd arguments do no harm");
    ledger.check().await;
}

/// All are getting their checkpoints, and have not committed yet, when a quiet one gets busy.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn an_account_that_gets_busy_meanwhile_has_no_two_checkpoints_side_by_side() {
    let ledger = Ledger::start().await;
    ledger.owner.batch_execute(MOVEMENTS).await.unwrap();
    let replica = [books(&ledger.postgres, 4)];
    ledger.post(sale("sale:quiet", 0, 50)).await;
    ledger.chain().await;
    while ledger.books.roll(1_000, 0, 1, 0).await.unwrap() {}
    let paused = ledger.postgres.connect("ledger").await.unwrap();
    paused.batch_execute("BEGIN; SELECT ledger.roll_all()").await.unwrap();
    at_once(&replica, (0..40).map(|n| sale(&format!("sale:{n}"), 0, 7)).collect()).await;
    ledger.chain().await;
    let rolling = tokio::spawn({
        let books = ledger.books.clone();
        async move { books.roll(1_000, 0, 1_000, 3_600).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    paused.batch_execute("COMMIT").await.unwrap();
    rolling.await.unwrap().unwrap();
    assert_eq!(ledger.number(DIFFERENT).await, 0);
    ledger.check().await;
}

fn ask(accounts: &[&str], at: Option<At>) -> GetBalancesRequest {
    let accounts = accounts.iter().map(|code| (*code).to_owned()).collect();
    GetBalancesRequest { accounts, currency: "CNY".into(), at }
}

type Told = (i64, i64, i64, i64, i64);

fn told(answer: &GetBalancesResponse) -> Vec<Told> {
    let of = |b: &Balance| {
        (b.balance_minor, b.held_minor, b.available_minor, b.provisional_minor, b.provisional_held_minor)
    };
    answer.balances.iter().map(of).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn balances_name_their_position_and_entries_are_paged() {
    const MANY: i64 = 230;
    let served = Served::start().await;
    let mut gateway = served.client("gateway");
    open(&mut gateway).await;
    for n in 0..MANY {
        gateway.post(crate::service::sale(&format!("sale:{n}"))).await.unwrap();
    }
    let both = ["merchant:m:pending", "income:fee"];
    let now = gateway.get_balances(ask(&both, None)).await.unwrap().into_inner();
    let sums: Vec<_> = told(&now).iter().map(|b| b.0 + b.3).collect();
    assert_eq!(sums, [MANY, 99 * MANY], "in the order of their codes: {now:?}");
    // What is beyond the chain is provisional, a moment later nothing is.
    let sealed = loop {
        let answer = gateway.get_balances(ask(&both, None)).await.unwrap().into_inner();
        if answer.balances.iter().all(|b| b.provisional_minor == 0) {
            break answer;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(told(&sealed), [(MANY, 0, MANY, 0, 0), (99 * MANY, 0, 99 * MANY, 0, 0)]);
    let before = jiff::Timestamp::now();
    gateway.post(crate::service::sale("sale:after")).await.unwrap();
    let place = Some(At::AtPosition(sealed.position));
    assert_eq!(gateway.get_balances(ask(&both, place)).await.unwrap().into_inner(), sealed, "for ever");
    let time = Some(At::AtTime(before.to_string()));
    assert_eq!(gateway.get_balances(ask(&both, time)).await.unwrap().into_inner(), sealed);
    let start = gateway.get_balances(ask(&both, Some(At::AtPosition(0)))).await.unwrap().into_inner();
    assert_eq!((start.epoch, start.position, told(&start)), (0, 0, vec![(0, 0, 0, 0, 0); 2]));
    let none = gateway.get_balances(ask(&["nobody"], None)).await.unwrap().into_inner();
    assert!(none.balances.is_empty() && none.position >= sealed.position, "{none:?}");
    for (wrong, code) in [
        (ask(&both, Some(At::AtPosition(1_000_000))), Code::OutOfRange),
        (ask(&both, Some(At::AtPosition(u64::MAX))), Code::InvalidArgument),
        (ask(&both, Some(At::AtTime("yesterday".into()))), Code::InvalidArgument),
        (ask(&both, Some(At::AtTime("9999-01-01T00:00:00Z".into()))), Code::OutOfRange),
        (ask(&[], None), Code::InvalidArgument),
    ] {
        let status = gateway.get_balances(wrong.clone()).await.unwrap_err();
        assert_eq!(status.code(), code, "{wrong:?}");
        // Programs are told the field as well.
        let fields = status.get_details_bad_request().map(|wrong| wrong.field_violations).unwrap_or_default();
        assert_eq!(fields.len(), usize::from(code == Code::InvalidArgument), "{status:?}");
    }
    assert_eq!(
        served.client("operator").get_balances(ask(&both, None)).await.unwrap_err().code(),
        Code::PermissionDenied
    );

    let (mut pages, mut places, mut after) = (vec![], vec![], String::new());
    loop {
        let page = ListEntriesRequest {
            account: "income:fee".into(),
            currency: "CNY".into(),
            after,
            page_size: 100,
        };
        let page = gateway.list_entries(page).await.unwrap().into_inner();
        pages.push(page.entries.len());
        places.extend(
            page.entries.iter().map(|e| (e.position, e.transaction_id.clone(), e.line, e.amount_minor)),
        );
        after = page.next;
        let all = i64::try_from(places.len()).unwrap() == MANY + 1;
        if !page.more && all {
            break;
        }
        assert!(pages.len() < 100, "{pages:?}");
        tokio::time::sleep(Duration::from_millis(if page.more { 0 } else { 100 })).await;
    }
    assert!(places.is_sorted() && places.iter().all(|place| place.3 == 1), "{places:?}");
    places.dedup();
    assert_eq!(i64::try_from(places.len()).unwrap(), MANY + 1, "each once");
    let page = |account: &str, after: &str, page_size| ListEntriesRequest {
        account: account.into(),
        currency: "CNY".into(),
        after: after.into(),
        page_size,
    };
    for (wrong, code) in [
        (page("nobody", "", 0), Code::NotFound),
        (page("income:fee", "7", 0), Code::InvalidArgument),
        // Of other books, or of an older copy of these.
        (page("income:fee", &after.replace("/1/", "/2/"), 0), Code::FailedPrecondition),
        (page("income:fee", &format!("9{after}"), 0), Code::FailedPrecondition),
        (page("income:fee", "", 501), Code::InvalidArgument),
    ] {
        assert_eq!(gateway.list_entries(wrong.clone()).await.unwrap_err().code(), code, "{wrong:?}");
    }
    let sums = loop {
        let sums = gateway.get_trial_balance(GetTrialBalanceRequest::default()).await.unwrap().into_inner();
        if !sums.provisional {
            break sums;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert!((sums.epoch, sums.position) >= (1, sealed.position), "{sums:?}");
    let fee = sums.lines.iter().find(|line| line.account == "income:fee").unwrap();
    assert!(sums.balanced && fee.credit_minor == MANY + 1, "{sums:?}");
}
