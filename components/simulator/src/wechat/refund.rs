//! Refunds of paid orders, in parts and never more than was paid.

use std::sync::Arc;

use http::StatusCode;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Refused};
use super::body::{Ignored, is_number, read};
use super::query::{find, set};
use super::{Caller, Outcome};
use crate::book::orders::{CREATED, Taken};
use crate::book::refunds::{Amount, Refund, RefundError};
use crate::book::{Asked, BookError, Key, NetworkName, Payment};
use crate::details::Details;
use crate::message::State;
use crate::sandbox::{Before, Sandbox, after, before, is_https};
use crate::{beijing, ids, payer, script};

pub(super) const SCOPE: &str = "refund";

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Body {
    transaction_id: Option<String>,
    out_trade_no: Option<String>,
    out_refund_no: String,
    reason: Option<String>,
    notify_url: Option<String>,
    amount: Sum,
    #[serde(default)]
    funds_account: Option<String>,
    #[serde(default)]
    goods_detail: Option<Ignored>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sum {
    refund: i64,
    total: i64,
    currency: String,
    #[serde(default)]
    from: Option<Ignored>,
}

impl Body {
    pub(super) fn check(&self) -> Result<(), Answer> {
        let one = self.transaction_id.is_some() != self.out_trade_no.is_some();
        let text = |text: &String| (1..=80).contains(&text.chars().count());
        let fields = [
            ("/out_trade_no", one),
            ("/out_refund_no", is_number(&self.out_refund_no, 1..=64, b"_-|*@")),
            ("/reason", self.reason.as_ref().is_none_or(text)),
            (
                "/notify_url",
                self.notify_url.as_ref().is_none_or(|url| is_https(url, 256) && !url.contains('?')),
            ),
            ("/funds_account", self.funds_account.as_ref().is_none_or(|account| account == "AVAILABLE")),
            ("/amount/refund", self.amount.refund >= 1 && self.amount.refund <= self.amount.total),
            ("/amount/currency", self.amount.currency == "CNY"),
        ];
        match fields.iter().find(|(_, good)| !good) {
            Some((field, _)) => Err(Answer::parameter(field, "的值不符合要求")),
            None => Ok(()),
        }
    }
}

fn invalid(message: &str) -> Refused {
    Answer::invalid(StatusCode::BAD_REQUEST, message).into()
}

fn no_resource(message: &str) -> Refused {
    Answer::refuse(StatusCode::NOT_FOUND, "RESOURCE_NOT_EXISTS", message).into()
}

pub(super) async fn make(
    sandbox: &Arc<Sandbox>,
    caller: &Caller<'_>,
    body: &[u8],
) -> Result<Outcome, Refused> {
    let body: Body = read(body)?;
    body.check()?;
    let amount = body.amount.refund;
    match before(amount) {
        Before::Go => {}
        Before::Silence => return Ok(Outcome::Silence),
        Before::ServerError => return Err(Answer::system_error().into()),
        Before::Decline => {
            let message = "退款请求失败，用户账户异常";
            return Err(Answer::refuse(StatusCode::FORBIDDEN, "USER_ACCOUNT_ABNORMAL", message).into());
        }
    }
    let _place = sandbox.place().ok_or_else(Answer::busy)?;
    let original = original(sandbox, caller, &body).await?;
    if original.payment.amount_minor != body.amount.total {
        return Err(invalid("订单金额或退款金额与之前请求不一致，请核实后再试"));
    }
    let taken = sandbox.book.refund_order(build_refund(caller, &body, &original.payment)).await;
    let taken = match taken {
        Ok(taken) if taken.differs => {
            return Err(invalid("订单金额或退款金额与之前请求不一致，请核实后再试"));
        }
        Ok(taken) => taken,
        Err(RefundError::NoOriginal | RefundError::NotPaid { .. }) => return Err(no_resource("订单不存在")),
        Err(RefundError::Exceeds) => return Err(invalid("申请退款金额超过订单可退金额")),
        Err(RefundError::Book { source }) => return Err(source.into()),
    };
    let answer = Answer::ok(&told(&taken.payment, &original.payment));
    if taken.new {
        payer::expect_refund(sandbox, taken.payment);
    }
    Ok(Outcome::Answer(answer, after(amount)))
}

async fn original(sandbox: &Sandbox, caller: &Caller<'_>, body: &Body) -> Result<Taken, Refused> {
    let key = match (&body.out_trade_no, &body.transaction_id) {
        (Some(number), _) => Some(Key::order(NetworkName::WechatPay, &caller.mchid, number)),
        (None, Some(id)) => sandbox.book.key_of_id(NetworkName::WechatPay, &caller.mchid, id),
        (None, None) => None,
    };
    match sandbox.book.find(&key.ok_or_else(|| no_resource("订单不存在"))?).await {
        Ok(found) if found.payment.state == State::Succeeded => Ok(found),
        Ok(_) | Err(BookError::NotFound) => Err(no_resource("订单不存在")),
        Err(error) => Err(error.into()),
    }
}

fn build_refund(caller: &Caller<'_>, body: &Body, original: &Payment) -> Refund {
    let made = Details::default()
        .with("refund_id", &ids::wechat_refund())
        .with("original_transaction_id", original.details.text("transaction_id"))
        .with("original_total", &original.amount_minor.to_string())
        .with("appid", original.details.text("appid"))
        .with("user_received_account", "支付用户零钱");
    let takes = script::refund_takes(body.amount.refund);
    Refund {
        network: NetworkName::WechatPay,
        merchant: caller.mchid.clone(),
        number: body.out_refund_no.clone(),
        original: original.number.clone(),
        amount: Amount::Minor(body.amount.refund),
        state: if takes.is_some() { State::Processing } else { State::Succeeded },
        asked: Details::default()
            .with_some("reason", body.reason.as_deref())
            .with_some("notify_url", body.notify_url.as_deref()),
        made,
    }
}

pub(super) async fn query(
    sandbox: &Arc<Sandbox>,
    caller: &Caller<'_>,
    number: &str,
) -> Result<Outcome, Refused> {
    let key = Key::refund(NetworkName::WechatPay, &caller.mchid, SCOPE, number);
    let refund = match sandbox.book.find(&key).await {
        Err(BookError::NotFound) => return Err(no_resource("退款单不存在")),
        found => found?.payment,
    };
    let Asked::Refund { original_number } = &refund.asked else {
        return Err(no_resource("退款单不存在"));
    };
    let original = find(sandbox, &Key::order(NetworkName::WechatPay, &caller.mchid, original_number)).await?;
    Ok(Answer::ok(&told(&refund, &original.payment)).into())
}

/// A refund as answers tell it.
fn told(refund: &Payment, original: &Payment) -> Value {
    let (total, amount) = (original.amount_minor, refund.amount_minor);
    let created: Option<Timestamp> = refund.details.text(CREATED).parse().ok();
    let mut told = json!({
        "refund_id": refund.details.text("refund_id"),
        "out_refund_no": refund.number,
        "transaction_id": original.details.text("transaction_id"),
        "out_trade_no": original.number,
        "channel": "ORIGINAL",
        "user_received_account": refund.details.text("user_received_account"),
        "create_time": beijing::rfc3339(created.unwrap_or(refund.network_time)),
        "status": "PROCESSING",
        "funds_account": "AVAILABLE",
        "amount": {
            "total": total, "refund": amount, "from": [],
            "payer_total": total, "payer_refund": amount,
            "settlement_refund": amount, "settlement_total": total,
            "discount_refund": 0, "refund_fee": 0, "currency": "CNY",
        },
        "promotion_detail": [],
    });
    if refund.state == State::Succeeded {
        set(&mut told, "status", "SUCCESS".into());
        set(&mut told, "success_time", beijing::rfc3339(refund.network_time).into());
    }
    told
}
