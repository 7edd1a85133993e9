//! Accounting days: moving one on, and what was booked into it.

use deadpool_postgres::Pool;
use jiff::civil::Date;
use payplane_api::ledger::v1::{
    CloseDayRequest, CloseDayResponse, DayState, DayStatementLine, GetDayStatementResponse, Refusal,
};
use tokio_postgres::Row;

use crate::books::Closing;
use crate::reads::{ReadError, direction, query, sealed};
use crate::request::{self, invalid};

/// How far before the day of its effective time a posting may demand one.
const DEMANDED_BACK_DAYS: i64 = 31;
/// Accounts of one answer; one more is asked for to know whether there are more.
const LINES_MAX: usize = 1_000;
const LINES_ASKED: i64 = LINES_MAX as i64 + 1;

/// Of one day: its state, whether it can still change, and so many accounts. Beyond the
/// last checkpoints of all accounts it adds up what moved.
const STATEMENT: &str = concat!("
    WITH ", sealed!(), ",
    s AS MATERIALIZED (
        SELECT CASE WHEN $1 <= c.closed_through THEN 'closed' WHEN $1 <= c.closing_through THEN 'closing' ELSE 'open' END AS state,
               EXISTS (SELECT FROM ledger.chain h JOIN ledger.positions p USING (position)
                        WHERE p.batch_number = (SELECT d.batch_number FROM ledger.day_closings d
                               WHERE d.state = 'closed' AND d.day >= $1 ORDER BY d.day LIMIT 1)) AS final,
               r.whole_position, coalesce((SELECT min(x.position) FROM ledger.day_starts x WHERE x.day >= $1), r.whole_position) AS first,
               coalesce((SELECT min(x.position) FROM ledger.day_starts x WHERE x.day > $1), r.whole_position) AS last
          FROM ledger.control c, ledger.rollup r),
    page AS MATERIALIZED (
        SELECT a.* FROM ledger.accounts a
         WHERE NOT a.reserved AND (a.code, a.currency) > ($2::text, $3::text) ORDER BY a.code, a.currency LIMIT $4),
    -- Of another day than most about it, and what no checkpoint of all has yet.
    other AS MATERIALIZED (
        SELECT x.account_id, x.day, x.debit_minor AS debit, x.credit_minor AS credit,
               CASE WHEN x.position <= s.first THEN 'before' WHEN x.position <= s.last THEN 'on' ELSE 'after' END AS about
          FROM s, page JOIN ledger.day_moves x USING (account_id)
         WHERE x.day = $1 OR (x.day > $1 AND x.position <= s.last) OR (x.day < $1 AND x.position > s.first)
        UNION ALL
        SELECT m.account_id, m.day, m.debit_minor, m.credit_minor, 'after'
          FROM s, ledger.movements(ARRAY(
               SELECT unnest(ledger.batches_between(s.whole_position, 9223372036854775807)) FROM s
                UNION ALL SELECT u.batch_number FROM ledger.unsealed_batches u)) m),
    moved AS MATERIALIZED (
        SELECT o.account_id,
               sum(CASE WHEN o.day < $1 AND o.about <> 'before' THEN o.debit WHEN o.day >= $1 AND o.about = 'before' THEN -o.debit ELSE 0 END) AS before_debit,
               sum(CASE WHEN o.day < $1 AND o.about <> 'before' THEN o.credit WHEN o.day >= $1 AND o.about = 'before' THEN -o.credit ELSE 0 END) AS before_credit,
               sum(CASE WHEN o.day = $1 AND o.about <> 'on' THEN o.debit WHEN o.day <> $1 AND o.about = 'on' THEN -o.debit ELSE 0 END) AS debit,
               sum(CASE WHEN o.day = $1 AND o.about <> 'on' THEN o.credit WHEN o.day <> $1 AND o.about = 'on' THEN -o.credit ELSE 0 END) AS credit
          FROM other o GROUP BY o.account_id)
    SELECT s.state, s.final, l.code, l.currency, l.side, (l.sign * (l.before_debit - l.before_credit))::bigint,
           l.debit::bigint, l.credit::bigint, l.before_debit + l.before_credit + l.debit + l.credit > 0,
           z.epoch, z.position, z.provisional AND NOT s.final
      FROM sealed z, s LEFT JOIN (
           SELECT a.code, a.currency, a.normal_side::text AS side, CASE a.normal_side WHEN 'debit' THEN 1 ELSE -1 END AS sign,
                  f.debit_minor + coalesce(m.before_debit, 0) AS before_debit, f.credit_minor + coalesce(m.before_credit, 0) AS before_credit,
                  t.debit_minor - f.debit_minor + coalesce(m.debit, 0) AS debit, t.credit_minor - f.credit_minor + coalesce(m.credit, 0) AS credit
             FROM s, page a LEFT JOIN moved m USING (account_id), LATERAL ledger.account_at(a.account_id, s.first) f,
                  LATERAL ledger.account_at(a.account_id, s.last) t) l ON true
     ORDER BY l.code, l.currency");

/// What speaks against the day that a posting demands, before the books are asked.
pub(crate) fn check_demanded(demanded: Date, own: Date, present: Date) -> Result<(), Refusal> {
    let earliest = own.saturating_sub(jiff::Span::new().days(DEMANDED_BACK_DAYS));
    if (earliest..=present).contains(&demanded) {
        return Ok(());
    }
    Err(invalid(
        "accounting_date",
        format!("a day from {earliest}, 31 before that of effective_time, to {present}, the present one"),
    ))
}

/// The day and the state that it is to have. Its cut-off has to be over before it is closed.
pub(crate) fn check_closing(asked: &CloseDayRequest, present: Date) -> Result<(Date, &'static str), Refusal> {
    let day = request::date(&asked.day, "day")?;
    match asked.state() {
        DayState::Closing => Ok((day, "closing")),
        DayState::Closed if day < present => Ok((day, "closed")),
        DayState::Closed => Err(invalid("day", format!("{present} is the present day: it is not over"))),
        _ => Err(invalid("state", "closing or closed")),
    }
}

pub(crate) fn closing_response(day: Date, closing: Closing) -> CloseDayResponse {
    let text = |date: Option<Date>| date.map(|date| date.to_string()).unwrap_or_default();
    CloseDayResponse {
        closing_through: text(closing.closing_through),
        closed_through: text(closing.closed_through),
        refusal: closing.refusal.map(|why| invalid("day", format!("{day}: {why}"))),
    }
}

pub async fn statement(pool: &Pool, day: Date, after: &str) -> Result<GetDayStatementResponse, ReadError> {
    let (code, currency) = after.split_once(' ').unwrap_or(("", ""));
    let rows = query(pool, "a day's statement", STATEMENT, &[&day, &code, &currency, &LINES_ASKED]).await?;
    let Some(first) = rows.first() else { return Ok(GetDayStatementResponse::default()) };
    let state = match first.get(0) {
        "closed" => DayState::Closed,
        "closing" => DayState::Closing,
        _ => DayState::Open,
    };
    let last = rows.get(LINES_MAX.saturating_sub(1)).filter(|_| rows.len() > LINES_MAX);
    let next = last.map(|last| format!("{} {}", last.get::<_, &str>(2), last.get::<_, &str>(3)));
    let lines = rows.iter().take(LINES_MAX).filter_map(line).collect();
    Ok(GetDayStatementResponse {
        state: state.into(),
        r#final: first.get(1),
        next: next.unwrap_or_default(),
        lines,
        epoch: u64::try_from(first.get::<_, i32>(9)).unwrap_or(0),
        position: u64::try_from(first.get::<_, i64>(10)).unwrap_or(0),
        provisional: first.get(11),
    })
}

/// None on the row that only tells the state, and of an account that had nothing yet.
fn line(row: &Row) -> Option<DayStatementLine> {
    row.get::<_, Option<bool>>(8).filter(|had| *had)?;
    let (opening_minor, debit_minor, credit_minor): (i64, i64, i64) = (row.get(5), row.get(6), row.get(7));
    let moved = debit_minor.saturating_sub(credit_minor);
    let side: &str = row.get(4);
    let gained = if side == "debit" { moved } else { moved.saturating_neg() };
    Some(DayStatementLine {
        account: row.get(2),
        currency: row.get(3),
        normal_side: direction(side),
        opening_minor,
        debit_minor,
        credit_minor,
        closing_minor: opening_minor.saturating_add(gained),
    })
}
