//! Orders: a QR code for the payer's wallet, a transaction number for an app, or a card that was
//! opened, by its token.

use std::sync::Arc;

use jiff::Timestamp;

use super::Outcome;
use super::answer::{Answer, Refused};
use super::message::Message;
use super::token;
use crate::book::NetworkName;
use crate::book::agreements::PAYER;
use crate::book::orders::Order;
use crate::details::Details;
use crate::sandbox::{Before, EXPIRES, Sandbox, after, before};
use crate::{beijing, ids, payer};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Qr,
    App,
    Token,
}

impl Kind {
    /// `bizType`, and the method in the record.
    fn business(self) -> (&'static str, &'static str) {
        match self {
            Self::Qr => ("000000", "qr"),
            Self::App => ("000201", "app"),
            Self::Token => ("000902", "token"),
        }
    }
}

/// What is kept of a message for notifications and queries.
pub(super) fn kept(message: &Message) -> Details {
    let names = [
        "signMethod",
        "txnType",
        "txnSubType",
        "txnTime",
        "bizType",
        "channelType",
        "backUrl",
        "encoding",
        "reqReserved",
        "payTimeout",
    ];
    names.into_iter().fold(Details::default(), |details, name| {
        details.with_some(name, message.0.get(name).map(String::as_str))
    })
}

pub(super) async fn make(sandbox: &Arc<Sandbox>, message: &Message, kind: Kind) -> Result<Outcome, Refused> {
    let amount = message.verify_money()?;
    message.require(&["currencyCode"])?;
    let (business, method) = kind.business();
    if message.text("bizType") != business {
        return Err(Refused::format("bizType"));
    }
    let expires = match message.text("payTimeout") {
        "" => None,
        text => Some(beijing::read_compact(text).ok_or_else(|| Refused::format("payTimeout"))?),
    };
    if expires.is_some_and(|until| until <= Timestamp::now()) {
        return Err(Refused::new("39", "交易不在受理时间范围内"));
    }
    let token = if kind == Kind::Token { Some(token::named(sandbox, message)?) } else { None };
    match before(amount) {
        Before::Go => {}
        Before::Silence => return Ok(Outcome::Silence),
        Before::ServerError => return Err(Refused::busy()),
        Before::Decline => return Err(Refused::new("30", "交易未通过，请尝试使用其他银联卡支付或联系95516")),
    }
    let _place = sandbox.place().ok_or_else(Refused::busy)?;
    let id = ids::union_query();
    let expires = expires.map(|until| until.to_string());
    let made = Details::default()
        .with("queryId", &id)
        .with("tn", &ids::union_query())
        .with_some(EXPIRES, expires.as_deref());
    let order = Order {
        network: NetworkName::UnionPay,
        merchant: message.text("merId").to_owned(),
        number: message.text("orderId").to_owned(),
        method,
        amount_minor: amount,
        asked: kept(message).with_some(PAYER, token.as_deref()),
        made,
    };
    let taken = sandbox.book.order(order).await?;
    if !taken.new {
        return Err(Refused::new("12", "重复交易"));
    }
    let answer = Answer::success(message);
    let answer = match kind {
        Kind::Qr => answer.with("qrCode", &format!("https://qr.95516.com/00010000/{id}")),
        Kind::App => answer.with("tn", taken.payment.details.text("tn")),
        Kind::Token => answer.with("queryId", &id),
    };
    payer::expect_payment(sandbox, taken.payment);
    Ok(Outcome::Answer(answer, after(amount)))
}
