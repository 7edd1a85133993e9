//! Notifications: a form to the order's `backUrl`, signed the way the order
//! was. Taken by HTTP 200.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::answer::told;
use super::signature::sign;
use crate::beijing;
use crate::book::{NetworkName, Payment};
use crate::details::Details;
use crate::form::{self, Fields};
use crate::notify::{Mail, Message};
use crate::sandbox::Sandbox;
use crate::script::{Notice, notices};

/// Whose notifications are well signed and yet not the merchant's.
const OTHER_MERCHANT: &str = "777290058199999";
/// The network's day ends at 23 hours.
const DAY_CUT: SignedDuration = SignedDuration::from_hours(1);

/// What is known once it is paid or refunded.
pub fn ended(payment: &Payment) -> Details {
    traced(payment.details.text("queryId"))
}

/// The numbers under which a transaction is settled.
pub(super) fn traced(query_id: &str) -> Details {
    let now = Timestamp::now();
    let settled = beijing::day(now.checked_add(DAY_CUT).unwrap_or(now));
    let trace = query_id.get(query_id.len().saturating_sub(6)..).unwrap_or_default();
    Details::default()
        .with("traceNo", trace)
        .with("traceTime", &beijing::month_to_second(now))
        .with("settleDate", settled.get(4..).unwrap_or_default())
}

/// What queries and notifications tell of a settlement.
pub(super) fn settled(payment: &Payment) -> Details {
    let details = &payment.details;
    Details::default()
        .with("queryId", details.text("queryId"))
        .with("traceNo", details.text("traceNo"))
        .with("traceTime", details.text("traceTime"))
        .with("settleDate", details.text("settleDate"))
        .with("settleAmt", &payment.amount_minor.to_string())
        .with("settleCurrencyCode", "156")
}

pub fn mail(sandbox: &Arc<Sandbox>, payment: Payment) -> Option<Mail> {
    let url = payment.details.get("backUrl")?.to_owned();
    let steps = notices(payment.amount_minor);
    let sandbox = sandbox.clone();
    Some(Mail {
        network: NetworkName::UnionPay,
        url,
        notices: steps,
        accepted: |status, _| status == 200,
        render: Box::new(move |notice| render(&sandbox, &payment, notice)),
    })
}

fn render(sandbox: &Sandbox, payment: &Payment, notice: Notice) -> Option<Message> {
    let networks = sandbox.networks();
    let union = networks.value.union.as_ref()?;
    let merchant = union.merchants.get(&payment.merchant_id);
    let mut fields = fields(payment, notice);
    let added = if notice == Notice::Forged { "forged" } else { "" };
    sign(&mut fields, union, merchant, added)?;
    let kind = "application/x-www-form-urlencoded;charset=UTF-8";
    Some(Message { headers: vec![("Content-Type", kind.to_owned())], body: form::write(&fields) })
}

fn fields(payment: &Payment, notice: Notice) -> Fields {
    let details = &payment.details;
    let mut fields = Fields::new();
    let mut set = |name: &str, value: &str| {
        if !value.is_empty() {
            fields.insert(name.to_owned(), value.to_owned());
        }
    };
    for (name, value) in settled(payment).iter() {
        set(name, value);
    }
    let repeated =
        ["txnType", "txnSubType", "txnTime", "bizType", "signMethod", "encoding", "reqReserved", "origQryId"];
    for name in repeated {
        set(name, details.text(name));
    }
    let other = notice == Notice::OtherMerchant;
    let amount = payment.amount_minor.saturating_add(i64::from(notice == Notice::OtherAmount)).to_string();
    set("version", "5.1.0");
    set("accessType", "0");
    set("currencyCode", "156");
    set("merId", if other { OTHER_MERCHANT } else { &payment.merchant_id });
    set("orderId", &payment.number);
    set("txnAmt", &amount);
    set("settleAmt", &amount);
    set("respCode", "00");
    set("respMsg", &told("00", "成功"));
    fields
}
