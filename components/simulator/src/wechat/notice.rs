//! Notifications: JSON whose resource is sealed with the merchant's APIv3 key,
//! signed like an answer. Taken by 200 or 204.

use std::sync::Arc;

use aws_lc_rs::aead::{Aad, LessSafeKey, Nonce};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::answer::signature;
use super::query::{set, transaction};
use crate::book::{Asked, NetworkName, Payment};
use crate::details::Details;
use crate::notify::{Mail, Message};
use crate::sandbox::{Sandbox, Signed};
use crate::script::{Notice, notices};
use crate::{beijing, ids};

const NONCE_LENGTH: usize = 12;
/// Whose notifications are well signed and yet not the merchant's.
const OTHER_MERCHANT: (&str, &str) = ("1900009999", "wx0000000000000000");

/// What is known once it is paid or refunded.
pub fn ended(payment: &Payment) -> Details {
    match payment.asked {
        Asked::Pay { .. } => {
            let details = Details::default().with("bank_type", "OTHERS");
            match payment.details.get("openid") {
                Some(_) => details,
                None => details.with("openid", "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o"),
            }
        }
        _ => Details::default(),
    }
}

pub fn mail(sandbox: &Arc<Sandbox>, payment: Payment) -> Option<Mail> {
    let url = payment.details.get("notify_url")?.to_owned();
    let steps = notices(payment.amount_minor);
    let sandbox = sandbox.clone();
    Some(Mail {
        network: NetworkName::WechatPay,
        url,
        notices: steps,
        accepted: |status, _| matches!(status, 200 | 204),
        render: Box::new(move |notice| render(&sandbox, &payment, notice)),
    })
}

fn render(sandbox: &Sandbox, payment: &Payment, notice: Notice) -> Option<Message> {
    let networks = sandbox.networks();
    let wechat = networks.value.wechat.as_ref()?;
    let merchant = wechat.merchants.get(&payment.merchant_id)?;
    let (kind, event, summary, resource) = match payment.asked {
        Asked::Pay { .. } => ("transaction", "TRANSACTION.SUCCESS", "支付成功", transaction(payment, 0)),
        _ => ("refund", "REFUND.SUCCESS", "退款成功", refund(payment)),
    };
    let body = json!({
        "id": uuid::Uuid::new_v4().to_string(),
        "create_time": beijing::rfc3339(Timestamp::now()),
        "resource_type": "encrypt-resource",
        "event_type": event,
        "summary": summary,
        "resource": seal(&merchant.seal, kind, &bend(resource, notice).to_string())?,
    })
    .to_string();
    let signed = if notice == Notice::Forged { Signed::Wrongly } else { Signed::Rightly };
    let mut headers = signature(wechat, &body, signed)?;
    headers.push(("Content-Type", "application/json".to_owned()));
    headers.push(("Accept", "*/*".to_owned()));
    Some(Message { headers, body })
}

fn refund(payment: &Payment) -> Value {
    let Asked::Refund { original_number } = &payment.asked else { return Value::Null };
    let (details, amount) = (&payment.details, payment.amount_minor);
    let total: i64 = details.text("original_total").parse().unwrap_or_default();
    json!({
        "mchid": payment.merchant_id,
        "transaction_id": details.text("original_transaction_id"),
        "out_trade_no": original_number,
        "refund_id": details.text("refund_id"),
        "out_refund_no": payment.number,
        "refund_status": "SUCCESS",
        "success_time": beijing::rfc3339(payment.network_time),
        "user_received_account": details.text("user_received_account"),
        "amount": {"total": total, "refund": amount, "payer_total": total, "payer_refund": amount},
    })
}

/// Makes the truth another one, where that is asked for.
fn bend(mut resource: Value, notice: Notice) -> Value {
    match notice {
        Notice::Right | Notice::Forged => {}
        Notice::OtherMerchant => {
            set(&mut resource, "mchid", OTHER_MERCHANT.0.into());
            if resource.get("appid").is_some() {
                set(&mut resource, "appid", OTHER_MERCHANT.1.into());
            }
        }
        Notice::OtherAmount => {
            let Some(amount) = resource.get_mut("amount") else { return resource };
            for name in ["total", "payer_total", "refund", "payer_refund"] {
                let Some(minor) = amount.get(name).and_then(Value::as_i64) else { continue };
                set(amount, name, minor.saturating_add(1).into());
            }
        }
    }
    resource
}

/// AES-256-GCM, the tag behind the text, base64.
pub(super) fn seal(key: &LessSafeKey, kind: &str, text: &str) -> Option<Value> {
    let mut nonce = ids::random();
    nonce.truncate(NONCE_LENGTH);
    let mut sealed = text.as_bytes().to_vec();
    let number = Nonce::try_assume_unique_for_key(nonce.as_bytes()).ok()?;
    key.seal_in_place_append_tag(number, Aad::from(kind.as_bytes()), &mut sealed).ok()?;
    Some(json!({
        "original_type": kind,
        "algorithm": "AEAD_AES_256_GCM",
        "ciphertext": STANDARD.encode(sealed),
        "associated_data": kind,
        "nonce": nonce,
    }))
}
