//! Trades are made, closed and cancelled.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Outcome;
use super::answer::{Answer, Refused};
use super::biz::Biz;
use super::request::Call;
use crate::book::orders::{CREATED, Order, Taken};
use crate::book::refunds::{Amount, Refund, RefundError};
use crate::book::{BookError, Key, NetworkName, Payment};
use crate::details::Details;
use crate::message::State;
use crate::sandbox::{Before, EXPIRES, Sandbox, after, before, is_expired, is_https};
use crate::{ids, payer};

/// The number of the refund that a cancellation makes; merchants cannot send it.
const CANCELLATION: &str = "cancel:";

pub(super) async fn precreate(sandbox: &Arc<Sandbox>, call: &Call) -> Result<Outcome, Refused> {
    let biz = Biz::read(&call.biz_content)?;
    let number = Biz::required("out_trade_no", biz.number("out_trade_no")?)?;
    let amount = biz.amount("total_amount")?;
    let subject = Biz::required("subject", biz.text("subject", 256)?)?;
    if subject.contains(['/', '=', '&']) {
        return Err(Answer::parameter("subject").into());
    }
    let url = call.notify_url.as_deref();
    if url.is_some_and(|url| !is_https(url, 256)) {
        return Err(Answer::parameter("notify_url").into());
    }
    let asked = Details::default()
        .with("app_id", &call.app_id)
        .with("subject", &subject)
        .with_some("body", biz.text("body", 128)?.as_deref())
        .with_some("timeout_express", biz.text("timeout_express", 6)?.as_deref())
        .with_some("time_expire", biz.text("time_expire", 32)?.as_deref())
        .with_some("notify_url", url);
    let expires = biz.expires()?;
    match before(amount) {
        Before::Go => {}
        Before::Silence => return Ok(Outcome::Silence),
        Before::ServerError => return Err(Answer::system_error().into()),
        Before::Decline => return Err(Answer::business("ACQ.TOTAL_FEE_EXCEED", "订单总金额超过限额").into()),
    }
    let _place = sandbox.place().ok_or_else(Answer::system_error)?;
    let made = Details::default()
        .with("trade_no", &ids::alipay_trade())
        .with("qr", &format!("bax0{:x}", ids::unique()))
        .with("seller_id", &call.seller_id)
        .with(EXPIRES, &expires.to_string());
    let order = Order {
        network: NetworkName::Alipay,
        merchant: call.app_id.clone(),
        number,
        method: "FACE_TO_FACE_PAYMENT",
        amount_minor: amount,
        asked,
        made,
    };
    let taken = sandbox.book.order(order).await?;
    match taken.payment.state {
        State::Succeeded => return Err(Answer::business("ACQ.TRADE_HAS_SUCCESS", "交易已被支付").into()),
        State::Declined => return Err(Answer::business("ACQ.TRADE_HAS_CLOSE", "交易已经关闭").into()),
        State::Processing if taken.differs => {
            return Err(Answer::business("ACQ.CONTEXT_INCONSISTENT", "交易信息被篡改").into());
        }
        State::Processing => {}
    }
    let answer = Answer::success()
        .with("out_trade_no", &taken.payment.number)
        .with("qr_code", &format!("https://qr.alipay.com/{}", taken.payment.details.text("qr")));
    if taken.new {
        payer::expect_payment(sandbox, taken.payment);
    }
    Ok(Outcome::Answer(answer, after(amount)))
}

/// Finds a trade by either number.
pub(super) async fn find(sandbox: &Sandbox, call: &Call, biz: &Biz) -> Result<Option<Taken>, Refused> {
    let (number, id) = (biz.text("out_trade_no", 64)?, biz.text("trade_no", 64)?);
    let by_id = id.as_ref().map(|id| sandbox.book.key_of_id(NetworkName::Alipay, &call.app_id, id));
    let key = match (by_id, number) {
        // The network's number comes first where both are there.
        (Some(key), _) => key,
        (None, Some(number)) => Some(Key::order(NetworkName::Alipay, &call.app_id, &number)),
        (None, None) => return Err(Answer::parameter("out_trade_no").into()),
    };
    let Some(key) = key else { return Ok(None) };
    match sandbox.book.find(&key).await {
        Err(BookError::NotFound) => Ok(None),
        found => Ok(Some(found?)),
    }
}

/// Has the payer scanned it? Before that the trade does not exist for anyone.
/// A payer scans when most would pay, also one who pays late or never.
pub(super) fn is_scanned(sandbox: &Sandbox, payment: &Payment) -> bool {
    if payment.state == State::Succeeded {
        return true;
    }
    let created: Option<Timestamp> = payment.details.text(CREATED).parse().ok();
    // What was closed before it was scanned never comes to be.
    let until = if payment.state == State::Declined { payment.network_time } else { Timestamp::now() };
    let age = created.and_then(|created| Duration::try_from(until.duration_since(created)).ok());
    age.is_some_and(|age| age >= sandbox.payer_after)
}

pub(super) async fn close(sandbox: &Arc<Sandbox>, call: &Call) -> Result<Outcome, Refused> {
    let biz = Biz::read(&call.biz_content)?;
    let found = find(sandbox, call, &biz).await?.ok_or_else(Answer::no_trade)?;
    if !is_scanned(sandbox, &found.payment) {
        return Err(Answer::no_trade().into());
    }
    let closed = match is_expired(&found.payment) {
        true => None,
        false => sandbox.book.close_order(&found.payment.key()).await?,
    };
    let closed = closed.ok_or_else(|| Answer::business("ACQ.TRADE_STATUS_ERROR", "交易状态不合法"))?;
    let answer = Answer::success()
        .with("out_trade_no", &closed.number)
        .with("trade_no", closed.details.text("trade_no"));
    payer::expect_contradiction(sandbox, closed);
    Ok(answer.into())
}

/// Takes a trade back: unpaid ones take no money any more, paid ones give it back.
pub(super) async fn cancel(sandbox: &Arc<Sandbox>, call: &Call) -> Result<Outcome, Refused> {
    let biz = Biz::read(&call.biz_content)?;
    let Some(found) = find(sandbox, call, &biz).await? else {
        let answer = Answer::success().with("retry_flag", "N");
        let number = biz.text("out_trade_no", 64)?.unwrap_or_default();
        return Ok(answer.with("out_trade_no", &number).into());
    };
    let payment = found.payment;
    let action = match sandbox.book.close_order(&payment.key()).await? {
        Some(_) => "close",
        None => give_back(sandbox, &payment).await?,
    };
    Ok(Answer::success()
        .with("out_trade_no", &payment.number)
        .with("trade_no", payment.details.text("trade_no"))
        .with("retry_flag", "N")
        .with("action", action)
        .into())
}

async fn give_back(sandbox: &Sandbox, payment: &Payment) -> Result<&'static str, Refused> {
    let refund = Refund {
        network: NetworkName::Alipay,
        merchant: payment.merchant_id.clone(),
        number: format!("{CANCELLATION}{}", payment.number),
        original: payment.number.clone(),
        amount: Amount::Rest,
        state: State::Succeeded,
        asked: Details::default(),
        made: Details::default().with("app_id", payment.details.text("app_id")),
    };
    match sandbox.book.refund_order(refund).await {
        // Where nothing is left it was given back before.
        Ok(_) | Err(RefundError::Exceeds) => Ok("refund"),
        // It was closed before.
        Err(RefundError::NotPaid { .. } | RefundError::NoOriginal) => Ok("close"),
        Err(RefundError::Book { source }) => Err(source.into()),
    }
}
