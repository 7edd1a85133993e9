//! What the bank's sender is told: a code, whom it is for, and what he is about to pay.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::code::OneTimeCode;
use super::sender::Message;
use crate::agreement::payer::PREFIX;
use crate::store::agreements::Agreement;
use crate::store::orders::Order;

/// Whom a code is for: by the app's name for him, or by his agreement.
pub(super) enum Whom<'a> {
    Payer(&'a str),
    Agreement(&'a Agreement),
}

impl Whom<'_> {
    pub(super) fn of<'a>(payer: &'a str, agreement: Option<&'a Agreement>) -> Option<Whom<'a>> {
        match agreement {
            Some(agreement) => Some(Whom::Agreement(agreement)),
            // What stands for an account is nobody's name outside.
            None => (!payer.starts_with(PREFIX)).then_some(Whom::Payer(payer)),
        }
    }
}

/// The message of one code: the same for each try to send it.
pub(super) fn message(
    order: &Order,
    whom: &Whom<'_>,
    (code, ordinal): (&OneTimeCode, i16),
    expires_at: Timestamp,
) -> Message {
    let code_id = format!("{}-{ordinal}", order.order_id.simple());
    let mut body = json!({
        "codeId": code_id,
        "orderId": order.order_id,
        "orderDate": order.order_date,
        "orderNumber": order.order_number,
        "appId": order.app_id,
        "merchantId": order.merchant_id,
        "method": order.method,
        "amountMinor": order.amount_minor,
        "currency": order.currency,
        "code": code.digits(),
        "expiresAt": expires_at,
    });
    match whom {
        Whom::Payer(payer) => body["payerId"] = Value::from(*payer),
        Whom::Agreement(agreement) => {
            body["agreement"] =
                json!({"date": agreement.agreement_date, "number": agreement.agreement_number});
        }
    }
    Message { code_id, body: body.to_string().into_bytes() }
}
