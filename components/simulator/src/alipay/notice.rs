//! Notifications of paid trades: a form, signed over all but `sign` and
//! `sign_type`. Taken by the body `success`.

use std::sync::Arc;

use jiff::Timestamp;

use super::biz::yuan;
use super::query::BUYER;
use crate::beijing;
use crate::book::orders::CREATED;
use crate::book::{Asked, NetworkName, Payment};
use crate::details::Details;
use crate::form::{self, Fields, signed_text};
use crate::ids;
use crate::notify::{Mail, Message};
use crate::sandbox::Sandbox;
use crate::script::{Notice, notices};

/// Whose notifications are well signed and yet not the merchant's.
const OTHER_APP: &str = "2021009999999999";

/// What is known once it is paid.
pub fn ended(payment: &Payment) -> Details {
    match payment.asked {
        Asked::Pay { .. } => {
            BUYER.into_iter().fold(Details::default(), |details, (name, value)| details.with(name, value))
        }
        _ => Details::default(),
    }
}

/// Refunds are not told: their callers have the answer.
pub fn mail(sandbox: &Arc<Sandbox>, payment: Payment) -> Option<Mail> {
    let url = payment.details.get("notify_url")?.to_owned();
    let steps = notices(payment.amount_minor);
    let (sandbox, id) = (sandbox.clone(), ids::random());
    Some(Mail {
        network: NetworkName::Alipay,
        url,
        notices: steps,
        accepted: |status, body| status == 200 && body == b"success",
        render: Box::new(move |notice| render(&sandbox, &payment, &id, notice)),
    })
}

fn render(sandbox: &Sandbox, payment: &Payment, id: &str, notice: Notice) -> Option<Message> {
    let networks = sandbox.networks();
    let alipay = networks.value.alipay.as_ref()?;
    let mut fields = fields(payment, id, notice);
    let text = signed_text(&fields, &["sign", "sign_type"]);
    let forged = if notice == Notice::Forged { "forged" } else { "" };
    fields.insert("sign".to_owned(), alipay.key.sign(format!("{text}{forged}").as_bytes())?);
    fields.insert("sign_type".to_owned(), "RSA2".to_owned());
    let kind = "application/x-www-form-urlencoded; charset=utf-8";
    Some(Message { headers: vec![("Content-Type", kind.to_owned())], body: form::write(&fields) })
}

fn fields(payment: &Payment, id: &str, notice: Notice) -> Fields {
    let details = &payment.details;
    let other = i64::from(notice == Notice::OtherAmount);
    let amount = yuan(payment.amount_minor.saturating_add(other));
    let app = if notice == Notice::OtherMerchant { OTHER_APP } else { details.text("app_id") };
    let created: Option<Timestamp> = details.text(CREATED).parse().ok();
    let created = beijing::spaced(created.unwrap_or(payment.network_time));
    let (paid, now) = (beijing::spaced(payment.network_time), beijing::spaced(Timestamp::now()));
    let funds = format!("[{{\"amount\":\"{amount}\",\"fundChannel\":\"ALIPAYACCOUNT\"}}]");
    let pairs = [
        ("notify_id", id),
        ("notify_type", "trade_status_sync"),
        ("notify_time", now.as_str()),
        ("charset", "utf-8"),
        ("version", "1.0"),
        ("app_id", app),
        ("auth_app_id", app),
        ("seller_id", details.text("seller_id")),
        ("seller_email", "sandbox@alipay.example"),
        ("out_trade_no", payment.number.as_str()),
        ("trade_no", details.text("trade_no")),
        ("trade_status", "TRADE_SUCCESS"),
        ("subject", details.text("subject")),
        ("body", details.text("body")),
        ("total_amount", amount.as_str()),
        ("buyer_pay_amount", amount.as_str()),
        ("receipt_amount", amount.as_str()),
        ("invoice_amount", amount.as_str()),
        ("point_amount", "0.00"),
        ("fund_bill_list", funds.as_str()),
        ("gmt_create", created.as_str()),
        ("gmt_payment", paid.as_str()),
        ("buyer_id", details.text("buyer_user_id")),
        ("buyer_logon_id", details.text("buyer_logon_id")),
    ];
    let there = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    there.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}
