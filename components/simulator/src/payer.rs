//! Payers pay on their own, refunds come through, and the merchant is told.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::book::agreements;
use crate::book::orders::CREATED;
use crate::book::{Asked, BookError, NetworkName, Payment};
use crate::details::Details;
use crate::journal::JournalError;
use crate::message::State;
use crate::sandbox::{Sandbox, is_expired};
use crate::script::{self, Payer};
use crate::{alipay, bank, unionpay, wechat};

/// A full journal is asked again after this long,
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// at most so often.
const TRIES_MAX: u32 = 200;

/// After a restart everything that has no end yet is expected again. What had
/// ended before is not told again: a query finds it.
pub fn resume(sandbox: &Arc<Sandbox>) {
    for payment in sandbox.book.unended() {
        match payment.asked {
            Asked::Pay { .. } => expect_payment(sandbox, payment),
            Asked::Refund { .. } | Asked::Payout { .. } => expect_refund(sandbox, payment),
            Asked::Sign | Asked::Close => {}
        }
    }
}

/// The payer of a new order pays when its amount says so.
pub fn expect_payment(sandbox: &Arc<Sandbox>, payment: Payment) {
    // This one is waited for otherwise.
    if agreements::awaits_code(&payment) {
        return;
    }
    if let Payer::After(wait) = script::payer(payment.amount_minor, sandbox.payer_after) {
        end_after(sandbox, payment, wait);
    }
}

/// An order was closed; its payer may pay all the same.
pub fn expect_contradiction(sandbox: &Arc<Sandbox>, closed: Payment) {
    let Payer::OnceClosed(wait) = script::payer(closed.amount_minor, sandbox.payer_after) else { return };
    let sandbox = sandbox.clone();
    tokio::spawn(async move {
        tokio::time::sleep(wait).await;
        match sandbox.book.complete_closed(&closed.key(), details(&closed)).await {
            Ok(Some(payment)) => tell(&sandbox, payment),
            Ok(None) => {}
            Err(error) => warn(&closed, &error),
        }
    });
}

/// A new refund or payout comes through, at once or when its amount says so.
pub fn expect_refund(sandbox: &Arc<Sandbox>, payment: Payment) {
    match script::refund_takes(payment.amount_minor) {
        Some(wait) if payment.state == State::Processing => end_after(sandbox, payment, wait),
        _ => tell(sandbox, payment),
    }
}

fn end_after(sandbox: &Arc<Sandbox>, payment: Payment, wait: Duration) {
    let sandbox = sandbox.clone();
    tokio::spawn(async move {
        tokio::time::sleep(wait.saturating_sub(age(&payment))).await;
        if is_expired(&payment) {
            return;
        }
        match end(&sandbox, &payment).await {
            Ok(Some(payment)) => tell(&sandbox, payment),
            // It was closed before.
            Ok(None) => {}
            Err(error) => warn(&payment, &error),
        }
    });
}

fn warn(payment: &Payment, error: &BookError) {
    let (error, number) = (payplane_common::telemetry::chain(error), &payment.number);
    tracing::warn!(error, number, "a payment cannot be completed");
}

fn age(payment: &Payment) -> Duration {
    let created = payment.details.get(CREATED).and_then(|text| text.parse::<Timestamp>().ok());
    let age = created.map(|created| Timestamp::now().duration_since(created));
    age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default()
}

async fn end(sandbox: &Sandbox, payment: &Payment) -> Result<Option<Payment>, BookError> {
    let key = payment.key();
    let minor = match payment.asked {
        Asked::Pay { .. } => script::paid_minor(payment.amount_minor),
        _ => payment.amount_minor,
    };
    for _ in 0..TRIES_MAX {
        match sandbox.book.complete_order(&key, details(payment), minor).await {
            Err(BookError::Journal { source: JournalError::Full }) => tokio::time::sleep(AGAIN_AFTER).await,
            answer => return answer,
        }
    }
    sandbox.book.complete_order(&key, details(payment), minor).await
}

/// What the network knows once it is paid or refunded.
fn details(payment: &Payment) -> Details {
    match payment.network {
        NetworkName::Simulator | NetworkName::BankDirect => Details::default(),
        NetworkName::WechatPay => wechat::notice::ended(payment),
        NetworkName::Alipay => alipay::notice::ended(payment),
        NetworkName::UnionPay => unionpay::notice::ended(payment),
    }
}

/// Tells the merchant what happened, where it wants to be told.
pub fn tell(sandbox: &Arc<Sandbox>, payment: Payment) {
    let mail = match payment.network {
        NetworkName::Simulator => None,
        NetworkName::WechatPay => wechat::notice::mail(sandbox, payment),
        NetworkName::Alipay => alipay::notice::mail(sandbox, payment),
        NetworkName::UnionPay => unionpay::notice::mail(sandbox, payment),
        NetworkName::BankDirect => bank::notice::mail(sandbox, payment),
    };
    if let Some(mail) = mail {
        sandbox.notifier.send(mail);
    }
}
