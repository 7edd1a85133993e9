//! Refunds in parts, and undoing a whole payment.

use std::sync::Arc;

use super::answer::{Answer, Refused};
use super::message::Message;
use super::{Outcome, notice, order};
use crate::book::refunds::{Amount, Refund, RefundError};
use crate::book::{Asked, BookError, NetworkName, Payment};
use crate::details::Details;
use crate::message::State;
use crate::sandbox::{Before, Sandbox, after, before};
use crate::{ids, payer, script};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Refund,
    Undo,
}

pub(super) async fn make(sandbox: &Arc<Sandbox>, message: &Message, kind: Kind) -> Result<Outcome, Refused> {
    let amount = message.verify_money()?;
    message.require(&["origQryId"])?;
    match before(amount) {
        Before::Go => {}
        Before::Silence => return Ok(Outcome::Silence),
        Before::ServerError => return Err(Refused::busy()),
        Before::Decline => return Err(Refused::new("30", "交易未通过，请尝试使用其他银联卡支付或联系95516")),
    }
    let _place = sandbox.place().ok_or_else(Refused::busy)?;
    let original = original(sandbox, message).await?;
    let refund = build_refund(message, kind, amount, &original);
    let taken = match sandbox.book.refund_order(refund).await {
        Ok(taken) if taken.new => taken,
        Ok(_) => return Err(Refused::new("12", "重复交易")),
        Err(RefundError::NoOriginal | RefundError::NotPaid { .. }) => return Err(no_original()),
        Err(RefundError::Exceeds) => return Err(Refused::new("36", "与原交易信息不符")),
        Err(RefundError::Book { source }) => return Err(source.into()),
    };
    let answer = Answer::success(message)
        .with("origQryId", message.text("origQryId"))
        .with("queryId", taken.payment.details.text("queryId"));
    payer::expect_refund(sandbox, taken.payment);
    Ok(Outcome::Answer(answer, after(amount)))
}

fn no_original() -> Refused {
    Refused::new("35", "原交易不存在或状态不正确")
}

async fn original(sandbox: &Sandbox, message: &Message) -> Result<Payment, Refused> {
    let merchant = message.text("merId");
    let key = sandbox.book.key_of_id(NetworkName::UnionPay, merchant, message.text("origQryId"));
    match sandbox.book.find(&key.ok_or_else(no_original)?).await {
        Ok(found) if matches!(found.payment.asked, Asked::Pay { .. }) => Ok(found.payment),
        Ok(_) | Err(BookError::NotFound) => Err(no_original()),
        Err(error) => Err(error.into()),
    }
}

fn build_refund(message: &Message, kind: Kind, amount: i64, original: &Payment) -> Refund {
    let takes = script::refund_takes(amount);
    let mut made =
        Details::default().with("queryId", &ids::union_query()).with("origQryId", message.text("origQryId"));
    if takes.is_none() {
        made.extend(&notice::traced(made.text("queryId")));
    }
    Refund {
        network: NetworkName::UnionPay,
        merchant: message.text("merId").to_owned(),
        number: message.text("orderId").to_owned(),
        original: original.number.clone(),
        amount: if kind == Kind::Undo { Amount::Whole(amount) } else { Amount::Minor(amount) },
        state: if takes.is_some() { State::Processing } else { State::Succeeded },
        asked: order::kept(message),
        made,
    }
}
