//! Cards that are opened: a one-time code is sent, brings a token, and the token is paid by until
//! it is deleted. The last four digits of the card ask for faults as an amount's do, and so do
//! those of a code.

use std::sync::Arc;

use super::Outcome;
use super::answer::{Answer, Refused};
use super::message::{Message, check};
use super::secret::{Customer, inner};
use crate::book::agreements::{CONFIRM, Confirmed, ENDED, ONE_TIME_CODE, TOKEN};
use crate::book::entries::Entry;
use crate::book::{Asked, BookError, Key, NetworkName, Payment};
use crate::details::Details;
use crate::message::State;
use crate::sandbox::{After, Before, Sandbox, after, before, digits, is_right_code};

/// A card whose token is not deleted when that is asked for the first time.
const DELETE_LOST: &str = "9023";
/// This one is, and nobody is told.
const DELETE_UNTOLD: &str = "9024";

fn key(message: &Message) -> Key {
    Key::order(NetworkName::UnionPay, message.text("merId"), message.text("orderId"))
}

/// The merchant's `trId`, which every message names that names a token or asks for one.
fn requestor(sandbox: &Sandbox, message: &Message) -> Result<String, Refused> {
    message.require(&["tokenPayData", "channelType"])?;
    let networks = sandbox.networks();
    let merchant = networks.value.union.as_ref().and_then(|union| union.merchants.get(message.text("merId")));
    let requestor = merchant.and_then(|merchant| merchant.token_requestor.clone());
    let requestor = requestor.ok_or_else(|| Refused::new("32", "商户无此交易权限"))?;
    let is_its = inner(message.text("tokenPayData"), "trId") == Some(requestor.as_str());
    check(&[("tokenPayData", is_its), ("bizType", message.text("bizType") == "000902")])?;
    Ok(requestor)
}

fn customer(sandbox: &Sandbox, message: &Message) -> Result<Customer, Refused> {
    requestor(sandbox, message)?;
    let networks = sandbox.networks();
    let union = networks.value.union.as_ref().ok_or_else(Refused::busy)?;
    Customer::read(union, message)
}

/// The token that a payment names.
pub(super) fn named(sandbox: &Sandbox, message: &Message) -> Result<String, Refused> {
    requestor(sandbox, message)?;
    let token =
        inner(message.text("tokenPayData"), "token").ok_or_else(|| Refused::format("tokenPayData"))?;
    let is_token = sandbox.book.is_token(NetworkName::UnionPay, message.text("merId"), token);
    if is_token { Ok(token.to_owned()) } else { Err(Refused::not_opened()) }
}

/// An agreement that a message names by its order and time.
async fn signed(sandbox: &Sandbox, message: &Message) -> Result<Payment, Refused> {
    let unknown = || Refused::new("34", "查无此交易");
    let key = key(message);
    match sandbox.book.lapse(&key).await {
        Ok(()) | Err(BookError::NotFound) => {}
        Err(error) => return Err(error.into()),
    }
    let found = match sandbox.book.find(&key).await {
        Err(BookError::NotFound) => return Err(unknown()),
        found => found?.payment,
    };
    let is_it = found.asked == Asked::Sign && found.details.text("txnTime") == message.text("txnTime");
    if is_it { Ok(found) } else { Err(unknown()) }
}

/// 77: sends a code.
pub(super) async fn send_code(sandbox: &Arc<Sandbox>, message: &Message) -> Result<Outcome, Refused> {
    let customer = customer(sandbox, message)?;
    let fault = digits(&customer.account);
    match before(fault) {
        Before::Go => {}
        Before::Silence => return Ok(Outcome::Silence),
        Before::ServerError => return Err(Refused::new("99", "通用错误")),
        Before::Decline => return Err(Refused::new("61", "输入的卡号无效，请确认后输入")),
    }
    let _place = sandbox.place().ok_or_else(Refused::busy)?;
    let details = Details::default()
        .with("txnTime", message.text("txnTime"))
        .with("account", &customer.account)
        .with("phone", &customer.phone)
        .with(CONFIRM, ONE_TIME_CODE);
    let taken = sandbox.book.enter(Entry {
        network: NetworkName::UnionPay,
        participant: message.text("merId").to_owned(),
        number: message.text("orderId").to_owned(),
        asked: Asked::Sign,
        amount_minor: 0,
        details,
        decided: (State::Processing, None),
    });
    if taken.await?.differs {
        return Err(Refused::new("12", "重复交易"));
    }
    Ok(Outcome::Answer(Answer::success(message), after(fault)))
}

/// 79: opens the card, with the code.
pub(super) async fn open(sandbox: &Arc<Sandbox>, message: &Message) -> Result<Outcome, Refused> {
    let customer = customer(sandbox, message)?;
    let known = signed(sandbox, message).await?;
    let details = &known.details;
    if (details.text("account"), details.text("phone")) != (&customer.account, &customer.phone) {
        return Err(Refused::new("66", "持卡人身份信息或手机号输入不正确，验证失败"));
    }
    if customer.name.is_empty() {
        return Err(Refused::new("66", "持卡人身份信息或手机号输入不正确，验证失败"));
    }
    let fault = digits(&customer.code);
    match before(fault) {
        Before::Silence => return Ok(Outcome::Silence),
        Before::ServerError => return Err(Refused::new("99", "通用错误")),
        Before::Go | Before::Decline => {}
    }
    let told = match sandbox.book.confirm(&known.key(), is_right_code(&customer.code)).await? {
        Confirmed::Wrong => Err(Refused::new("71", "动态口令或短信验证码校验失败")),
        Confirmed::Told(now, _) => match (now.state, now.code.as_deref()) {
            (State::Succeeded, _) if now.details.get(ENDED).is_none() => {
                Ok(with_token(sandbox, message, &now))
            }
            (State::Declined, Some("NotConfirmed")) => Err(Refused::new("67", "密码输入次数超限")),
            (State::Declined, _) => Err(Refused::new("69", "您的输入超时，交易失败")),
            _ => Err(Refused::not_opened()),
        },
    };
    match (told, after(fault)) {
        (Ok(answer), after) => Ok(Outcome::Answer(answer, after)),
        (Err(_), After::Silence) => Ok(Outcome::Silence),
        (Err(refused), _) => Err(refused),
    }
}

/// 78: is the card open by this order?
pub(super) async fn opened(sandbox: &Arc<Sandbox>, message: &Message) -> Result<Outcome, Refused> {
    let known = signed(sandbox, message).await?;
    if known.state != State::Succeeded || known.details.get(ENDED).is_some() {
        return Err(Refused::not_opened());
    }
    Ok(with_token(sandbox, message, &known).into())
}

/// 74: deletes a token.
pub(super) async fn delete(sandbox: &Arc<Sandbox>, message: &Message) -> Result<Outcome, Refused> {
    requestor(sandbox, message)?;
    let token =
        inner(message.text("tokenPayData"), "token").ok_or_else(|| Refused::format("tokenPayData"))?;
    let key = sandbox.book.of_token(NetworkName::UnionPay, message.text("merId"), token);
    let key = key.ok_or_else(Refused::not_opened)?;
    let (card, times) = sandbox.book.asked_again(&key, "account");
    let is_lost = |fault: &str| times == 1 && card.ends_with(fault);
    if is_lost(DELETE_LOST) {
        return Ok(Outcome::Silence);
    }
    sandbox.book.end_signed(&key).await?;
    if is_lost(DELETE_UNTOLD) {
        return Ok(Outcome::Silence);
    }
    Ok(Answer::success(message).into())
}

fn with_token(sandbox: &Sandbox, message: &Message, signed: &Payment) -> Answer {
    let networks = sandbox.networks();
    let merchant = networks.value.union.as_ref().and_then(|union| union.merchants.get(message.text("merId")));
    let requestor = merchant.and_then(|merchant| merchant.token_requestor.as_deref()).unwrap_or_default();
    let token = signed.details.text(TOKEN);
    let data = format!(
        "{{token={token}&trId={requestor}&tokenLevel=80&tokenBegin=20260101000000&tokenEnd=20361231235959&tokenType=01}}"
    );
    Answer::success(message).with("tokenPayData", &data)
}
