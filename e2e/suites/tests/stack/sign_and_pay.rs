//! Sign-and-pay: one code makes an agreement and the payment that was asked for with it; a
//! payment is never made without, nor twice, whoever dies in between.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use payplane_client::call::App;
use payplane_client::message::PaymentStatus::{Failed, Processing, Succeeded};
use serde_json::{Value, json};

use crate::agreement_stage::{
    ACCOUNT, BANK, CARD, CODE, HOLDER, PHONE, Side, WRONG, account, agreement, at_bank, confirm,
    confirm_payment, paid, pay, status, until,
};
use crate::harness::{DATE, Stack, code, ended};
use crate::networks::SOON;
use crate::secrets::nowhere;

/// A payment that asks for the agreement by which it is made, of the same name.
fn signing(side: &Side, number: &str, account: &str) -> Value {
    let mut payment = side.by_agreement(number, 12_800, number);
    payment["agreement"] = side.owned(payment["agreement"].take(), account);
    payment
}

async fn asked(side: &Side, app: &App, number: &str) -> Result<()> {
    let asked = pay(app, &signing(side, number, ACCOUNT)).await?;
    ensure!(status(&asked) == "Processing" && asked["action"] == json!({"type": "OneTimeCode"}), "{asked}");
    Ok(())
}

/// Brings its code. Whoever hears of it first, the answer or the bank's notification, goes on
/// with the payment: where that is the notification, the answer may still say `Processing`.
async fn confirmed(app: &App, number: &str) -> Result<()> {
    let answer = confirm_payment(app, number, CODE).await?;
    ensure!(["Succeeded", "Processing"].contains(&status(&answer)), "{answer}");
    let paid = ended(app, number, SOON).await?;
    ensure!(paid.status == Succeeded && paid.action.is_none(), "{paid:?}");
    Ok(())
}

/// How many payments the bank took by an agreement.
async fn taken(stack: &Stack, app: &App, number: &str) -> Result<usize> {
    Ok(at_bank(stack, &agreement(app, number).await?).await?.1.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_code_signs_and_pays() -> Result<()> {
    one_code(&BANK).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_code_opens_a_card_and_pays() -> Result<()> {
    one_code(&CARD).await
}

async fn one_code(side: &Side) -> Result<()> {
    let stack = side.stack().await?;
    let app = Arc::new(stack.app("app1", 8)?);
    // It expires while the others are tried.
    let mut late = signing(side, "late", ACCOUNT);
    late["expiresInSeconds"] = 60.into();
    assert_eq!(status(&pay(&app, &late).await?), "Processing");
    let late = Instant::now();

    asked(side, &app, "one").await?;
    assert_eq!(status(&agreement(&app, "one").await?), "AwaitingCode");
    assert_eq!(code(confirm_payment(&app, "one", WRONG).await), "WrongCode");
    assert_eq!(taken(&stack, &app, "one").await?, 0);
    confirmed(&app, "one").await?;
    let paid = confirm_payment(&app, "one", WRONG).await?;
    assert_eq!(status(&paid), "Succeeded", "it needs none any more");
    assert_eq!(pay(&app, &signing(side, "one", ACCOUNT)).await?, paid, "the same again");
    assert_eq!(code(pay(&app, &signing(side, "one", &account("0026"))).await), "OrderConflict");
    assert_eq!(status(&agreement(&app, "one").await?), "Active");
    assert_eq!(status(&self::paid(&app, &side.by_agreement("second", 100, "one")).await?), "Succeeded");
    refused(side, &app).await?;

    // Its code may come to the agreement, too; many at once are one payment.
    asked(side, &app, "other-way").await?;
    assert_eq!(status(&confirm(&app, "other-way", CODE).await?), "Active");
    assert_eq!(ended(&app, "other-way", SOON).await?.status, Succeeded);
    asked(side, &app, "many").await?;
    let many = (0..20).map(|n| {
        let app = app.clone();
        async move {
            match n % 2 {
                0 => confirm_payment(&app, "many", CODE).await,
                _ => confirm(&app, "many", CODE).await,
            }
        }
    });
    for answer in join_all(many).await {
        ensure!(["Succeeded", "Processing", "Active"].contains(&status(&answer?)));
    }
    assert_eq!(ended(&app, "many", SOON).await?.status, Succeeded);
    assert_eq!(taken(&stack, &app, "many").await?, 1);
    without(side, &stack, &app).await?;

    tokio::time::sleep(Duration::from_secs(60).saturating_sub(late.elapsed())).await;
    let late = ended(&app, "late", SOON * 2).await?;
    assert_eq!((late.status, late.failure_code.as_deref()), (Failed, Some("Closed")));
    until(&app, "late", "Ended", SOON).await?;
    nowhere(&stack, &[ACCOUNT, HOLDER, PHONE, CODE, WRONG]).await?;
    side.check(&stack).await
}

/// What is refused leaves nothing.
async fn refused(side: &Side, app: &App) -> Result<()> {
    let with = |field: &str, value: Value| {
        let mut payment = signing(side, "refused", ACCOUNT);
        payment[field] = value;
        payment
    };
    let known = side.owned(json!({"date": DATE, "number": "one"}), ACCOUNT);
    for (payment, why) in [
        (with("agreement", known), "OrderConflict"),
        (with("method", json!("card")), "NoChannel"),
        (with("currency", json!("USD")), "NoChannel"),
        (with("payerId", json!("6222")), "InvalidField"),
        (with("deviceId", json!("d1")), "InvalidField"),
        (with("merchantId", json!("M9")), "UnknownMerchant"),
    ] {
        assert_eq!(code(pay(app, &payment).await), why, "{payment}");
    }
    assert_eq!(code(app.payment(DATE, "refused").await), "NotFound");
    assert_eq!(code(agreement(app, "refused").await), "NotFound");
    Ok(())
}

/// Where the agreement comes to nothing the payment does, and the bank is not asked for it.
async fn without(side: &Side, stack: &Stack, app: &App) -> Result<()> {
    let failed = |payment: Value, why: &str| {
        assert_eq!((status(&payment), &payment["failureCode"]), ("Failed", &json!(why)), "{payment}");
    };
    failed(pay(app, &signing(side, "declined", &account("9001"))).await?, "AgreementFailed");
    asked(side, app, "wrong").await?;
    for _ in 0..4 {
        assert_eq!(code(confirm_payment(app, "wrong", WRONG).await), "WrongCode");
    }
    failed(confirm_payment(app, "wrong", WRONG).await?, "AgreementFailed");
    failed(confirm_payment(app, "wrong", CODE).await?, "AgreementFailed");

    asked(side, app, "closed").await?;
    assert_eq!(app.close(DATE, "closed").await?.failure_code.as_deref(), Some("Closed"));
    until(app, "closed", "Ended", SOON).await?;
    failed(confirm_payment(app, "closed", CODE).await?, "Closed");

    // The answer is lost, the request is not: its action is told once the bank was asked.
    let lost = pay(app, &signing(side, "lost", &account("9004"))).await?;
    ensure!(status(&lost) == "Processing" && lost.get("action").is_none(), "{lost}");
    until(app, "lost", "AwaitingCode", SOON).await?;
    confirmed(app, "lost").await?;
    for (number, times) in [("declined", 0), ("wrong", 0), ("closed", 0), ("lost", 1)] {
        assert_eq!(taken(stack, app, number).await?, times, "{number}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dies_in_between_leaves_no_payment_that_nobody_knows() -> Result<()> {
    dies_in_between(&BANK).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_dies_in_between_leaves_no_payment_by_a_card_that_nobody_knows() -> Result<()> {
    dies_in_between(&CARD).await
}

async fn dies_in_between(side: &Side) -> Result<()> {
    let mut stack = side.stack().await?;
    let (first, other) = (stack.app_of(0, 1)?, stack.app_of(1, 4)?);
    // The agreement holds, and the payment is not begun: it waits for the merchant's terms.
    asked(side, &other, "dead").await?;
    let hand = stack.postgres.connect("postgres").await?;
    hand.batch_execute("BEGIN; LOCK TABLE gateway.merchant_terms").await?;
    let confirming = tokio::spawn(async move { confirm_payment(&first, "dead", CODE).await });
    until(&other, "dead", "Active", SOON).await?;
    stack.gateways[0].kill_9()?;
    ensure!(confirming.await?.is_err(), "it was answered");
    let waits = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'gateway' AND wait_event_type = 'Lock'";
    stack.postgres.connect("postgres").await?.query(waits, &[]).await?;
    hand.batch_execute("ROLLBACK").await?;
    // As if its lease were over.
    let due = "UPDATE gateway.orders SET next_check_at = now() WHERE status = 'Processing'";
    hand.execute(due, &[]).await?;
    let dead = ended(&other, "dead", SOON).await?;
    assert_eq!((dead.status, dead.failure_code.as_deref()), (Failed, Some("Interrupted")));
    assert_eq!(taken(&stack, &other, "dead").await?, 0);
    assert_eq!(
        status(&self::paid(&other, &side.by_agreement("anew", 12_800, "dead")).await?),
        "Succeeded",
        "the agreement holds"
    );
    stack.gateways[0].restart().await?;

    // The bank took the code and its answer is not stored: who asks it goes on with the payment.
    asked(side, &other, "confirmed").await?;
    let held = "BEGIN; SELECT FROM gateway.agreements WHERE agreement_number = 'confirmed' FOR UPDATE";
    hand.batch_execute(held).await?;
    let first = stack.app_of(0, 1)?;
    let confirming = tokio::spawn(async move { confirm_payment(&first, "confirmed", CODE).await });
    for _ in 0..200 {
        if at_bank(&stack, &agreement(&other, "confirmed").await?).await?.0["state"] == "Succeeded" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stack.gateways[0].kill_9()?;
    ensure!(confirming.await?.is_err(), "it was answered");
    stack.postgres.connect("postgres").await?.query(waits, &[]).await?;
    hand.batch_execute("ROLLBACK").await?;
    let due = "UPDATE gateway.agreements SET next_check_at = now() WHERE next_check_at IS NOT NULL";
    hand.execute(due, &[]).await?;
    let paid = ended(&other, "confirmed", SOON).await?;
    ensure!([Succeeded, Processing].contains(&paid.status), "{paid:?}");
    assert_eq!(taken(&stack, &other, "confirmed").await?, 1);
    stack.gateways[0].restart().await?;
    side.check(&stack).await
}
