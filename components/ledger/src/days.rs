//! Accounting days: moving one on, and what was booked into it.

use deadpool_postgres::Pool;
use jiff::civil::Date;
use payplane_api::ledger::v1::{
    CloseDayRequest, CloseDayResponse, DayState, DayStatementLine, GetDayStatementResponse, Refusal,
};
use tokio_postgres::Row;

use crate::books::Closing;
use crate::reads::{ReadError, direction, query};
use crate::request::{self, invalid};

/// How far before the day of its effective time a posting may demand one.
const DEMANDED_BACK_DAYS: i64 = 31;
/// Accounts of one answer; one more is asked for to know whether there are more.
const LINES_MAX: usize = 1_000;
const LINES_ASKED: i64 = LINES_MAX as i64 + 1;

/// Of one day: its state, whether it can still change, and its accounts.
const STATEMENT: &str = "
    SELECT s.state, s.final, l.*
      FROM (SELECT CASE WHEN $1 <= c.closed_through THEN 'closed' WHEN $1 <= c.closing_through THEN 'closing'
                        ELSE 'open' END AS state,
                   EXISTS (SELECT FROM ledger.chain h JOIN ledger.positions p USING (position)
                            WHERE p.batch_number = (SELECT d.batch_number FROM ledger.day_closings d
                                   WHERE d.state = 'closed' AND d.day >= $1 ORDER BY d.day LIMIT 1)) AS final
              FROM ledger.control c) s
      LEFT JOIN (
           SELECT a.code, a.currency, a.normal_side::text AS side,
                  coalesce(sum(CASE WHEN e.side = a.normal_side THEN e.amount_minor ELSE -e.amount_minor END)
                           FILTER (WHERE t.accounting_date < $1), 0)::bigint AS opening,
                  coalesce(sum(e.amount_minor) FILTER (WHERE t.accounting_date = $1 AND e.side = 'debit'), 0)::bigint AS debit,
                  coalesce(sum(e.amount_minor) FILTER (WHERE t.accounting_date = $1 AND e.side = 'credit'), 0)::bigint AS credit
             FROM ledger.accounts a JOIN ledger.all_entries e USING (account_id)
             JOIN ledger.all_transactions t USING (transaction_id)
            WHERE t.accounting_date <= $1 AND NOT a.reserved AND (a.code, a.currency) > ($2::text, $3::text)
            GROUP BY a.code, a.currency, a.normal_side ORDER BY a.code, a.currency LIMIT $4) l ON true
     ORDER BY l.code, l.currency";

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

pub(crate) async fn statement(
    pool: &Pool,
    day: Date,
    after: &str,
) -> Result<GetDayStatementResponse, ReadError> {
    let (code, currency) = after.split_once(' ').unwrap_or(("", ""));
    let rows = query(pool, "a day's statement", STATEMENT, &[&day, &code, &currency, &LINES_ASKED]).await?;
    let Some(first) = rows.first() else { return Ok(GetDayStatementResponse::default()) };
    let state = match first.get(0) {
        "closed" => DayState::Closed,
        "closing" => DayState::Closing,
        _ => DayState::Open,
    };
    let mut lines: Vec<_> = rows.iter().filter_map(line).collect();
    let more = lines.len() > LINES_MAX;
    lines.truncate(LINES_MAX);
    let last = lines.last().filter(|_| more);
    let next = last.map(|last| format!("{} {}", last.account, last.currency)).unwrap_or_default();
    Ok(GetDayStatementResponse { state: state.into(), r#final: first.get(1), next, lines })
}

/// None on the row that only tells the state.
fn line(row: &Row) -> Option<DayStatementLine> {
    let account: Option<String> = row.get(2);
    let (opening_minor, debit_minor, credit_minor): (i64, i64, i64) =
        account.as_ref().map(|_| (row.get(5), row.get(6), row.get(7)))?;
    let moved = debit_minor.saturating_sub(credit_minor);
    let side: &str = row.get(4);
    let gained = if side == "debit" { moved } else { moved.saturating_neg() };
    Some(DayStatementLine {
        account: account?,
        currency: row.get(3),
        normal_side: direction(side),
        opening_minor,
        debit_minor,
        credit_minor,
        closing_minor: opening_minor.saturating_add(gained),
    })
}
