//! Notifications: the entry once more, when it has come to its end. Taken by 200.

use std::sync::Arc;

use serde_json::Value;

use super::answer::{entry, headers};
use super::auth::Claimed;
use crate::book::{NetworkName, Payment};
use crate::ids;
use crate::notify::{Mail, Message};
use crate::sandbox::{Sandbox, Signed};
use crate::script::{Notice, notices};

/// Whose notifications are well signed and yet not the participant's.
const OTHER_PARTICIPANT: &str = "99999";

pub fn mail(sandbox: &Arc<Sandbox>, payment: Payment) -> Option<Mail> {
    let url = payment.details.get("notifyUrl")?.to_owned();
    let steps = notices(payment.amount_minor);
    let sandbox = sandbox.clone();
    Some(Mail {
        network: NetworkName::BankDirect,
        url,
        notices: steps,
        accepted: |status, _| status == 200,
        render: Box::new(move |notice| render(&sandbox, &payment, notice)),
    })
}

fn render(sandbox: &Sandbox, payment: &Payment, notice: Notice) -> Option<Message> {
    let networks = sandbox.networks();
    let bank = networks.value.bank.as_ref()?;
    let mut told = entry(payment);
    if let (Notice::OtherAmount, Some(amount)) = (notice, told.get_mut("amountMinor")) {
        *amount = Value::from(payment.amount_minor.saturating_add(1));
    }
    let participant = match notice {
        Notice::OtherMerchant => OTHER_PARTICIPANT.to_owned(),
        _ => payment.merchant_id.clone(),
    };
    let signed = if notice == Notice::Forged { Signed::Wrongly } else { Signed::Rightly };
    let (claimed, body) = (Claimed { participant, nonce: ids::random() }, told.to_string());
    let mut headers = headers(bank, "bank-direct/1 notification", &claimed, &body, signed)?;
    headers.push(("content-type", "application/json".to_owned()));
    Some(Message { headers, body })
}
