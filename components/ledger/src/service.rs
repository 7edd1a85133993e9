//! The gRPC service: who may call, what is asked, what is answered.

mod words;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Pool;
use jiff::civil::Date;
use payplane_api::ledger::v1::{
    CloseDayRequest, CloseDayResponse, FindTransactionsRequest, FindTransactionsResponse, GetBalancesRequest,
    GetBalancesResponse, GetDayStatementRequest, GetDayStatementResponse, GetDueBalancesRequest,
    GetDueBalancesResponse, GetStatusRequest, GetStatusResponse, GetTransactionRequest,
    GetTransactionResponse, GetTrialBalanceRequest, GetTrialBalanceResponse, ListEntriesRequest,
    ListEntriesResponse, OpenAccountsRequest, OpenAccountsResponse, Outcome, PostRequest, PostResponse,
    PostStreamRequest, RaiseConfigEpochRequest, RaiseConfigEpochResponse, ReadEventsRequest,
    SetAccountStateRequest, SetAccountStateResponse, SetSettlementDatesRequest, SetSettlementDatesResponse,
    ledger_server::Ledger,
};
use payplane_common::config::Live;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::Settings;
use crate::access::{Right, caller};
use crate::account_entries;
use crate::balances;
use crate::booked;
use crate::books::Books;
use crate::days;
use crate::due;
use crate::events::{Events, Reading};
use crate::metrics::Metrics;
use crate::reads;
use crate::request;
use crate::settlements;
use crate::stream::{self, Answers};
use words::{REASON_PREFIX, account_state, columns, deadline, refused, response};
pub(crate) use words::{argument, books_status, read_status, why, wrong};

const ACCOUNTS_MAX: usize = 100;
/// Where the caller names no deadline, or a longer one.
pub(crate) const DEADLINE_MAX: Duration = Duration::from_secs(30);

/// Metadata of an answer: whole seconds.
pub(crate) const RETRY_AFTER: &str = "retry-after";

/// Clones share everything.
#[derive(Clone)]
pub struct Service {
    books: Books,
    readers: Pool,
    config: Arc<Live<Settings>>,
    metrics: Metrics,
    closing: CancellationToken,
    reading: Reading,
}

impl Service {
    /// Once `closing` is cancelled, streams read nothing more.
    #[must_use]
    pub(crate) fn new(
        books: Books,
        readers: Pool,
        config: Arc<Live<Settings>>,
        metrics: Metrics,
        reading: Reading,
        closing: CancellationToken,
    ) -> Self {
        Self { books, readers, config, metrics, closing, reading }
    }

    /// One posting, answered and counted.
    pub(crate) async fn answer(
        &self,
        caller: String,
        request: PostRequest,
        by: Instant,
    ) -> Result<PostResponse, Status> {
        let since = Instant::now();
        let answer = self.book(caller, request, by).await;
        self.count(&answer, since);
        answer
    }

    async fn book(&self, caller: String, request: PostRequest, by: Instant) -> Result<PostResponse, Status> {
        let posting = match request::check(request) {
            Ok(posting) => posting,
            Err(refusal) => return Ok(refused(refusal, None)),
        };
        let day = self.config.current().value.calendar.settlement_day(posting.effective_time);
        if let Some(demanded) = posting.demanded_date
            && let Err(refusal) = days::check_demanded(demanded, day, self.present_day())
        {
            return Ok(refused(refusal, None));
        }
        let answer = self.books.post(caller, posting, day, by).await.map_err(|e| books_status(&e))?;
        response(answer)
    }

    fn present_day(&self) -> Date {
        self.config.current().value.calendar.settlement_day(jiff::Timestamp::now())
    }

    fn count(&self, answer: &Result<PostResponse, Status>, since: Instant) {
        let outcome = match answer.as_ref().map(PostResponse::outcome) {
            Ok(Outcome::Created) => "created",
            Ok(Outcome::Replayed) => "replayed",
            Ok(_) => "refused",
            Err(_) => "failed",
        };
        if let Ok(PostResponse { refusal: Some(refusal), .. }) = answer {
            self.metrics.refused(refusal.reason().as_str_name().trim_start_matches(REASON_PREFIX));
        }
        self.metrics.answered(outcome, since.elapsed());
    }
}

#[tonic::async_trait]
impl Ledger for Service {
    async fn post(&self, request: Request<PostRequest>) -> Result<Response<PostResponse>, Status> {
        let caller = caller(&request, Right::Book)?;
        let by = deadline(&request);
        self.answer(caller, request.into_inner(), by).await.map(Response::new)
    }

    type PostStreamStream = Answers;

    async fn post_stream(
        &self,
        request: Request<Streaming<PostStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let caller = caller(&request, Right::Book)?;
        let answers = stream::serve(self.clone(), caller, request.into_inner(), self.closing.clone());
        Ok(Response::new(answers))
    }

    type ReadEventsStream = Events;

    async fn read_events(&self, request: Request<ReadEventsRequest>) -> Result<Response<Events>, Status> {
        caller(&request, Right::Book)?;
        Ok(Response::new(self.reading.start(request.into_inner()).await?))
    }

    async fn open_accounts(
        &self,
        request: Request<OpenAccountsRequest>,
    ) -> Result<Response<OpenAccountsResponse>, Status> {
        caller(&request, Right::Book)?;
        let by = deadline(&request);
        let accounts = match columns(request.into_inner()) {
            Ok(accounts) => accounts,
            Err(refusal) => {
                return Ok(Response::new(OpenAccountsResponse { opened: 0, refusal: Some(refusal) }));
            }
        };
        let opened = self.books.open_accounts(accounts, by).await.map_err(|e| books_status(&e))?;
        let refusal = opened.refusal.map(why);
        Ok(Response::new(OpenAccountsResponse { opened: u32::try_from(opened.opened).unwrap_or(0), refusal }))
    }

    async fn get_balances(
        &self,
        request: Request<GetBalancesRequest>,
    ) -> Result<Response<GetBalancesResponse>, Status> {
        caller(&request, Right::Book)?;
        balances::balances(&self.readers, request.into_inner()).await.map(Response::new)
    }

    async fn get_due_balances(
        &self,
        request: Request<GetDueBalancesRequest>,
    ) -> Result<Response<GetDueBalancesResponse>, Status> {
        caller(&request, Right::Book)?;
        due::balances(&self.readers, request.into_inner()).await.map(Response::new)
    }

    async fn list_entries(
        &self,
        request: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        caller(&request, Right::Book)?;
        account_entries::list(&self.readers, request.into_inner()).await.map(Response::new)
    }

    async fn get_transaction(
        &self,
        request: Request<GetTransactionRequest>,
    ) -> Result<Response<GetTransactionResponse>, Status> {
        let caller = caller(&request, Right::Book)?;
        let key = request::key(request.into_inner().identity.as_ref(), "identity")
            .map_err(|refusal| argument(&refusal))?;
        let found = reads::transaction(&self.readers, &caller, &key).await.map_err(|e| read_status(&e))?;
        Ok(Response::new(found))
    }

    async fn find_transactions(
        &self,
        request: Request<FindTransactionsRequest>,
    ) -> Result<Response<FindTransactionsResponse>, Status> {
        caller(&request, Right::Book)?;
        booked::find(&self.readers, request.into_inner()).await.map(Response::new)
    }

    async fn get_trial_balance(
        &self,
        request: Request<GetTrialBalanceRequest>,
    ) -> Result<Response<GetTrialBalanceResponse>, Status> {
        caller(&request, Right::Sum)?;
        let reserved = request.into_inner().include_reserved;
        let sums = reads::trial_balance(&self.readers, reserved).await.map_err(|e| read_status(&e))?;
        Ok(Response::new(sums))
    }

    async fn get_day_statement(
        &self,
        request: Request<GetDayStatementRequest>,
    ) -> Result<Response<GetDayStatementResponse>, Status> {
        caller(&request, Right::Sum)?;
        let asked = request.into_inner();
        let day = request::date(&asked.day, "day").map_err(|refusal| argument(&refusal))?;
        let statement = days::statement(&self.readers, day, &asked.after).await;
        Ok(Response::new(statement.map_err(|e| read_status(&e))?))
    }

    async fn set_account_state(
        &self,
        request: Request<SetAccountStateRequest>,
    ) -> Result<Response<SetAccountStateResponse>, Status> {
        let (caller, by) = (caller(&request, Right::Close)?, deadline(&request));
        let asked = request.into_inner();
        let Some(state) = account_state(asked.state()) else {
            return Err(wrong("state", "open, frozen on a side or both, or closed"));
        };
        let refused = self.books.set_account_state(&asked.account, &asked.currency, state, &caller, by).await;
        let refused = refused.map_err(|e| books_status(&e))?;
        Ok(Response::new(SetAccountStateResponse { refusal: refused.map(why) }))
    }

    async fn set_settlement_dates(
        &self,
        request: Request<SetSettlementDatesRequest>,
    ) -> Result<Response<SetSettlementDatesResponse>, Status> {
        let (caller, by) = (caller(&request, Right::Book)?, deadline(&request));
        settlements::set(&self.books, &caller, request.into_inner(), by).await.map(Response::new)
    }

    async fn close_day(
        &self,
        request: Request<CloseDayRequest>,
    ) -> Result<Response<CloseDayResponse>, Status> {
        caller(&request, Right::Close)?;
        let by = deadline(&request);
        let (day, state) = match days::check_closing(&request.into_inner(), self.present_day()) {
            Ok(asked) => asked,
            Err(refusal) => {
                return Ok(Response::new(CloseDayResponse {
                    refusal: Some(refusal),
                    ..CloseDayResponse::default()
                }));
            }
        };
        let closing = self.books.close_day(day, state, by).await.map_err(|e| books_status(&e))?;
        Ok(Response::new(days::closing_response(day, closing)))
    }

    async fn get_status(
        &self,
        request: Request<GetStatusRequest>,
    ) -> Result<Response<GetStatusResponse>, Status> {
        caller(&request, Right::Watch)?;
        Ok(Response::new(reads::status(&self.readers).await.map_err(|e| read_status(&e))?))
    }

    async fn raise_config_epoch(
        &self,
        request: Request<RaiseConfigEpochRequest>,
    ) -> Result<Response<RaiseConfigEpochResponse>, Status> {
        caller(&request, Right::Fence)?;
        let by = deadline(&request);
        let epoch = i64::try_from(request.into_inner().config_epoch)
            .map_err(|_| wrong("config_epoch", "too large"))?;
        let in_force = self.books.raise_config_epoch(epoch, by).await.map_err(|e| books_status(&e))?;
        let config_epoch_min = u64::try_from(in_force).unwrap_or(0);
        Ok(Response::new(RaiseConfigEpochResponse { config_epoch_min }))
    }
}
