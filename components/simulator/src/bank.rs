//! The core of a bank, by the contract in docs/bank-direct.md: accounts are debited at
//! once, or later where the amount asks for it.

mod agreement;
mod answer;
mod auth;
mod body;
pub mod keys;
pub mod notice;
#[cfg(test)]
mod trials;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State as Shared;
use axum::response::Response;
use axum::routing::post;
use http::{Request, StatusCode};

use self::answer::{Answer, Refused};
use self::auth::Claimed;
use crate::book::agreements::{CONFIRM, ONE_TIME_CODE};
use crate::book::entries::Entry;
use crate::book::{Asked, Key, NetworkName};
use crate::details::Details;
use crate::message::State;
use crate::payer;
use crate::sandbox::{Before, Sandbox, after, before};

/// Real requests have some 400 bytes.
const BODY_BYTES_MAX: usize = 16 * 1024;

pub fn router(sandbox: Arc<Sandbox>) -> Router {
    Router::new().route("/bank/v1/{call}", post(handle)).with_state(sandbox)
}

/// What a call comes to.
type Outcome = crate::sandbox::Outcome<Answer>;

async fn handle(Shared(sandbox): Shared<Arc<Sandbox>>, request: Request<Body>) -> Response {
    let networks = sandbox.networks();
    let Some(bank) = &networks.value.bank else { return answer::unsigned(StatusCode::NOT_FOUND) };
    let (parts, body) = request.into_parts();
    let claimed = Claimed::of(&parts.headers);
    let outcome = match to_bytes(body, BODY_BYTES_MAX).await {
        Err(_) => Err(Answer::invalid_body("longer than 16 KiB").into()),
        Ok(body) => match auth::verify(&parts, &body, bank) {
            Ok(participant) => dispatch(&sandbox, participant, parts.uri.path(), &body).await,
            Err(refused) => Err(refused),
        },
    };
    match outcome.unwrap_or_else(|Refused(why)| why.into()) {
        Outcome::Answer(told, after) => {
            sandbox.answer(after, |signed| answer::sign(bank, &claimed, &told, signed)).await
        }
        Outcome::Silence => sandbox.silence().await,
    }
}

async fn dispatch(
    sandbox: &Arc<Sandbox>,
    participant: String,
    path: &str,
    content: &[u8],
) -> Result<Outcome, Refused> {
    match path {
        "/bank/v1/pay" => pay(sandbox, participant, content).await,
        "/bank/v1/refund" => refund(sandbox, participant, content).await,
        "/bank/v1/payout" => payout(sandbox, participant, content).await,
        "/bank/v1/sign" => agreement::sign(sandbox, participant, content).await,
        "/bank/v1/confirm" => agreement::confirm(sandbox, &participant, content).await,
        "/bank/v1/unsign" => agreement::unsign(sandbox, &participant, content).await,
        "/bank/v1/query" => {
            let asked: body::Number = body::read(content)?;
            asked.check()?;
            let key = Key::order(NetworkName::BankDirect, &participant, &asked.number);
            sandbox.book.lapse(&key).await?;
            Ok(Answer::entry(&sandbox.book.find(&key).await?.payment).into())
        }
        "/bank/v1/close" => {
            let asked: body::Number = body::read(content)?;
            asked.check()?;
            let closed = sandbox.book.close_entry(&participant, &asked.number).await?;
            Ok(Answer::entry(&closed).into())
        }
        _ => Err(Answer::no_call().into()),
    }
}

async fn pay(sandbox: &Arc<Sandbox>, participant: String, content: &[u8]) -> Result<Outcome, Refused> {
    let pay: body::Pay = body::read(content)?;
    pay.check()?;
    let amount = pay.amount_minor;
    let decided = match before(amount) {
        _ if pay.is_over() => (State::Declined, Some("Expired")),
        Before::Decline => (State::Declined, Some("InsufficientFunds")),
        _ if waits(amount) || steps_up(amount) => (State::Processing, None),
        _ => (State::Succeeded, None),
    };
    let (asked, details) = pay.asked();
    let details = if steps_up(amount) { details.with(CONFIRM, ONE_TIME_CODE) } else { details };
    enter(sandbox, (participant, pay.number), (asked, details), amount, decided).await
}

async fn refund(sandbox: &Arc<Sandbox>, participant: String, content: &[u8]) -> Result<Outcome, Refused> {
    let refund: body::Refund = body::read(content)?;
    refund.check()?;
    let amount = refund.amount_minor;
    let decided = match before(amount) {
        Before::Decline => (State::Declined, Some("AccountClosed")),
        _ if crate::script::refund_takes(amount).is_some() => (State::Processing, None),
        _ => (State::Succeeded, None),
    };
    let (asked, details) = refund.asked();
    enter(sandbox, (participant, refund.number), (asked, details), amount, decided).await
}

async fn payout(sandbox: &Arc<Sandbox>, participant: String, content: &[u8]) -> Result<Outcome, Refused> {
    let payout: body::Payout = body::read(content)?;
    payout.check()?;
    let amount = payout.amount_minor;
    let decided = match before(amount) {
        Before::Decline => (State::Declined, Some("AccountUnknown")),
        _ if crate::script::refund_takes(amount).is_some() => (State::Processing, None),
        _ => (State::Succeeded, None),
    };
    let (asked, details) = payout.asked();
    enter(sandbox, (participant, payout.number), (asked, details), amount, decided).await
}

/// Does the payer of this amount confirm it in the bank's app, or not?
fn waits(amount_minor: i64) -> bool {
    matches!(amount_minor.checked_rem(10_000), Some(9002 | 9008..=9012))
}

/// Does the bank ask the payer of this amount for a one-time code?
fn steps_up(amount_minor: i64) -> bool {
    amount_minor.checked_rem(10_000) == Some(9016)
}

async fn enter(
    sandbox: &Arc<Sandbox>,
    (participant, number): (String, String),
    (asked, details): (Asked, Details),
    amount_minor: i64,
    decided: (State, Option<&'static str>),
) -> Result<Outcome, Refused> {
    enter_with(sandbox, (participant, number), (asked, details), (amount_minor, amount_minor), decided).await
}

/// The same where something else than the amount asks for faults.
async fn enter_with(
    sandbox: &Arc<Sandbox>,
    (participant, number): (String, String),
    (asked, details): (Asked, Details),
    (amount_minor, fault): (i64, i64),
    decided: (State, Option<&'static str>),
) -> Result<Outcome, Refused> {
    match before(fault) {
        Before::Go | Before::Decline => {}
        Before::Silence => return Ok(Outcome::Silence),
        Before::ServerError => return Err(Answer::internal().into()),
    }
    let place = sandbox.place().ok_or_else(Answer::busy)?;
    let network = NetworkName::BankDirect;
    let entry = Entry { network, participant, number, asked, amount_minor, details, decided };
    let taken = sandbox.book.enter(entry).await?;
    drop(place);
    if taken.differs {
        return Err(Answer::conflict().into());
    }
    let answer = Answer::entry(&taken.payment);
    if taken.new && taken.payment.state == State::Processing {
        match taken.payment.asked {
            Asked::Pay { .. } => payer::expect_payment(sandbox, taken.payment),
            Asked::Sign => {}
            _ => payer::expect_refund(sandbox, taken.payment),
        }
    }
    Ok(Outcome::Answer(answer, after(fault)))
}
