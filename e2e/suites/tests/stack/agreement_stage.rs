//! A bank that has agreements, and an app that signs, confirms, pays by and ends them.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use payplane_client::call::{App, CallError};
use serde_json::{Value, json};

use crate::harness::{DATE, Stack};

/// An account of twelve and more digits shows its last four; these ask for no fault.
pub(crate) const ACCOUNT: &str = "6222020200112230018";
pub(crate) const HOLDER: &str = "Zhang Wei Ming";
/// What the bank takes for right begins with 80. Letters, so that no number is one by chance.
pub(crate) const CODE: &str = "80QXW3417";
pub(crate) const WRONG: &str = "90QZK6113";

/// An account whose last four digits choose a fault.
pub(crate) fn account(fault: &str) -> String {
    format!("622202020011223{fault}")
}

pub(crate) fn request(number: &str, account: &str) -> Value {
    json!({"agreementDate": DATE, "agreementNumber": number, "merchantId": "M1", "method": "bank-account",
        "accountNumber": account, "accountName": HOLDER})
}

/// A payment that names its agreement in place of its payer.
pub(crate) fn by_agreement(order: &str, amount_minor: i64, agreement: &str) -> Value {
    json!({"orderDate": DATE, "orderNumber": order, "merchantId": "M1", "method": "bank-account",
        "amountMinor": amount_minor, "currency": "CNY", "agreement": {"date": DATE, "number": agreement}})
}

pub(crate) type Answer = Result<Value, CallError>;

pub(crate) async fn sign(app: &App, number: &str, account: &str) -> Answer {
    app.send("/v1/agreements", &request(number, account)).await
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
    let signed = sign(app, number, ACCOUNT).await?;
    ensure!(status(&signed) == "AwaitingCode", "{signed}");
    let active = confirm(app, number, CODE).await?;
    ensure!(status(&active) == "Active", "{active}");
    Ok(active)
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
    let token = format!("agr.{number}.");
    let paid = record.into_iter().filter(|entry| {
        entry["details"]["payerAccount"].as_str().is_some_and(|account| account.starts_with(&token))
    });
    Ok((signed.unwrap_or(Value::Null), paid.collect()))
}
