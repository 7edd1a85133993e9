//! What accounts have, now or at a place in the books: their last checkpoint there
//! and what moved since, in one snapshot.

use deadpool_postgres::Pool;
use jiff::Timestamp;
use payplane_api::ledger::v1::get_balances_request::At;
use payplane_api::ledger::v1::{Balance, GetBalancesRequest, GetBalancesResponse};
use tokio_postgres::Row;
use tonic::Status;

use crate::reads::{direction, query};
use crate::service::{read_status, wrong};

/// Accounts of one answer.
const ACCOUNTS_MAX: usize = 100;

/// A row without an account says the place where none of the accounts is open.
const BALANCES: &str = "
    WITH place AS MATERIALIZED (
        SELECT coalesce(p.position, 0) AS position, coalesce(p.epoch, 0) AS epoch, coalesce(asked.beyond, false) AS beyond
          FROM (SELECT least(s.position, $3::bigint, t.position) AS position, greatest(s.position, $3, t.position) > s.position
                       OR $4::timestamptz > clock_timestamp() AS beyond
                  FROM (SELECT coalesce(max(c.position), 0) AS position FROM ledger.chain c) s LEFT JOIN (
                       SELECT coalesce(max(g.position), 0) AS position FROM (
                              SELECT g.position FROM ledger.positions g WHERE g.given_at <= $4
                               ORDER BY g.given_at DESC, g.position DESC LIMIT 1) g) t ON $4 IS NOT NULL) asked
          LEFT JOIN ledger.positions p USING (position))
    SELECT place.epoch, place.position, a.code, a.currency, a.side,
           a.sign * (a.debit_minor - a.credit_minor)::bigint, a.held_minor::bigint,
           a.sign * (a.rest_debit_minor - a.rest_credit_minor)::bigint, a.rest_held_minor::bigint, place.beyond, a.metadata
      FROM place LEFT JOIN LATERAL (
           SELECT a.code, a.currency, a.metadata::text, a.normal_side::text AS side, CASE a.normal_side WHEN 'debit' THEN 1 ELSE -1 END AS sign, at.*
             FROM ledger.accounts a, LATERAL ledger.account_at(a.account_id, place.position) at
            WHERE a.code = ANY ($1) AND ($2 = '' OR a.currency = $2)) a ON true
     ORDER BY a.code, a.currency";

pub(crate) async fn balances(pool: &Pool, asked: GetBalancesRequest) -> Result<GetBalancesResponse, Status> {
    if !(1..=ACCOUNTS_MAX).contains(&asked.accounts.len()) {
        return Err(wrong("accounts", "1 to 100 codes are needed"));
    }
    let (position, time) = match &asked.at {
        Some(At::AtPosition(position)) => {
            let large = |_| wrong("at_position", "too large");
            (Some(i64::try_from(*position).map_err(large)?), None)
        }
        Some(At::AtTime(time)) => {
            let odd = |_| wrong("at_time", format!("{time:?} is no RFC 3339 time"));
            (None, Some(time.parse::<Timestamp>().map_err(odd)?))
        }
        None => (None, None),
    };
    let rows = query(pool, "balances", BALANCES, &[&asked.accounts, &asked.currency, &position, &time]).await;
    let rows = rows.map_err(|e| read_status(&e))?;
    let Some(first) = rows.first() else { return Ok(GetBalancesResponse::default()) };
    let sealed: i64 = first.get(1);
    if first.get(9) {
        let said = format!("at_position, at_time: what is asked for is not sealed yet, position {sealed} is");
        return Err(Status::out_of_range(said));
    }
    Ok(GetBalancesResponse {
        epoch: u64::try_from(first.get::<_, i32>(0)).unwrap_or(0),
        position: u64::try_from(sealed).unwrap_or(0),
        balances: rows.iter().filter_map(|row| balance(row, asked.at.is_none())).collect(),
    })
}

fn balance(row: &Row, present: bool) -> Option<Balance> {
    let minor = |column: usize| row.get::<_, i64>(column);
    let rest = |column: usize| if present { minor(column) } else { 0 };
    Some(Balance {
        account: row.get::<_, Option<String>>(2)?,
        currency: row.get(3),
        normal_side: direction(row.get(4)),
        balance_minor: minor(5),
        held_minor: minor(6),
        available_minor: minor(5).saturating_sub(minor(6)),
        provisional_minor: rest(7),
        provisional_held_minor: rest(8),
        metadata: serde_json::from_str(row.get(10)).unwrap_or_default(),
    })
}
