//! A bank that wants to hear from its payer: a one-time code, brought by the app.

use std::sync::Arc;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use payplane_client::call::App;
use payplane_client::message::PaymentStatus::{Failed, Processing, Succeeded};
use serde_json::json;

use crate::agreement_stage::{CODE, WRONG, active, by_agreement, confirm_payment, end, pay, status};
use crate::harness::{DATE, Stack, code};
use crate::networks::NETWORKS;
use crate::payout_stage::bank;
use crate::secrets::nowhere;

/// The bank sends the payer of this amount a code.
const ASKED: i64 = 19_016;

async fn asked(app: &App, number: &str) -> Result<String> {
    let paid = app.pay(&NETWORKS[3].order(number, ASKED)).await?;
    ensure!(paid.status == Processing && paid.action == Some(json!({"type": "OneTimeCode"})), "{paid:?}");
    Ok(paid.order_number)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_the_bank_steps_up_succeeds_by_its_code() -> Result<()> {
    let stack = bank().await?;
    let app = Arc::new(stack.app("app1", 8)?);
    let order = asked(&app, "one").await?;
    assert_eq!(code(confirm_payment(&app, &order, WRONG).await), "WrongCode");
    let paid = confirm_payment(&app, &order, CODE).await?;
    ensure!(status(&paid) == "Succeeded" && paid.get("action").is_none(), "{paid}");
    for again in [CODE, WRONG] {
        assert_eq!(confirm_payment(&app, &order, again).await?, paid, "it needs none any more");
    }

    // Answers that are lost, without and with an effect.
    let order = asked(&app, "lost").await?;
    assert_eq!(status(&confirm_payment(&app, &order, "80QX9003").await?), "Processing");
    assert_eq!(status(&confirm_payment(&app, &order, "80QX9004").await?), "Succeeded", "a query says it");
    let order = asked(&app, "forged").await?;
    assert_eq!(status(&confirm_payment(&app, &order, "80QX9006").await?), "Succeeded");

    let order = asked(&app, "wrong").await?;
    for _ in 0..4 {
        assert_eq!(code(confirm_payment(&app, &order, WRONG).await), "WrongCode");
    }
    let failed = confirm_payment(&app, &order, WRONG).await?;
    assert_eq!((status(&failed), &failed["failureCode"]), ("Failed", &json!("Declined")));
    assert_eq!(confirm_payment(&app, &order, CODE).await?, failed, "also with the right one");

    let order = asked(&app, "closed").await?;
    assert_eq!(app.close(DATE, &order).await?.failure_code.as_deref(), Some("Closed"));
    assert_eq!(confirm_payment(&app, &order, CODE).await?["failureCode"], "Closed", "too late");

    let order = asked(&app, "many").await?;
    let many = (0..20).map(|_| async { confirm_payment(&app, &order, CODE).await });
    for answer in join_all(many).await {
        // While the first is being booked, the others are told so.
        ensure!(["Succeeded", "Processing"].contains(&status(&answer?)));
    }
    ensure!(crate::harness::ended(&app, &order, crate::networks::SOON).await?.status == Succeeded);

    // By an agreement the bank may ask, too.
    active(&app, "a1").await?;
    let paid = pay(&app, &by_agreement("agreed", ASKED, "a1")).await?;
    assert_eq!(paid["action"], json!({"type": "OneTimeCode"}));
    assert_eq!(status(&confirm_payment(&app, "agreed", CODE).await?), "Succeeded");
    not_agreed(&app).await?;
    not_awaited(&stack, &app).await?;
    once_told(&stack).await?;
    nowhere(&stack, &[CODE, WRONG, "80QX9003", "80QX9004", "80QX9006"]).await?;
    stack.check_channel("bankdirect", "BankDirect").await
}

/// Nothing is debited by an agreement once its end was answered, whatever code is brought.
async fn not_agreed(app: &App) -> Result<()> {
    active(app, "a2").await?;
    assert_eq!(status(&pay(app, &by_agreement("over", ASKED, "a2")).await?), "Processing");
    assert_eq!(status(&end(app, "a2").await?), "Ended");
    assert_eq!(code(confirm_payment(app, "over", CODE).await), "AgreementNotActive");
    let closed = app.close(DATE, "over").await?;
    assert_eq!((closed.status, closed.failure_code.as_deref()), (Failed, Some("Closed")));
    Ok(())
}

async fn not_awaited(stack: &Stack, app: &App) -> Result<()> {
    let waits = app.pay(&NETWORKS[3].order("waits", 19_008)).await?;
    assert_eq!(waits.status, Processing);
    assert_eq!(code(confirm_payment(app, &waits.order_number, CODE).await), "StateConflict");
    assert_eq!(code(confirm_payment(app, "nobody's", CODE).await), "NotFound");
    let other = stack.app("app2", 1)?;
    assert_eq!(code(confirm_payment(&other, &waits.order_number, CODE).await), "NotFound", "another app's");
    assert_eq!(code(confirm_payment(app, &waits.order_number, "12").await), "InvalidField");
    let closed = app.close(DATE, &waits.order_number).await?;
    assert_eq!(closed.status, Failed);
    Ok(())
}

/// Booked once and told once, however often a code came.
pub(crate) async fn once_told(stack: &Stack) -> Result<()> {
    let odd = "SELECT count(*) FROM gateway.orders o
         LEFT JOIN LATERAL (SELECT count(*) AS told FROM gateway.outbox
            WHERE subject_id = o.order_id AND kind = 'payment.' || lower(o.status)) e ON true
         LEFT JOIN LATERAL (SELECT count(*) AS booked FROM ledger.transactions WHERE key = 'sale:' || o.order_id) b ON true
         WHERE told <> 1 OR booked <> (o.status = 'Succeeded')::int";
    ensure!(stack.count(odd).await? == 0, "an order is told or booked otherwise than once");
    Ok(())
}
