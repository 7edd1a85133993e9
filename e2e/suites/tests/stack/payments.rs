//! Payments and refunds, from the merchant's request to the books.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use payplane_api::settlement::Calendar;
use payplane_client::message::PaymentStatus::{Failed, Processing, Succeeded};
use serde_json::{Value, json};

use crate::harness::{DATE, Stack, calendar, code, ended, payment, refund};

const SOON: Duration = Duration::from_secs(40);
/// The network's window of 60 s, and the resolver's longest interval.
const WINDOW_CLOSED: Duration = Duration::from_secs(130);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn money_moves_once_and_every_outcome_ends() -> Result<()> {
    let stack = Stack::start().await?;
    let app = stack.app("app1", 8)?;

    // Asked for first, because its end takes longest: no effect, no answer.
    let lost = app.pay(&payment("lost", 19_003)).await?;
    assert_eq!(lost.status, Processing, "a time-out is unknown, never failed");

    let paid = app.pay(&payment("paid", 10_000)).await?;
    assert_eq!((paid.status, paid.fee_minor), (Succeeded, Some(60)));
    assert!(paid.ledger_transaction_id.is_some() && paid.settlement_date.is_some());
    assert_eq!(app.pay(&payment("paid", 10_000)).await?, paid, "a replay is the same order");
    assert_eq!(code(app.pay(&payment("paid", 10_001)).await), "OrderConflict");

    let declined = app.pay(&payment("declined", 19_001)).await?;
    assert_eq!((declined.status, declined.failure_code.as_deref()), (Failed, Some("Declined")));
    assert_eq!(app.pay(&payment("later", 19_002)).await?.status, Processing);
    for (number, amount) in [("after", 19_004), ("forged", 19_006)] {
        assert_eq!(app.pay(&payment(number, amount)).await?.status, Processing, "{number}");
    }
    assert_eq!(app.pay(&payment("slow", 19_007)).await?.status, Succeeded);
    for number in ["later", "after", "forged"] {
        assert_eq!(ended(&app, number, SOON).await?.status, Succeeded, "{number} had an effect");
    }

    refunds(&stack).await?;
    fifty_at_once(&stack).await?;
    due_dates(&stack).await?;

    let lost = ended(&app, "lost", WINDOW_CLOSED).await?;
    assert_eq!((lost.status, lost.failure_code.as_deref()), (Failed, Some("NotReceived")));
    stack.check_agreement().await
}

async fn refunds(stack: &Stack) -> Result<()> {
    let app = stack.app("app1", 1)?;
    let part = app.refund(DATE, "paid", &refund("r1", 4_000)).await?;
    assert_eq!(part.status, Succeeded);
    assert_eq!(app.refund(DATE, "paid", &refund("r1", 4_000)).await?, part);
    assert_eq!(code(app.refund(DATE, "paid", &refund("r1", 4_001)).await), "OrderConflict");
    assert_eq!(code(app.refund(DATE, "paid", &refund("r2", 6_001)).await), "RefundExceedsPayment");
    assert_eq!(code(app.refund(DATE, "declined", &refund("r1", 1)).await), "RefundExceedsPayment");
    assert_eq!(app.refund(DATE, "paid", &refund("r3", 6_000)).await?.status, Succeeded);
    assert_eq!(app.payment(DATE, "paid").await?.refunded_minor, 10_000);
    assert_eq!(code(app.refund(DATE, "paid", &refund("r4", 1)).await), "RefundExceedsPayment");

    // Ten refunds at once of which four fit.
    app.pay(&payment("many", 10_000)).await?;
    let app = Arc::new(stack.app("app1", 10)?);
    let all = (0..10).map(|n| {
        let app = app.clone();
        tokio::spawn(async move { app.refund(DATE, "many", &refund(&format!("m{n}"), 2_500)).await.is_ok() })
    });
    let fit = join_all(all).await.into_iter().filter(|done| matches!(done, Ok(true))).count();
    assert_eq!(fit, 4);

    // The network declines: the debit is reversed, and the money can be refunded.
    app.pay(&payment("kept", 30_000)).await?;
    let refused = app.refund(DATE, "kept", &refund("no", 19_001)).await?;
    assert_eq!((refused.status, refused.failure_code.as_deref()), (Failed, Some("Declined")));
    assert_eq!(app.refund(DATE, "kept", &refund("yes", 29_000)).await?.status, Succeeded);
    Ok(())
}

async fn fifty_at_once(stack: &Stack) -> Result<()> {
    let app = Arc::new(stack.app("app1", 25)?);
    let all = (0..50).map(|_| {
        let app = app.clone();
        tokio::spawn(async move { app.pay(&payment("fifty", 12_345)).await })
    });
    let mut ids = std::collections::BTreeSet::new();
    for answer in join_all(all).await {
        ids.insert(answer??.order_id);
    }
    assert_eq!(ids.len(), 1, "one order");
    let order = ended(&app, "fifty", SOON).await?;
    assert_eq!(order.status, Succeeded);
    let attempts = "SELECT count(*) FROM gateway.attempts JOIN gateway.orders USING (order_id)
        WHERE order_number = 'fifty'";
    assert_eq!(stack.count(attempts).await?, 1, "one attempt");
    let booked = format!("SELECT count(*) FROM ledger.transactions WHERE key = 'sale:{}'", order.order_id);
    assert_eq!(stack.count(&booked).await?, 1, "one booking");
    Ok(())
}

/// What a merchant is paid is due by his T+n, and refunds take from that day.
async fn due_dates(stack: &Stack) -> Result<()> {
    let register = |days: Value| {
        let body = json!({"displayName": "Shop", "settlementDays": days});
        async move { stack.admin("admin-client", "PUT", "/admin/v1/merchants/M1", &body).await }
    };
    for wrong in [json!(31), json!(-1), json!(1.5), json!("1")] {
        let (status, problem) = register(wrong).await?;
        assert_eq!((status, &problem["field"]), (400, &json!("settlementDays")), "{problem}");
    }
    for (days, kept) in [(json!(null), 1), (json!(3), 3), (json!(null), 3)] {
        let (status, merchant) = register(days).await?;
        assert_eq!((status, &merchant["settlementDays"]), (200, &json!(kept)), "{merchant}");
    }
    let app = stack.app("app1", 1)?;
    let paid = app.pay(&payment("later-due", 10_000)).await?;

    let date = Calendar::new(&serde_json::from_value(calendar())?)?.settlement_dates(paid.created_at)?[3];
    assert_eq!(paid.settlement_date, Some(date));
    assert_eq!(app.refund(DATE, "later-due", &refund("r1", 1_000)).await?.status, Succeeded);
    let due = format!(
        "SELECT sum(CASE side WHEN 'credit' THEN amount_minor ELSE -amount_minor END)::bigint
           FROM ledger.entries JOIN ledger.accounts USING (account_id)
          WHERE code = 'merchant:M1:pending' AND due_date = '{date}'"
    );
    assert_eq!(stack.count(&due).await?, 10_000 - 60 - 1_000);
    // Other days are for other payments.
    assert_eq!(register(json!(1)).await?.0, 200);
    assert_eq!(app.pay(&payment("later-due", 10_000)).await?.settlement_date, Some(date));
    assert_eq!(app.refund(DATE, "later-due", &refund("r2", 500)).await?.status, Succeeded);
    assert_eq!(stack.count(&due).await?, 10_000 - 60 - 1_500);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn config_is_live_and_a_bad_one_changes_nothing() -> Result<()> {
    let mut stack = Stack::start().await?;
    let app = stack.app("app1", 1)?;
    stack.configure(100, true)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(app.pay(&payment("dearer", 10_000)).await?.fee_minor, Some(100));

    let path = stack.folder.path().join("config/config.json");
    std::fs::write(&path, "{}")?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (_, status) = stack.admin("operator", "GET", "/control/v1/status", &json!({})).await?;
    assert!(status["configError"].as_str().is_some_and(|why| why.contains("tenant")), "{status}");
    assert_eq!(app.pay(&payment("still", 10_000)).await?.fee_minor, Some(100));

    stack.configure(0, false)?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(code(app.pay(&payment("closed", 10_000)).await), "NoChannel");
    assert_eq!(app.pay(&payment("still", 10_000)).await?.fee_minor, Some(100), "a replay is answered");
    assert_eq!(app.refund(DATE, "still", &refund("r", 9_000)).await?.status, Succeeded, "refunds go on");

    // The channel is deleted: what it cannot pay back is refused before the books are touched.
    stack.configure_channels(&[])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(code(app.refund(DATE, "still", &refund("late", 500)).await), "NoChannel");
    assert_eq!(
        app.refund(DATE, "still", &refund("r", 9_000)).await?.status,
        Succeeded,
        "a replay is answered"
    );
    assert_eq!(stack.count("SELECT count(*) FROM gateway.refunds").await?, 1);
    stack.check_agreement().await
}

/// A pod that slept through an edit books nothing on the old config.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_gateway_wakes_to_the_new_config() -> Result<()> {
    let mut stack = Stack::start().await?;
    let app = stack.app("app1", 1)?;
    stack.gateways[0].signal("STOP")?;
    stack.configure(100, true)?;
    // What the operator does once every other pod has the new config.
    let postgres = stack.postgres.connect("postgres").await?;
    postgres.batch_execute("SELECT ledger.raise_config_epoch(2)").await?;
    let first = tokio::spawn(async move { app.pay(&payment("first", 10_000)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    stack.gateways[0].signal("CONT")?;
    let first = first.await??;
    assert_eq!((first.status, first.fee_minor, first.config_epoch), (Succeeded, Some(100), Some(2)));
    stack.check_agreement().await
}
