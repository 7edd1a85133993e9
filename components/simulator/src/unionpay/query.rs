//! What became of a transaction, by its order number and time.

use std::sync::Arc;

use super::answer::{Answer, Refused, told};
use super::message::Message;
use super::{Outcome, notice};
use crate::book::{BookError, Key, NetworkName};
use crate::message::State;
use crate::sandbox::{After, Sandbox, is_expired};

pub(super) async fn query(sandbox: &Arc<Sandbox>, message: &Message) -> Result<Outcome, Refused> {
    let key = Key::order(NetworkName::UnionPay, message.text("merId"), message.text("orderId"));
    let unknown = || Refused::new("34", "查无此交易");
    let payment = match sandbox.book.find(&key).await {
        Err(BookError::NotFound) => return Err(unknown()),
        found => found?.payment,
    };
    if payment.details.text("txnTime") != message.text("txnTime") {
        return Err(unknown());
    }
    let (code, text) = match payment.state {
        State::Succeeded => ("00", "成功"),
        // Nobody can pay it any more.
        State::Processing if is_expired(&payment) => ("01", "交易失败"),
        State::Processing => ("05", "交易已受理，请稍后查询交易结果"),
        State::Declined => ("01", "交易失败"),
    };
    let answer = Answer::success(message)
        .with("origRespCode", code)
        .with("origRespMsg", &told(code, text))
        .with("txnType", payment.details.text("txnType"))
        .with("txnSubType", payment.details.text("txnSubType"))
        .with("txnAmt", &payment.amount_minor.to_string())
        .with("currencyCode", "156")
        .with("issuerIdentifyMode", "0");
    let answer = match payment.details.get("origQryId") {
        Some(id) => answer.with("origQryId", id),
        None => answer,
    };
    let answer = match payment.state {
        State::Succeeded => {
            let settled = notice::settled(&payment);
            settled.iter().fold(answer, |answer, (name, value)| answer.with(name, value))
        }
        _ => answer.with("settleAmt", "0"),
    };
    Ok(Outcome::Answer(answer, After::Answer))
}
