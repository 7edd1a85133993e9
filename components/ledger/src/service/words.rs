//! From gRPC's words to ours and back.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use payplane_api::ledger::v1::{
    AccountState, OpenAccountsRequest, Outcome, PostResponse, Refusal, RefusalReason,
};
use payplane_common::telemetry;
use tokio::time::Instant;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{ACCOUNTS_MAX, DEADLINE_MAX, RETRY_AFTER};
use crate::books::{AccountColumns, Answer, BooksError, Refused};
use crate::place::Place;
use crate::reads::ReadError;
use crate::request::{self, refusal};

pub(crate) fn argument(refusal: &Refusal) -> Status {
    wrong(&refusal.subject, refusal.message.clone())
}

/// Names the field and the remedy, to people and, as `google.rpc.BadRequest`, to programs.
pub(crate) fn wrong(field: &str, why: impl Into<String>) -> Status {
    let why = why.into();
    let message = format!("{field}: {why}");
    Status::with_error_details(
        Code::InvalidArgument,
        message,
        ErrorDetails::with_bad_request_violation(field, why),
    )
}

pub(super) const REASON_PREFIX: &str = "REFUSAL_REASON_";

fn reason(name: &str) -> RefusalReason {
    RefusalReason::from_str_name(&format!("{REASON_PREFIX}{name}")).unwrap_or(RefusalReason::Unspecified)
}

/// As the table has it.
pub(super) fn account_state(state: AccountState) -> Option<&'static str> {
    Some(match state {
        AccountState::Unspecified => return None,
        AccountState::Open => "open",
        AccountState::FrozenDebit => "frozen_debit",
        AccountState::FrozenCredit => "frozen_credit",
        AccountState::Frozen => "frozen",
        AccountState::Closed => "closed",
    })
}

/// Why the books refused a call.
pub(crate) fn why((name, subject, message): Refused) -> Refusal {
    refusal(reason(&name), subject, message)
}

pub(super) fn refused(refusal: Refusal, config_epoch_min: Option<i64>) -> PostResponse {
    PostResponse {
        outcome: Outcome::Refused.into(),
        refusal: Some(refusal),
        config_epoch_min: config_epoch_min.and_then(|epoch| u64::try_from(epoch).ok()).unwrap_or(0),
        ..PostResponse::default()
    }
}

pub(super) fn response(answer: Answer) -> Result<PostResponse, Status> {
    let Place { books_epoch, timeline, wal } = answer.place;
    Ok(PostResponse { books_epoch, timeline, wal_position: wal, ..decision(answer)? })
}

fn decision(answer: Answer) -> Result<PostResponse, Status> {
    let outcome = match answer.outcome.as_str() {
        "booked" => Outcome::Created,
        "replayed" => Outcome::Replayed,
        "refused" => {
            let [name, subject, message] =
                [answer.reason, answer.subject, answer.message].map(Option::unwrap_or_default);
            return Ok(refused(why((name, subject, message)), answer.config_epoch_min));
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

pub(super) fn columns(asked: OpenAccountsRequest) -> Result<AccountColumns, Refusal> {
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
        request::check_texts(&account.metadata)
            .map_err(|why| invalid(format!("accounts[{n}].metadata"), why))?;
        columns.metadata.push(serde_json::json!(account.metadata).to_string());
        columns.codes.push(account.code);
        columns.currencies.push(account.currency);
        columns.sides.push(side);
        columns.floors.push(account.has_floor);
    }
    Ok(columns)
}

/// The caller's deadline, from the `grpc-timeout` that its client sent.
pub(super) fn deadline<T>(request: &Request<T>) -> Instant {
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

pub(crate) fn books_status(error: &BooksError) -> Status {
    let (code, reason) = match error {
        BooksError::Full => (Code::ResourceExhausted, "QUEUE_FULL"),
        BooksError::TooLate => (Code::DeadlineExceeded, "DEADLINE_BEFORE_SENDING"),
        BooksError::Rejected { .. } => (Code::Internal, "REJECTED"),
        BooksError::Unreachable { .. } => (Code::Unavailable, "DATABASE_UNREACHABLE"),
        BooksError::Demoted { .. } => (Code::Unavailable, "DATABASE_DEMOTED"),
        BooksError::Busy { .. }
        | BooksError::Locked
        | BooksError::Unknown { .. }
        | BooksError::Waited
        | BooksError::Ended => (Code::Unavailable, "OUTCOME_UNKNOWN"),
    };
    match error {
        BooksError::Rejected { .. } => tracing::error!(error = telemetry::chain(error), "call rejected"),
        // Under overload there are thousands; the metrics count them.
        _ if once_a_second() => tracing::info!(error = telemetry::chain(error), "calls are not answered"),
        _ => {}
    }
    let pause = matches!(error, BooksError::Full | BooksError::Busy { .. } | BooksError::Locked);
    let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, HashMap::new());
    let mut metadata = MetadataMap::new();
    if pause {
        details.set_retry_info(Some(PAUSE));
        metadata.insert(RETRY_AFTER, PAUSE.as_secs().into());
    }
    Status::with_error_details_and_metadata(code, error.to_string(), details, metadata)
}

/// Whose the reasons in `google.rpc.ErrorInfo` are.
const ERROR_DOMAIN: &str = "ledger.payplane.io";
/// How long the caller is to wait before it asks again.
const PAUSE: Duration = Duration::from_secs(1);

fn once_a_second() -> bool {
    static LAST: AtomicI64 = AtomicI64::new(0);
    let now = jiff::Timestamp::now().as_second();
    LAST.swap(now, Ordering::Relaxed) != now
}

pub(crate) fn read_status(error: &ReadError) -> Status {
    tracing::info!(error = telemetry::chain(error), "read not answered");
    Status::unavailable(error.to_string())
}
