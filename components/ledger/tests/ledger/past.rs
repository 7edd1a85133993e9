//! Books with a past: the database is made to take old dates for a while, with ids
//! of their time; and what an owner does with them.

use jiff::Span;
use jiff::civil::Date;
use payplane_ledger::books::Books;
use payplane_ledger::request::{Key, Posting};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use crate::harness::*;
use crate::plants::{begin_with, definition};
use crate::sealed::Sealed;

pub(crate) const TABLES: &str =
    "ARRAY['identities', 'transactions', 'entries', 'external_references', 'holds', 'hold_ends']";

/// Books that began long ago: all up to 17 months back, a month, two, and the rest.
pub(crate) fn old_months() -> String {
    format!(
        "DO $$
         DECLARE name text; month date := date_trunc('month', now() AT TIME ZONE 'Asia/Shanghai'); upto date;
         BEGIN
             SELECT c.prepared_upto - interval '1 month' INTO upto FROM ledger.control c;
             FOREACH name IN ARRAY {TABLES} LOOP
                 EXECUTE format('DROP TABLE ledger.%I', name || '_first');
                 PERFORM ledger.make_partition(name, s.begin, s.upto) FROM (VALUES (NULL, 17), (17, 16), (16, 14)) m (begin, upto),
                   LATERAL (SELECT (month - make_interval(months => m.begin))::date, (month - make_interval(months => m.upto))::date) s (begin, upto);
                 PERFORM ledger.make_partition(name, (month - interval '14 months')::date, upto);
             END LOOP;
         END $$;
         CREATE FUNCTION ledger.aged(p_id uuid, p_day date) RETURNS uuid LANGUAGE sql AS $$
             SELECT CASE WHEN p_day > current_date - 100 THEN p_id
                 ELSE (substr(replace(ledger.first_id(p_day)::text, '-', ''), 1, 12) || substr(replace(p_id::text, '-', ''), 13))::uuid END $$"
    )
}

/// Lets the database take old dates, with ids of their time; or no more.
pub(crate) async fn age(owner: &Client, aged: bool) {
    let mut sql = definition("post") + "\n" + &definition("check_arguments");
    for (right, wrong) in [
        ("greatest(today - 400, keys_from)", "greatest(today - 4000, keys_from)"),
        ("i.hash, i.id, i.kind", "i.hash, ledger.aged(i.id, i.key_date), i.kind"),
        ("soon - interval '2 days'", "soon - interval '4000 days'"),
    ] {
        assert!(sql.contains(right), "there is no {right:?} any more");
        sql = if aged { sql.replace(right, wrong) } else { sql };
    }
    owner.batch_execute(&sql).await.unwrap();
}

pub(crate) fn months_ago(months: i64) -> Date {
    today().first_of_month().saturating_sub(Span::new().months(months))
}

/// As if it were said on that day, about what was said on the first one.
pub(crate) fn on(day: Date, posting: Posting) -> Posting {
    let original = posting.original.map(|key| Key { date: months_ago(17), ..key });
    Posting { identity: Key { date: day, ..posting.identity }, original, ..posting }
}

pub(crate) async fn said(books: &Books, posting: Posting) -> String {
    word(&post(books, posting).await.unwrap())
}

pub(crate) async fn number(owner: &Client, sql: &str) -> i64 {
    owner.query_one(&format!("SELECT ({sql})::bigint"), &[]).await.unwrap().get(0)
}

pub(crate) async fn refused(owner: &Client, sql: &str, why: &str) {
    let Err(error) = owner.batch_execute(sql).await else { panic!("{sql}: it was done") };
    let text = error.as_db_error().map(ToString::to_string).unwrap_or_default();
    assert!(text.contains(why), "{sql}: {text}");
}

/// Runs what a function answers, one statement after the other, as `\gexec` does.
pub(crate) async fn carry_out(owner: &Client, asked: &str) -> usize {
    let statements = owner.query(asked, &[]).await.unwrap();
    for row in &statements {
        let sql: &str = row.get(0);
        let mut tries = 1;
        while let Err(error) = owner.batch_execute(sql).await {
            assert!(error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) && tries < 20, "{sql}: {error:?}");
            tries += 1;
        }
    }
    statements.len()
}

pub(crate) async fn verified(sealed: &Sealed) {
    let (we, they) = sealed.verdicts("payplane", "heads").await;
    assert!(we.is_empty() && they.is_empty(), "{we:?} {they:?}");
}

/// All that readers are told about a part of the books.
pub(crate) async fn told(owner: &Client, upto: i64) -> String {
    let sql = "SELECT md5((SELECT string_agg((a.account_id, n, x.debit_minor, x.credit_minor, x.held_minor)::text, ';' ORDER BY a.account_id, n)
                  FROM ledger.accounts a, generate_series(1, $1::bigint) n, LATERAL ledger.account_at(a.account_id, n) x)
            || (SELECT string_agg(x::text, ';' ORDER BY a.account_id, x.place, x.transaction_id, x.line) FROM ledger.accounts a,
                LATERAL ledger.account_entries(a.account_id, 0, '00000000-0000-0000-0000-000000000000', 0, 500) x WHERE x.line IS NOT NULL AND x.place <= $1)
            || (SELECT string_agg(m::text, ';' ORDER BY m) FROM ledger.movements(ledger.batches_between(0, $1)) m))";
    owner.query_one(sql, &[&upto]).await.unwrap().get(0)
}

/// Books with a past: sales, links within a month and across, holds, a refusal.
pub(crate) async fn with_a_past() -> (Sealed, Client, Books) {
    begin_with(old_months());
    let sealed = Sealed::create().await;
    let owner = sealed.postgres.connect("payplane_owner").await.unwrap();
    let books = sealed.books("payplane");
    age(&owner, true).await;
    let [first, second] = [17, 16].map(months_ago);
    for (day, posting, answer) in [
        (months_ago(20), sale("old:0", 0, 50), "booked"),
        (first, sale("old:1", 0, 100), "booked"),
        (first, refund("old:2", "old:1", 0, 40), "booked"),
        (first, hold("old:3", 0, 20), "booked"),
        (second, capture("old:4", "old:3", 0, 5), "booked"),
        (first, hold("old:5", 0, 10), "booked"),
        (second, end("void", "old:6", "old:5"), "booked"),
        (first, payout("old:7", 1, 1_000_000), "INSUFFICIENT"),
        (months_ago(14), sale("old:8", 2, 30), "booked"),
        (today(), refund("new:1", "old:1", 0, 10), "booked"),
    ] {
        assert_eq!(said(&books, on(day, posting.clone())).await, answer, "{posting:?}");
    }
    age(&owner, false).await;
    sealed.book("payplane", &["sale:8"], "heads").await;
    verified(&sealed).await;
    (sealed, owner, books)
}
