//! On which dates the network settles what was booked without one.

use jiff::civil::Date;
use payplane_api::ledger::v1::{
    Refusal, SetSettlementDatesRequest, SetSettlementDatesResponse, SettlementDateAnswer,
};
use tokio::time::Instant;
use tonic::Status;

use crate::books::Books;
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
