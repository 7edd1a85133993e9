//! Orders: native ones give a QR code, JSAPI ones a prepaid id for the payer's
//! WeChat.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::answer::{Answer, Refused};
use super::body::{Body, Kind, read};
use super::{Caller, Outcome};
use crate::book::NetworkName;
use crate::book::orders::Order;
use crate::details::Details;
use crate::message::State;
use crate::sandbox::{Before, EXPIRES, Sandbox, after, before};
use crate::{beijing, ids, payer};

pub(super) async fn make(
    sandbox: &Arc<Sandbox>,
    caller: &Caller<'_>,
    kind: Kind,
    body: &[u8],
) -> Result<Outcome, Refused> {
    let body: Body = read(body)?;
    body.check(kind)?;
    let bad_request = http::StatusCode::BAD_REQUEST;
    if body.mchid != caller.mchid {
        return Err(Answer::invalid(bad_request, "Http头中的mchid与请求体中的mchid不匹配").into());
    }
    if !caller.merchant.appids.contains(&body.appid) {
        let message = "appid和mch_id不匹配，请检查后再试";
        return Err(Answer::refuse(bad_request, "APPID_MCHID_NOT_MATCH", message).into());
    }
    let expires = body.expires()?;
    let total = body.amount.total;
    match before(total) {
        Before::Go => {}
        Before::Silence => return Ok(Outcome::Silence),
        Before::ServerError => return Err(Answer::system_error().into()),
        Before::Decline => {
            let message = "因业务原因交易失败";
            return Err(Answer::refuse(http::StatusCode::FORBIDDEN, "TRADE_ERROR", message).into());
        }
    }
    let _place = sandbox.place().ok_or_else(Answer::busy)?;
    let expires = expires.map(|until| until.to_string());
    let made = Details::default()
        .with("transaction_id", &ids::wechat_transaction())
        .with("prepay_id", &format!("wx{}{:020x}", beijing::compact(Timestamp::now()), ids::unique()))
        .with("code", &format!("{:x}zz", ids::unique()))
        .with_some(EXPIRES, expires.as_deref());
    let order = Order {
        network: NetworkName::WechatPay,
        merchant: caller.mchid.clone(),
        number: body.out_trade_no.clone(),
        method: kind.trade_type(),
        amount_minor: total,
        asked: body.asked(kind),
        made,
    };
    let taken = sandbox.book.order(order).await?;
    match taken.payment.state {
        State::Succeeded => return Err(Answer::order_paid().into()),
        State::Declined => return Err(Answer::order_closed().into()),
        State::Processing if taken.differs => {
            let message = "商户订单号重复，请求重入时参数与首次请求时不一致";
            return Err(Answer::refuse(http::StatusCode::FORBIDDEN, "OUT_TRADE_NO_USED", message).into());
        }
        State::Processing => {}
    }
    let answer = match kind {
        Kind::Native => {
            let code = taken.payment.details.text("code");
            json!({"code_url": format!("weixin://wxpay/bizpayurl?pr={code}")})
        }
        Kind::Jsapi => json!({"prepay_id": taken.payment.details.text("prepay_id")}),
    };
    if taken.new {
        payer::expect_payment(sandbox, taken.payment);
    }
    Ok(Outcome::Answer(Answer::ok(&answer), after(total)))
}
