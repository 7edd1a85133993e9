//! What is due on an account, by due date.

use deadpool_postgres::Pool;
use jiff::civil::Date;
use payplane_api::ledger::v1::{DueBalance, GetDueBalancesRequest, GetDueBalancesResponse};
use tonic::Status;

use crate::reads::query;
use crate::request;
use crate::service::{argument, read_status, wrong};

/// Dates of one answer.
const DAYS_MAX: i32 = 400;

/// What is committed and beyond the end of the chain is in few batches. A row without
/// a date says the place where nothing is due.
const DUE: &str = "
    WITH place AS MATERIALIZED (
        SELECT coalesce(max(c.position), 0) AS position FROM ledger.chain c),
    beyond AS MATERIALIZED (
        SELECT u.batch_number FROM ledger.unsealed_batches u UNION ALL
        SELECT p.batch_number FROM ledger.positions p WHERE p.position > (SELECT position FROM place))
    SELECT coalesce(p.epoch, 0), place.position, d.due_date, coalesce(d.sealed, 0)::bigint, coalesce(d.rest, 0)::bigint
      FROM place LEFT JOIN ledger.positions p USING (position) LEFT JOIN (
           SELECT m.due_date, sum(m.change) FILTER (WHERE NOT m.beyond) AS sealed, sum(m.change) FILTER (WHERE m.beyond) AS rest
             FROM (SELECT e.due_date, e.batch_number IN (SELECT b.batch_number FROM beyond b) AS beyond,
                          CASE WHEN e.side = a.normal_side THEN e.amount_minor ELSE -e.amount_minor END AS change
                     FROM ledger.accounts a JOIN ledger.all_entries e USING (account_id)
                    WHERE a.code = $1 AND a.currency = $2 AND e.due_date BETWEEN $3 AND $4) m
            GROUP BY m.due_date) d ON d.sealed <> 0 OR d.rest <> 0
     ORDER BY d.due_date";

pub(crate) async fn balances(
    pool: &Pool,
    asked: GetDueBalancesRequest,
) -> Result<GetDueBalancesResponse, Status> {
    let date = |text: &str, field| request::date(text, field).map_err(|refusal| argument(&refusal));
    let (from, to) = (date(&asked.from, "from")?, date(&asked.to, "to")?);
    let days = to.since(from).map_or(i32::MAX, |span| span.get_days());
    if !(0..DAYS_MAX).contains(&days) {
        return Err(wrong("to", "from the day of `from` up to 399 days after it"));
    }
    let rows = query(pool, "what is due", DUE, &[&asked.account, &asked.currency, &from, &to]).await;
    let rows = rows.map_err(|e| read_status(&e))?;
    let Some(first) = rows.first() else { return Ok(GetDueBalancesResponse::default()) };
    let due = |row: &tokio_postgres::Row| {
        Some(DueBalance {
            due_date: row.get::<_, Option<Date>>(2)?.to_string(),
            balance_minor: row.get(3),
            provisional_minor: row.get(4),
        })
    };
    Ok(GetDueBalancesResponse {
        balances: rows.iter().filter_map(due).collect(),
        epoch: u64::try_from(first.get::<_, i32>(0)).unwrap_or(0),
        position: u64::try_from(first.get::<_, i64>(1)).unwrap_or(0),
    })
}
