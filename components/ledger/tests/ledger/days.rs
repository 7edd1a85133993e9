//! Accounting days: what is closed takes nothing more, whoever was under way.

use std::time::Duration;

use jiff::civil::{Date, date};
use payplane_api::ledger::v1::{
    CloseDayRequest, CloseDayResponse, DayState, GetDayStatementRequest, GetDayStatementResponse, PostRequest,
};
use payplane_ledger::books::{Answer, Closing};
use payplane_ledger::request::Posting;

use crate::harness::*;
use crate::service::{self, Served};

/// The day of the harness's postings.
const OWN: Date = date(2024, 1, 15);
const NEXT: Date = date(2024, 1, 16);

async fn close(ledger: &Ledger, day: Date, state: &'static str) -> Closing {
    ledger.books.close_day(day, state, soon()).await.unwrap()
}

fn demanding(day: Date, posting: Posting) -> Posting {
    Posting { demanded_date: Some(day), ..posting }
}

/// A posting that is effective a day later.
async fn next_day(ledger: &Ledger, posting: Posting) -> Answer {
    let posting = Posting { effective_time: "2024-01-16T04:00:00Z".parse().unwrap(), ..posting };
    ledger.books.post("gateway".into(), posting, NEXT, soon()).await.unwrap()
}

#[tokio::test]
pub(crate) async fn what_comes_late_goes_to_the_earliest_day_that_is_not_closed() {
    let ledger = Ledger::start().await;
    let first = ledger.post(sale("sale:1", 0, 100)).await;
    assert_eq!(first.accounting_date, Some(OWN));
    let early = close(&ledger, OWN, "closed").await;
    assert_eq!(early.refusal.as_deref(), Some("it is open: it has to be closing first"));
    let far = close(&ledger, date(9999, 1, 1), "closing").await;
    assert_eq!(far.refusal.as_deref(), Some("it has not begun"));

    // Closing, it takes what was effective before its cut-off, and no other.
    let closing = close(&ledger, OWN, "closing").await;
    assert_eq!((closing.closing_through, closing.closed_through), (Some(OWN), None));
    assert_eq!(ledger.post(sale("sale:2", 0, 100)).await.accounting_date, Some(OWN));
    assert_eq!(ledger.word(demanding(OWN, sale("sale:3", 0, 100))).await, "booked");
    let late = next_day(&ledger, demanding(OWN, sale("sale:4", 0, 100))).await;
    assert_eq!(word(&late), "CLOSED_DAY");
    assert!(late.message.unwrap().contains("effective after its cut-off"));

    let closed = close(&ledger, OWN, "closed").await;
    assert_eq!((closed.closing_through, closed.closed_through), (Some(OWN), Some(OWN)));
    let again = close(&ledger, OWN, "closing").await;
    assert_eq!((again.closed_through, again.refusal), (Some(OWN), None), "no way leads back");
    let moved = ledger.post(sale("sale:5", 0, 100)).await;
    assert_eq!((word(&moved).as_str(), moved.accounting_date), ("booked", Some(NEXT)));
    let kept = "SELECT extract(epoch FROM effective_time) FROM ledger.transactions WHERE key = 'sale:5'";
    assert_eq!(ledger.number(kept).await, 1_705_291_200, "when it was effective is kept");
    let replayed = ledger.post(sale("sale:1", 0, 100)).await;
    assert_eq!((word(&replayed).as_str(), replayed.accounting_date), ("replayed", Some(OWN)));

    // A day that is demanded and closed is refused, for ever, and another one is another content.
    let demanded = demanding(OWN, sale("sale:6", 0, 100));
    assert_eq!(ledger.word(demanded.clone()).await, "CLOSED_DAY");
    assert_eq!(ledger.word(demanded).await, "CLOSED_DAY");
    assert_eq!(ledger.word(demanding(NEXT, sale("sale:6", 0, 100))).await, "IDENTITY_CONFLICT");
    let other = ledger.post(demanding(NEXT, sale("sale:7", 0, 100))).await;
    assert_eq!((word(&other).as_str(), other.accounting_date), ("booked", Some(NEXT)));
    assert_eq!(ledger.balance(&merchant(0)).await, 500);
    // What stands behind the functions says no as well.
    let forged = "INSERT INTO ledger.transactions (transaction_id, caller, key_date, key, kind, entry_count, effective_time,
            accounting_date, config_epoch, request_hash, batch_number)
        SELECT ledger.first_id(current_date), caller, key_date, key, kind, entry_count, effective_time, accounting_date, 1, request_hash, 1
          FROM ledger.transactions WHERE key = 'sale:1'";
    let refused = ledger.owner.batch_execute(forged).await.unwrap_err();
    assert!(
        refused.as_db_error().unwrap().message().contains("a closed day takes no transaction"),
        "{refused}"
    );
    let back = "UPDATE ledger.control SET closed_through = '2024-01-14'";
    assert!(ledger.owner.batch_execute(back).await.is_err(), "a day that is closed stays closed");
    ledger.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn once_a_day_is_closed_nothing_under_way_gets_into_it() {
    let ledger = Ledger::start().await;
    close(&ledger, OWN, "closing").await;
    let slow = ledger.postgres.connect("ledger").await.unwrap();
    slow.batch_execute("BEGIN").await.unwrap();
    slow.batch_execute(&crate::hostile::post_sql(&sale("sale:slow", 0, 5), "gateway")).await.unwrap();
    let closer = ledger.books.clone();
    let closing = tokio::spawn(async move { closer.close_day(OWN, "closed", soon()).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!closing.is_finished(), "the day was closed past a posting that was under way");
    let waiting = ledger.books.clone();
    let after = tokio::spawn(async move { post(&waiting, sale("sale:after", 0, 5)).await.unwrap() });
    tokio::time::sleep(Duration::from_millis(100)).await;
    slow.batch_execute("COMMIT").await.unwrap();
    assert_eq!(closing.await.unwrap().closed_through, Some(OWN));
    assert_eq!(after.await.unwrap().accounting_date, Some(NEXT), "decided on what was read before the fence");
    ledger.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_days_statement_is_final_once_it_is_sealed() {
    let served = Served::start().await;
    let mut gateway = served.client("gateway");
    service::open(&mut gateway).await;
    let at = |key: &str, time: &str| PostRequest { effective_time: time.into(), ..service::sale(key) };
    for (key, time) in [("sale:1", "2024-01-14T04:00:00Z"), ("sale:2", "2024-01-15T04:00:00Z")] {
        gateway.post(at(key, time)).await.unwrap();
    }
    let demanded =
        |day: &str| PostRequest { accounting_date: day.into(), ..at("sale:3", "2024-01-15T04:00:00Z") };
    for day in ["2023-12-14", "9999-01-01", "15.1.2024"] {
        let refusal = gateway.post(demanded(day)).await.unwrap().into_inner().refusal.unwrap();
        assert_eq!(refusal.subject, "accounting_date", "{refusal:?}");
    }
    let booked = gateway.post(demanded("2024-01-14")).await.unwrap().into_inner();
    assert_eq!(booked.accounting_date, "2024-01-14");

    let close = |state: DayState| CloseDayRequest { day: "2024-01-15".into(), state: state.into() };
    let mut said: Vec<CloseDayResponse> = vec![];
    for state in [DayState::Open, DayState::Closed, DayState::Closing, DayState::Closed] {
        said.push(gateway.close_day(close(state)).await.unwrap().into_inner());
    }
    let subject = |n: usize| said[n].refusal.as_ref().map(|refusal| refusal.subject.as_str());
    assert_eq!((0..4).map(subject).collect::<Vec<_>>(), [Some("state"), Some("day"), None, None], "{said:?}");
    assert_eq!(said[3].closed_through, "2024-01-15");
    let present = CloseDayRequest { day: today().to_string(), state: DayState::Closed.into() };
    let refusal = gateway.close_day(present).await.unwrap().into_inner().refusal.unwrap();
    assert_eq!(refusal.subject, "day", "{refusal:?}");
    let denied = served.client("operator").close_day(close(DayState::Closing)).await.unwrap_err();
    assert_eq!(denied.code(), tonic::Code::PermissionDenied);

    let mut statement = GetDayStatementResponse::default();
    for _ in 0..100 {
        let asked = GetDayStatementRequest { day: "2024-01-15".into(), after: String::new() };
        statement = gateway.get_day_statement(asked).await.unwrap().into_inner();
        if statement.r#final {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!((statement.state(), statement.r#final), (DayState::Closed, true));
    assert!(statement.epoch == 1 && statement.position > 0 && !statement.provisional, "{statement:?}");
    let lines: Vec<_> = statement
        .lines
        .iter()
        .map(|l| (l.account.as_str(), l.opening_minor, l.debit_minor, l.credit_minor, l.closing_minor))
        .collect();
    assert_eq!(
        lines,
        [
            ("channel:c:receivable", 200, 100, 0, 300),
            ("income:fee", 2, 0, 1, 3),
            ("merchant:m:pending", 198, 0, 99, 297)
        ]
    );
    let rest = GetDayStatementRequest { day: "2024-01-15".into(), after: "income:fee CNY".into() };
    let rest = gateway.get_day_statement(rest).await.unwrap().into_inner();
    assert_eq!(rest.lines.iter().map(|l| l.account.as_str()).collect::<Vec<_>>(), ["merchant:m:pending"]);
}

/// What each account had before a day and moved on it, from the entries alone.
const DAY: &str = "
    SELECT a.code, coalesce(sum(CASE WHEN e.side = a.normal_side THEN e.amount_minor ELSE -e.amount_minor END)
                            FILTER (WHERE t.accounting_date < $1), 0)::bigint,
           coalesce(sum(e.amount_minor) FILTER (WHERE t.accounting_date = $1 AND e.side = 'debit'), 0)::bigint,
           coalesce(sum(e.amount_minor) FILTER (WHERE t.accounting_date = $1 AND e.side = 'credit'), 0)::bigint
      FROM ledger.entries e JOIN ledger.transactions t USING (transaction_id) JOIN ledger.accounts a USING (account_id)
     WHERE t.accounting_date <= $1 GROUP BY a.code ORDER BY a.code";

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
pub(crate) async fn a_days_statement_is_the_fold_of_its_entries_wherever_checkpoints_lie() {
    let ledger = Ledger::start().await;
    let tls = ledger.postgres.tls("ledger").unwrap();
    let pool = payplane_common::database::pool(&ledger.postgres.config("ledger"), &tls, "test", 2).unwrap();
    // Most of a round is of its day; some comes late and some early.
    for (round, main) in [15_i8, 15, 16, 16, 17, 15, 19].into_iter().enumerate() {
        for n in 0..30 {
            let day = match n {
                0..=3 => 15,
                4 => 19,
                _ => main,
            };
            let own = date(2024, 1, day);
            let time = own.at(4, 0, 0, 0).to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
            let sale = sale(&format!("sale:{round}:{n}"), (n + round) % 5, 10 + i64::from(day));
            let posting = Posting { effective_time: time, ..sale };
            assert_eq!(
                word(&ledger.books.post("gateway".into(), posting, own, soon()).await.unwrap()),
                "booked"
            );
        }
        assert_eq!(ledger.word(payout(&format!("payout:{round}"), round % 5, 7)).await, "booked");
        // Sealed and rolled up, sealed, or neither.
        if round % 3 != 2 {
            ledger.chain().await;
        }
        if round % 2 == 0 {
            while ledger.books.roll(1_000, 0, 1, 0).await.unwrap() {}
            ledger.books.roll_all().await.unwrap();
        }
        for day in 14..=20 {
            let day = date(2024, 1, day);
            let told = payplane_ledger::days::statement(&pool, day, "").await.unwrap().lines;
            let told: Vec<_> = told
                .into_iter()
                .map(|l| (l.account, l.opening_minor, l.debit_minor, l.credit_minor))
                .collect();
            let rows = ledger.owner.query(DAY, &[&day]).await.unwrap();
            let right: Vec<(String, i64, i64, i64)> =
                rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect();
            assert_eq!(told, right, "{day} after round {round}");
        }
    }
    assert!(ledger.number("SELECT count(*) FROM ledger.day_starts").await > 1, "days began");
    assert!(ledger.number("SELECT count(*) FROM ledger.day_moves").await > 5, "some was late");
    ledger.check().await;
}
