//! Agreements: signed, confirmed by a one-time code, ended. A code that begins with 80 is
//! right; its last four digits, and those of the account that is signed for, ask for faults
//! as an amount's do.

use std::sync::Arc;

use serde::Deserialize;

use super::answer::{Answer, Refused};
use super::body::{self, check, is_account, is_notify_url, is_number, is_text};
use super::{Outcome, enter_with};
use crate::book::agreements::{CONFIRM, Confirmed, ONE_TIME_CODE};
use crate::book::{Asked, Key, NetworkName};
use crate::details::Details;
use crate::message::State;
use crate::payer;
use crate::sandbox::{Before, Sandbox, after, before, digits, is_right_code};

/// An agreement that is for this is not ended when that is asked for the first time.
const UNSIGN_LOST: &str = "9003";
/// This one is, and nobody is told.
const UNSIGN_UNTOLD: &str = "9004";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Sign {
    number: String,
    account: String,
    holder_name: String,
    description: String,
    notify_url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Confirm {
    number: String,
    code: String,
}

pub(super) async fn sign(
    sandbox: &Arc<Sandbox>,
    participant: String,
    content: &[u8],
) -> Result<Outcome, Refused> {
    let sign: Sign = body::read(content)?;
    check(&[
        ("number", is_number(&sign.number)),
        ("account", is_account(&sign.account)),
        ("holderName", is_text(&sign.holder_name)),
        ("description", is_text(&sign.description)),
        ("notifyUrl", is_notify_url(&sign.notify_url)),
    ])?;
    let fault = digits(&sign.account);
    let decided = match before(fault) {
        Before::Decline => (State::Declined, Some("AccountUnknown")),
        _ => (State::Processing, None),
    };
    let details = Details::default()
        .with("account", &sign.account)
        .with("holderName", &sign.holder_name)
        .with("description", &sign.description)
        .with("notifyUrl", &sign.notify_url)
        .with(CONFIRM, ONE_TIME_CODE);
    enter_with(sandbox, (participant, sign.number), (Asked::Sign, details), (0, fault), decided).await
}

pub(super) async fn confirm(
    sandbox: &Arc<Sandbox>,
    participant: &str,
    content: &[u8],
) -> Result<Outcome, Refused> {
    let confirm: Confirm = body::read(content)?;
    let is_code = (4..=16).contains(&confirm.code.len())
        && confirm.code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    check(&[("number", is_number(&confirm.number)), ("code", is_code)])?;
    let fault = digits(&confirm.code);
    match before(fault) {
        Before::Silence => return Ok(Outcome::Silence),
        Before::ServerError => return Err(Answer::internal().into()),
        Before::Go | Before::Decline => {}
    }
    let is_right = is_right_code(&confirm.code);
    let key = Key::order(NetworkName::BankDirect, participant, &confirm.number);
    let answer = match sandbox.book.confirm(&key, is_right).await? {
        Confirmed::Wrong => Answer::wrong_code(),
        Confirmed::Told(payment, is_ended) => {
            let answer = Answer::entry(&payment);
            if is_ended {
                payer::tell(sandbox, *payment);
            }
            answer
        }
    };
    Ok(Outcome::Answer(answer, after(fault)))
}

pub(super) async fn unsign(
    sandbox: &Arc<Sandbox>,
    participant: &str,
    content: &[u8],
) -> Result<Outcome, Refused> {
    let asked: body::Number = body::read(content)?;
    asked.check()?;
    let key = Key::order(NetworkName::BankDirect, participant, &asked.number);
    let (what_for, times) = sandbox.book.asked_again(&key, "description");
    let is_lost = |fault: &str| times == 1 && what_for.ends_with(fault);
    if is_lost(UNSIGN_LOST) {
        return Ok(Outcome::Silence);
    }
    let ended = sandbox.book.unsign(participant, &asked.number).await?;
    if is_lost(UNSIGN_UNTOLD) {
        return Ok(Outcome::Silence);
    }
    Ok(Answer::entry(&ended).into())
}
