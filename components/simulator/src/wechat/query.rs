//! What became of an order, and its closing.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refused};
use super::body::{is_number, read};
use super::{Caller, Outcome};
use crate::book::orders::Taken;
use crate::book::{BookError, Key, NetworkName, Payment};
use crate::message::State;
use crate::sandbox::Sandbox;
use crate::{beijing, payer};

pub(super) async fn by_number(
    sandbox: &Arc<Sandbox>,
    caller: &Caller<'_>,
    number: &str,
    query: &str,
) -> Result<Outcome, Refused> {
    check_mchid(caller, query)?;
    if !is_number(number, 6..=32, b"_-|*") {
        return Err(Answer::parameter("out_trade_no", "的值不符合要求").into());
    }
    let found = find(sandbox, &Key::order(NetworkName::WechatPay, &caller.mchid, number)).await?;
    Ok(Answer::ok(&transaction(&found.payment, found.refunded_minor)).into())
}

pub(super) async fn by_id(
    sandbox: &Arc<Sandbox>,
    caller: &Caller<'_>,
    id: &str,
    query: &str,
) -> Result<Outcome, Refused> {
    check_mchid(caller, query)?;
    let key = sandbox.book.key_of_id(NetworkName::WechatPay, &caller.mchid, id);
    let found = find(sandbox, &key.ok_or_else(Answer::no_order)?).await?;
    // Nobody has heard of the id of one that is not paid.
    if found.payment.state != State::Succeeded {
        return Err(Answer::no_order().into());
    }
    Ok(Answer::ok(&transaction(&found.payment, found.refunded_minor)).into())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Close {
    mchid: String,
}

pub(super) async fn close(
    sandbox: &Arc<Sandbox>,
    caller: &Caller<'_>,
    number: &str,
    body: &[u8],
) -> Result<Outcome, Refused> {
    let body: Close = read(body)?;
    if body.mchid != caller.mchid {
        let message = "Http头中的mchid与请求体中的mchid不匹配";
        return Err(Answer::invalid(StatusCode::BAD_REQUEST, message).into());
    }
    let key = Key::order(NetworkName::WechatPay, &caller.mchid, number);
    match sandbox.book.close_order(&key).await {
        Ok(Some(closed)) => {
            payer::expect_contradiction(sandbox, closed);
            return Ok(Answer::no_content().into());
        }
        Ok(None) => {}
        Err(BookError::NotFound) => return Err(Answer::no_order().into()),
        Err(error) => return Err(error.into()),
    }
    let ended = find(sandbox, &key).await?;
    Err(match ended.payment.state {
        State::Succeeded => Answer::order_paid(),
        _ => Answer::order_closed(),
    }
    .into())
}

pub(super) async fn find(sandbox: &Sandbox, key: &Key) -> Result<Taken, Refused> {
    match sandbox.book.find(key).await {
        Err(BookError::NotFound) => Err(Answer::no_order().into()),
        found => Ok(found?),
    }
}

fn check_mchid(caller: &Caller<'_>, query: &str) -> Result<(), Answer> {
    let fields = crate::form::read(query.as_bytes()).unwrap_or_default();
    match fields.get("mchid") {
        Some(mchid) if *mchid == caller.mchid => Ok(()),
        Some(_) => Err(Answer::invalid(StatusCode::BAD_REQUEST, "Http头中的mchid与请求参数中的mchid不匹配")),
        None => Err(Answer::parameter("mchid", "不能为空")),
    }
}

/// A transaction as queries and notifications tell it.
pub(super) fn transaction(payment: &Payment, refunded_minor: i64) -> Value {
    let details = &payment.details;
    let (state, text) = match payment.state {
        State::Processing => ("NOTPAY", "订单未支付"),
        State::Declined => ("CLOSED", "订单已关闭"),
        State::Succeeded if refunded_minor > 0 => ("REFUND", "订单发生过退款，退款详情请查询退款单"),
        State::Succeeded => ("SUCCESS", "支付成功"),
    };
    let mut amount = json!({"total": payment.amount_minor, "currency": "CNY", "payer_currency": "CNY"});
    let mut told = json!({
        "appid": details.text("appid"),
        "mchid": payment.merchant_id,
        "out_trade_no": payment.number,
        "trade_state": state,
        "trade_state_desc": text,
        "attach": details.text("attach"),
        "promotion_detail": [],
    });
    if payment.state == State::Succeeded {
        set(&mut amount, "payer_total", payment.amount_minor.into());
        let paid = [
            ("transaction_id", details.text("transaction_id").into()),
            ("trade_type", details.text("trade_type").into()),
            ("bank_type", details.text("bank_type").into()),
            ("success_time", beijing::rfc3339(payment.network_time).into()),
            ("payer", json!({"openid": details.text("openid")})),
        ];
        for (name, value) in paid {
            set(&mut told, name, value);
        }
    }
    set(&mut told, "amount", amount);
    told
}

pub(super) fn set(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}
