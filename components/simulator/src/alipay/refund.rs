//! Refunds of paid trades, in parts and never more than was paid. The answer's
//! `refund_fee` is the sum of all so far, `fund_change` says whether this call
//! moved money.

use std::sync::Arc;

use super::Outcome;
use super::answer::{Answer, Refused};
use super::biz::{Biz, yuan};
use super::query::BUYER;
use super::request::Call;
use super::trade::{find, is_scanned};
use crate::book::refunds::{Amount, Refund, RefundError};
use crate::book::{BookError, Key, NetworkName};
use crate::details::Details;
use crate::message::State;
use crate::sandbox::{Before, Sandbox, after, before};
use crate::{beijing, payer, script};

pub(super) async fn refund(sandbox: &Arc<Sandbox>, call: &Call) -> Result<Outcome, Refused> {
    let biz = Biz::read(&call.biz_content)?;
    let amount = biz.amount("refund_amount")?;
    let reason = biz.text("refund_reason", 256)?;
    let request = biz.number("out_request_no")?;
    match before(amount) {
        Before::Go => {}
        Before::Silence => return Ok(Outcome::Silence),
        Before::ServerError => return Err(Answer::system_error().into()),
        Before::Decline => {
            return Err(Answer::business("ACQ.TRADE_NOT_ALLOW_REFUND", "当前交易不允许退款").into());
        }
    }
    let _place = sandbox.place().ok_or_else(Answer::system_error)?;
    let found = find(sandbox, call, &biz).await?.filter(|found| is_scanned(sandbox, &found.payment));
    let original = found.ok_or_else(Answer::no_trade)?.payment;
    let takes = script::refund_takes(amount);
    let refund = Refund {
        network: NetworkName::Alipay,
        merchant: call.app_id.clone(),
        number: request.unwrap_or_else(|| original.number.clone()),
        original: original.number.clone(),
        amount: Amount::Minor(amount),
        state: if takes.is_some() { State::Processing } else { State::Succeeded },
        asked: Details::default().with_some("refund_reason", reason.as_deref()),
        made: Details::default().with("app_id", &call.app_id),
    };
    let taken = match sandbox.book.refund_order(refund).await {
        Ok(taken) if taken.differs => {
            return Err(Answer::business("ACQ.DISCORDANT_REPEAT_REQUEST", "请求信息不一致").into());
        }
        Ok(taken) => taken,
        Err(RefundError::NoOriginal) => return Err(Answer::no_trade().into()),
        Err(RefundError::NotPaid { .. }) => {
            return Err(Answer::business("ACQ.TRADE_STATUS_ERROR", "交易状态不合法").into());
        }
        Err(RefundError::Exceeds) => {
            return Err(Answer::business("ACQ.REFUND_AMT_NOT_EQUAL_TOTAL", "退款金额超限").into());
        }
        Err(RefundError::Book { source }) => return Err(source.into()),
    };
    let moved = taken.new && taken.payment.state == State::Succeeded;
    let answer = Answer::success()
        .with("out_trade_no", &original.number)
        .with("trade_no", original.details.text("trade_no"))
        .with("fund_change", if moved { "Y" } else { "N" })
        .with("refund_fee", &yuan(taken.refunded_minor))
        .with("send_back_fee", &yuan(taken.payment.amount_minor))
        .with("gmt_refund_pay", &beijing::spaced(taken.payment.network_time));
    let answer = BUYER.into_iter().fold(answer, |answer, (name, value)| answer.with(name, value));
    if taken.new {
        payer::expect_refund(sandbox, taken.payment);
    }
    Ok(Outcome::Answer(answer, after(amount)))
}

/// A refund that is not known is told by what is missing in the answer.
pub(super) async fn query(sandbox: &Arc<Sandbox>, call: &Call) -> Result<Outcome, Refused> {
    let biz = Biz::read(&call.biz_content)?;
    let request = Biz::required("out_request_no", biz.text("out_request_no", 64)?)?;
    let found = find(sandbox, call, &biz).await?.filter(|found| is_scanned(sandbox, &found.payment));
    let original = found.ok_or_else(Answer::no_trade)?.payment;
    let key = Key::refund(NetworkName::Alipay, &call.app_id, &original.number, &request);
    let refund = match sandbox.book.find(&key).await {
        Err(BookError::NotFound) => return Ok(Answer::success().into()),
        found => found?.payment,
    };
    let answer = Answer::success()
        .with("out_trade_no", &original.number)
        .with("trade_no", original.details.text("trade_no"))
        .with("out_request_no", &request)
        .with("total_amount", &yuan(original.amount_minor))
        .with("refund_amount", &yuan(refund.amount_minor));
    Ok(match refund.state {
        State::Succeeded => answer
            .with("refund_status", "REFUND_SUCCESS")
            .with("gmt_refund_pay", &beijing::spaced(refund.network_time))
            .into(),
        _ => answer.into(),
    })
}
