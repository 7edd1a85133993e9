//! On which dates the network settles what was booked without one.

use jiff::civil::Date;
use payplane_api::ledger::v1::{
    Identity, ReadEventsResponse, Refusal, SetSettlementDatesRequest, SetSettlementDatesResponse,
    SettledTransaction, SettlementDateAnswer,
};
use tokio::time::Instant;
use tokio_postgres::Row;
use tonic::Status;
use uuid::Uuid;

use crate::books::Books;
use crate::events::{self, cut};
use crate::request::{self, Key};
use crate::service::{argument, books_status, why, wrong};

const DATES_MAX: usize = 100;

pub(crate) async fn set(
    books: &Books,
    caller: &str,
    asked: SetSettlementDatesRequest,
    by: Instant,
) -> Result<SetSettlementDatesResponse, Status> {
    if !(1..=DATES_MAX).contains(&asked.dates.len()) {
        return Err(wrong("dates", "1 to 100 are needed"));
    }
    let dates = read(&asked).map_err(|refusal| argument(&refusal))?;
    let refused = books.set_settlement_dates(caller, &dates, by).await.map_err(|e| books_status(&e))?;
    let answer = |(n, refused): (usize, Option<(String, String)>)| SettlementDateAnswer {
        refusal: refused.map(|(reason, message)| why((reason, format!("dates[{n}]"), message))),
    };
    Ok(SetSettlementDatesResponse { answers: refused.into_iter().enumerate().map(answer).collect() })
}

fn read(asked: &SetSettlementDatesRequest) -> Result<Vec<(Key, Date)>, Refusal> {
    let one = |(n, asked): (usize, &payplane_api::ledger::v1::SettlementDate)| {
        let key = request::key(asked.identity.as_ref(), &format!("dates[{n}].identity"))?;
        Ok((key, request::date(&asked.settlement_date, &format!("dates[{n}].settlement_date"))?))
    };
    asked.dates.iter().enumerate().map(one).collect()
}

/// What was told between two positions: batches that do so book nothing.
pub(crate) const SETTLED: &str = concat!(cut!("= 0"), "
    SELECT s.transaction_id, s.caller, t.key_date, t.key, s.settlement_date, c.position, c.epoch, c.hash
      FROM cut c, LATERAL (SELECT * FROM ledger.settlements s WHERE s.batch_number = c.batch_number OFFSET 0) s
      LEFT JOIN LATERAL (
           SELECT t.key_date, t.key FROM ledger.all_transactions t WHERE t.transaction_id = s.transaction_id OFFSET 0) t ON true
     ORDER BY c.position, s.transaction_id");

/// One answer for each position.
pub(crate) fn answers(rows: &[Row]) -> Vec<ReadEventsResponse> {
    let position = |row: &Row| row.get::<_, i64>("position");
    let of_one = |same: &[Row]| {
        let settled = same.iter().map(settled).collect();
        Some(ReadEventsResponse { settled, ..events::empty(same.first()?) })
    };
    rows.chunk_by(|a, b| position(a) == position(b)).filter_map(of_one).collect()
}

fn settled(row: &Row) -> SettledTransaction {
    let key_date = row.get::<_, Option<Date>>(2);
    SettledTransaction {
        transaction_id: row.get::<_, Uuid>(0).to_string(),
        caller: row.get(1),
        identity: key_date.map(|date| Identity { key_date: date.to_string(), key: row.get(3) }),
        settlement_date: row.get::<_, Date>(4).to_string(),
    }
}
