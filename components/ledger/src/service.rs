//! The gRPC service: who may call, what is asked, what is answered.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use deadpool_postgres::Pool;
use payplane_api::ledger::v1::{
    GetBalancesRequest, GetBalancesResponse, GetStatusRequest, GetStatusResponse, GetTransactionRequest,
    GetTransactionResponse, GetTrialBalanceRequest, GetTrialBalanceResponse, OpenAccountsRequest,
    OpenAccountsResponse, Outcome, PostRequest, PostResponse, PostStreamRequest, RaiseConfigEpochRequest,
    RaiseConfigEpochResponse, Refusal, RefusalReason, ledger_server::Ledger,
};
use payplane_common::config::Live;
use payplane_common::telemetry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::Settings;
use crate::access::{Right, caller};
use crate::books::{AccountColumns, Answer, Books, BooksError};
use crate::metrics::Metrics;
use crate::reads::{self, ReadError};
use crate::request::{self, refusal};
use crate::stream::{self, Answers};

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
}

impl Service {
    /// Once `closing` is cancelled, streams read nothing more.
    #[must_use]
    pub fn new(
        books: Books,
        readers: Pool,
        config: Arc<Live<Settings>>,
        metrics: Metrics,
        closing: CancellationToken,
    ) -> Self {
        Self { books, readers, config, metrics, closing }
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
        let answer = self.books.post(caller, posting, day, by).await.map_err(|e| books_status(&e))?;
        response(answer)
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
        let refusal = opened.refusal.map(|(why, subject, message)| refusal(reason(&why), subject, message));
        Ok(Response::new(OpenAccountsResponse { opened: u32::try_from(opened.opened).unwrap_or(0), refusal }))
    }

    async fn get_balances(
        &self,
        request: Request<GetBalancesRequest>,
    ) -> Result<Response<GetBalancesResponse>, Status> {
        caller(&request, Right::Book)?;
        let asked = request.into_inner();
        if !(1..=ACCOUNTS_MAX).contains(&asked.accounts.len()) {
            return Err(Status::invalid_argument("accounts: 1 to 100 codes are needed"));
        }
        let balances = reads::balances(&self.readers, &asked.accounts, &asked.currency).await;
        let balances = balances.map_err(|e| read_status(&e))?;
        Ok(Response::new(GetBalancesResponse { balances }))
    }

    async fn get_transaction(
        &self,
        request: Request<GetTransactionRequest>,
    ) -> Result<Response<GetTransactionResponse>, Status> {
        let caller = caller(&request, Right::Book)?;
        let key = request::key(request.into_inner().identity.as_ref(), "identity").map_err(|refusal| {
            Status::invalid_argument(format!("{}: {}", refusal.subject, refusal.message))
        })?;
        let found = reads::transaction(&self.readers, &caller, &key).await.map_err(|e| read_status(&e))?;
        Ok(Response::new(found))
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
            .map_err(|_| Status::invalid_argument("config_epoch: too large"))?;
        let in_force = self.books.raise_config_epoch(epoch, by).await.map_err(|e| books_status(&e))?;
        let config_epoch_min = u64::try_from(in_force).unwrap_or(0);
        Ok(Response::new(RaiseConfigEpochResponse { config_epoch_min }))
    }
}

const REASON_PREFIX: &str = "REFUSAL_REASON_";

fn reason(name: &str) -> RefusalReason {
    RefusalReason::from_str_name(&format!("{REASON_PREFIX}{name}")).unwrap_or(RefusalReason::Unspecified)
}

fn refused(refusal: Refusal, config_epoch_min: Option<i64>) -> PostResponse {
    PostResponse {
        outcome: Outcome::Refused.into(),
        refusal: Some(refusal),
        config_epoch_min: config_epoch_min.and_then(|epoch| u64::try_from(epoch).ok()).unwrap_or(0),
        ..PostResponse::default()
    }
}

fn response(answer: Answer) -> Result<PostResponse, Status> {
    let outcome = match answer.outcome.as_str() {
        "booked" => Outcome::Created,
        "replayed" => Outcome::Replayed,
        "refused" => {
            let why = reason(&answer.reason.unwrap_or_default());
            let about = answer.subject.unwrap_or_default();
            let refusal = refusal(why, about, answer.message.unwrap_or_default());
            return Ok(refused(refusal, answer.config_epoch_min));
        }
        other => return Err(Status::internal(format!("the books answered {other:?}"))),
    };
    Ok(PostResponse {
        outcome: outcome.into(),
        transaction_id: answer.transaction_id.map(|id| id.to_string()).unwrap_or_default(),
        accounting_date: answer.accounting_date.map(|date| date.to_string()).unwrap_or_default(),
        ..PostResponse::default()
    })
}

fn columns(asked: OpenAccountsRequest) -> Result<AccountColumns, Refusal> {
    let invalid = |subject: String, message: &str| refusal(RefusalReason::Invalid, subject, message);
    if !(1..=ACCOUNTS_MAX).contains(&asked.accounts.len()) {
        return Err(invalid("accounts".into(), "1 to 100 accounts are needed"));
    }
    let mut columns = AccountColumns::default();
    let mut seen = BTreeSet::new();
    for (n, account) in asked.accounts.into_iter().enumerate() {
        if !request::is_account(&account.code) {
            return Err(invalid(format!("accounts[{n}].code"), "names joined by ':' are needed"));
        }
        let Some(side) = request::side(account.normal_side) else {
            return Err(invalid(format!("accounts[{n}].normal_side"), "debit or credit"));
        };
        if !seen.insert((account.code.clone(), account.currency.clone())) {
            return Err(invalid(format!("accounts[{n}]"), "it is there twice"));
        }
        columns.codes.push(account.code);
        columns.currencies.push(account.currency);
        columns.sides.push(side);
        columns.floors.push(account.has_floor);
    }
    Ok(columns)
}

/// The caller's deadline, from the `grpc-timeout` that its client sent.
fn deadline<T>(request: &Request<T>) -> Instant {
    let asked = request.metadata().get("grpc-timeout").and_then(|value| value.to_str().ok());
    let asked = asked.and_then(timeout).unwrap_or(DEADLINE_MAX);
    let now = Instant::now();
    now.checked_add(asked.min(DEADLINE_MAX)).unwrap_or(now)
}

/// gRPC's form: at most 8 digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let n: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(n.saturating_mul(3600)),
        "M" => Duration::from_secs(n.saturating_mul(60)),
        "S" => Duration::from_secs(n),
        "m" => Duration::from_millis(n),
        "u" => Duration::from_micros(n),
        "n" => Duration::from_nanos(n),
        _ => return None,
    })
}

fn books_status(error: &BooksError) -> Status {
    let code = match error {
        BooksError::Full => Code::ResourceExhausted,
        BooksError::TooLate => Code::DeadlineExceeded,
        BooksError::Rejected { .. } => Code::Internal,
        BooksError::Unreachable { .. }
        | BooksError::Demoted { .. }
        | BooksError::Busy { .. }
        | BooksError::Locked
        | BooksError::Unknown { .. }
        | BooksError::Waited
        | BooksError::Ended => Code::Unavailable,
    };
    match error {
        BooksError::Rejected { .. } => tracing::error!(error = telemetry::chain(error), "call rejected"),
        // Under overload there are thousands; the metrics count them.
        _ if once_a_second() => tracing::info!(error = telemetry::chain(error), "calls are not answered"),
        _ => {}
    }
    let pause = matches!(error, BooksError::Full | BooksError::Busy { .. } | BooksError::Locked);
    let status = Status::new(code, error.to_string());
    if pause { with_pause(status) } else { status }
}

/// Tells the caller to wait a second before it asks again.
fn with_pause(mut status: Status) -> Status {
    status.metadata_mut().insert(RETRY_AFTER, tonic::metadata::MetadataValue::from_static("1"));
    status
}

fn once_a_second() -> bool {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = jiff::Timestamp::now().as_second();
    LAST.swap(now, Ordering::Relaxed) != now
}

fn read_status(error: &ReadError) -> Status {
    tracing::info!(error = telemetry::chain(error), "read not answered");
    Status::unavailable(error.to_string())
}
