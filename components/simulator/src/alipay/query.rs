//! What became of a trade.

use std::sync::Arc;

use super::Outcome;
use super::answer::{Answer, Refused};
use super::biz::{Biz, yuan};
use super::request::Call;
use super::trade::{find, is_scanned};
use crate::beijing;
use crate::book::Payment;
use crate::message::State;
use crate::sandbox::{Sandbox, is_expired};

/// A payer of this sandbox.
pub(super) const BUYER: [(&str, &str); 2] =
    [("buyer_logon_id", "159****5620"), ("buyer_user_id", "2088101117955611")];

pub(super) async fn query(sandbox: &Arc<Sandbox>, call: &Call) -> Result<Outcome, Refused> {
    let biz = Biz::read(&call.biz_content)?;
    let number = biz.text("out_trade_no", 64)?.unwrap_or_default();
    let found = find(sandbox, call, &biz).await?;
    let Some(found) = found.filter(|found| is_scanned(sandbox, &found.payment)) else {
        let answer = ["buyer_pay_amount", "invoice_amount", "point_amount", "receipt_amount"]
            .into_iter()
            .fold(Answer::no_trade(), |answer, name| answer.with(name, "0.00"));
        return Err(answer.with("out_trade_no", &number).into());
    };
    Ok(told(&found.payment, found.refunded_minor).into())
}

/// The trade's state in the network's words.
pub(super) fn status(payment: &Payment, refunded_minor: i64) -> &'static str {
    match payment.state {
        State::Processing if is_expired(payment) => "TRADE_CLOSED",
        State::Processing => "WAIT_BUYER_PAY",
        State::Declined => "TRADE_CLOSED",
        State::Succeeded if refunded_minor >= payment.amount_minor => "TRADE_CLOSED",
        State::Succeeded => "TRADE_SUCCESS",
    }
}

fn told(payment: &Payment, refunded_minor: i64) -> Answer {
    let amount = yuan(payment.amount_minor);
    let paid = if payment.state == State::Succeeded { amount.as_str() } else { "0.00" };
    let answer = Answer::success()
        .with("out_trade_no", &payment.number)
        .with("trade_no", payment.details.text("trade_no"))
        .with("trade_status", status(payment, refunded_minor))
        .with("total_amount", &amount)
        .with("buyer_pay_amount", paid)
        .with("receipt_amount", paid)
        .with("invoice_amount", paid)
        .with("point_amount", "0.00");
    let answer = BUYER.into_iter().fold(answer, |answer, (name, value)| answer.with(name, value));
    match payment.state {
        State::Succeeded => answer.with("send_pay_date", &beijing::spaced(payment.network_time)),
        _ => answer,
    }
}
