//! Networks that have agreements, and an app that signs, confirms, pays by and ends them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use payplane_client::call::{App, CallError};
use serde_json::{Value, json};

use crate::harness::{DATE, Stack};
use crate::networks::{NETWORKS, Network, SOON, stack_with};

/// An account of twelve and more digits shows its last four; these ask for no fault.
pub(crate) const ACCOUNT: &str = "6222020200112230018";
pub(crate) const HOLDER: &str = "Zhang Wei Ming";
pub(crate) const PHONE: &str = "13900139018";
/// What the bank takes for right begins with 80. Letters, so that no number is one by chance.
pub(crate) const CODE: &str = "80QXW3417";
pub(crate) const WRONG: &str = "90QZK6113";

/// An account whose last four digits choose a fault.
pub(crate) fn account(fault: &str) -> String {
    format!("622202020011223{fault}")
}

/// A network that has agreements, and what it says of them.
pub(crate) struct Side {
    pub(crate) network: &'static Network,
    pub(crate) method: &'static str,
    phone: Option<&'static str>,
    /// Of an account that it does not know, and after too many wrong codes.
    pub(crate) unknown: &'static str,
    pub(crate) guessed: &'static str,
    /// Does it know an agreement that is not confirmed, and says so?
    pub(crate) knows_unconfirmed: bool,
    /// Is a payment told of by a notification?
    pub(crate) tells_late: bool,
}

pub(crate) const BANK: Side = Side {
    network: &NETWORKS[3],
    method: "bank-account",
    phone: None,
    unknown: "AccountUnknown",
    guessed: "NotConfirmed",
    knows_unconfirmed: true,
    tells_late: false,
};

pub(crate) const CARD: Side = Side {
    network: &NETWORKS[2],
    method: "unionpay-card",
    phone: Some(PHONE),
    unknown: "61",
    guessed: "67",
    knows_unconfirmed: false,
    tells_late: true,
};

impl Side {
    /// A stack with this network alone.
    pub(crate) async fn stack(&self) -> Result<Stack> {
        stack_with(std::slice::from_ref(self.network)).await
    }

    /// Whose account it is, put into what asks for an agreement.
    pub(crate) fn owned(&self, mut asks: Value, account: &str) -> Value {
        asks["accountNumber"] = account.into();
        asks["accountName"] = HOLDER.into();
        if let Some(phone) = self.phone {
            asks["phoneNumber"] = phone.into();
        }
        asks
    }

    pub(crate) fn request(&self, number: &str, account: &str) -> Value {
        let asks = json!({"agreementDate": DATE, "agreementNumber": number, "merchantId": "M1",
            "method": self.method});
        self.owned(asks, account)
    }

    /// A payment that names its agreement in place of its payer.
    pub(crate) fn by_agreement(&self, order: &str, amount_minor: i64, agreement: &str) -> Value {
        json!({"orderDate": DATE, "orderNumber": order, "merchantId": "M1", "method": self.method,
            "amountMinor": amount_minor, "currency": "CNY", "agreement": {"date": DATE, "number": agreement}})
    }

    pub(crate) async fn sign(&self, app: &App, number: &str, account: &str) -> Answer {
        app.send("/v1/agreements", &self.request(number, account)).await
    }

    /// One that payments can be made by.
    pub(crate) async fn active(&self, app: &App, number: &str) -> Result<Value> {
        let signed = self.sign(app, number, ACCOUNT).await?;
        ensure!(status(&signed) == "AwaitingCode", "{signed}");
        let active = confirm(app, number, CODE).await?;
        ensure!(status(&active) == "Active", "{active}");
        Ok(active)
    }

    pub(crate) async fn check(&self, stack: &Stack) -> Result<()> {
        stack.check_channel(self.network.name, self.network.record).await
    }
}

pub(crate) fn request(number: &str, account: &str) -> Value {
    BANK.request(number, account)
}

pub(crate) fn by_agreement(order: &str, amount_minor: i64, agreement: &str) -> Value {
    BANK.by_agreement(order, amount_minor, agreement)
}

pub(crate) type Answer = Result<Value, CallError>;

pub(crate) async fn sign(app: &App, number: &str, account: &str) -> Answer {
    BANK.sign(app, number, account).await
}

pub(crate) async fn confirm(app: &App, number: &str, code: &str) -> Answer {
    app.send(&format!("/v1/agreements/{DATE}/{number}/confirm"), &json!({"code": code})).await
}

pub(crate) async fn end(app: &App, number: &str) -> Answer {
    app.ask(&format!("/v1/agreements/{DATE}/{number}/end")).await
}

pub(crate) async fn agreement(app: &App, number: &str) -> Answer {
    app.read(&format!("/v1/agreements/{DATE}/{number}")).await
}

pub(crate) async fn pay(app: &App, payment: &Value) -> Answer {
    app.send("/v1/payments", payment).await
}

pub(crate) async fn confirm_payment(app: &App, order: &str, code: &str) -> Answer {
    app.send(&format!("/v1/payments/{DATE}/{order}/confirm"), &json!({"code": code})).await
}

pub(crate) fn status(answer: &Value) -> &str {
    answer["status"].as_str().unwrap_or_default()
}

/// One that payments can be made by.
pub(crate) async fn active(app: &App, number: &str) -> Result<Value> {
    BANK.active(app, number).await
}

/// Pays, and waits for what a network says later.
pub(crate) async fn paid(app: &App, payment: &Value) -> Answer {
    let (mut last, began) = (pay(app, payment).await?, Instant::now());
    while status(&last) == "Processing" && began.elapsed() < SOON {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let number = payment["orderNumber"].as_str().unwrap_or_default();
        last = app.read(&format!("/v1/payments/{DATE}/{number}")).await?;
    }
    Ok(last)
}

/// Asks until it stands so.
pub(crate) async fn until(app: &App, number: &str, wanted: &str, max: Duration) -> Result<Value> {
    let started = Instant::now();
    loop {
        let last = agreement(app, number).await;
        match last {
            Ok(now) if status(&now) == wanted => return Ok(now),
            _ if started.elapsed() > max => bail!("{number} is not {wanted}: {last:?}"),
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// What the bank has of an agreement, or of payments by its token.
pub(crate) async fn at_bank(stack: &Stack, agreement: &Value) -> Result<(Value, Vec<Value>)> {
    let number = agreement["agreementId"].as_str().context("an id")?.replace('-', "");
    let record = stack.record().await?;
    let signed = record.iter().find(|entry| entry["number"] == number.as_str()).cloned();
    let signed = signed.unwrap_or(Value::Null);
    let token = signed["details"]["token"].clone();
    let by_it = |entry: &Value| token.is_string() && entry["details"]["payerAccount"] == token;
    let paid = record.into_iter().filter(by_it).collect();
    Ok((signed, paid))
}
