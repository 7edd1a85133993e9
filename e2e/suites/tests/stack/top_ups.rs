//! A customer fills his wallet over a network: all of it is his, none of it the merchant's, and
//! it goes back the way it came as far as he still has it.

use anyhow::{Context, Result, ensure};
use payplane_client::call::App;
use payplane_client::message::PaymentStatus::{Failed, Succeeded};
use payplane_client::message::RefundRequest;
use serde_json::{Value, json};

use crate::agreement_stage::{ACCOUNT, HOLDER, active, by_agreement, pay};
use crate::decision_stage::proposal;
use crate::harness::{DATE, Stack, code, ended, payment, refund};
use crate::networks::{NETWORKS, Network, SOON, stack_with};
use crate::terms::{agreed, terms, today};
use crate::top_up_stage::{filled, refunded, spends, top_up};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_is_filled_over_a_network_and_gives_back_what_it_has() -> Result<()> {
    let stack = stack_with(&NETWORKS[2..]).await?;
    let app = stack.app("app1", 4)?;
    // What the merchant agreed to pay is for what he is paid.
    agreed(&stack, &terms(today(&stack).await?, 45, &json!([]))).await?;
    for network in &NETWORKS[2..] {
        filled_and_given_back(&stack, &app, network).await.context(network.name)?;
        stack.check_channel(network.name, network.record).await?;
    }
    told(&stack).await?;
    stack.booked_once().await?;
    another_amount(&stack, &app).await?;
    the_release_before(&stack, &app).await
}

async fn filled_and_given_back(stack: &Stack, app: &App, network: &Network) -> Result<()> {
    let (customer, others) = (format!("u-{}", network.name), stack.of_others().await?);
    let order = top_up(network, "filled", 40_000, &customer)?;
    let paid = filled(app, &order).await?;
    ensure!((paid.status, paid.fee_minor, paid.settlement_date) == (Succeeded, Some(0), None), "{paid:?}");
    ensure!(paid.channel.as_deref() == Some(network.name), "{paid:?}");
    let number = paid.order_number.as_str();
    let shown = app.read(&format!("/v1/payments/{DATE}/{number}")).await?;
    ensure!(shown["topUp"] == json!({"customer": customer}), "{shown}");
    ensure!(stack.wallet(&customer).await? == 40_000);
    ensure!(stack.of_others().await? == others, "it is nobody else's");

    // The same again is the same; whose wallet it is, is a part of what was asked for.
    ensure!(pay(app, &order).await? == shown);
    let other = top_up(network, "filled", 40_000, "another")?;
    ensure!(code(pay(app, &other).await) == "OrderConflict");
    let plain = serde_json::to_value(network.order("filled", 40_000))?;
    ensure!(code(pay(app, &plain).await) == "OrderConflict");

    let declined = refunded(app, number, &refund("declined", 19_001)).await?;
    ensure!(
        (declined.status, declined.failure_code.as_deref()) == (Failed, Some("Declined")),
        "{declined:?}"
    );
    ensure!(stack.wallet(&customer).await? == 40_000, "he has it again");
    ensure!(refunded(app, number, &refund("part", 10_000)).await?.status == Succeeded);
    ensure!(stack.wallet(&customer).await? == 30_000);

    // What he spent does not go back; the network is not asked.
    spends(stack, &customer, 25_000).await?;
    let asked = stack.record().await?.len();
    ensure!(code(app.refund(DATE, number, &refund("spent", 5_001)).await) == "InsufficientBalance");
    ensure!(code(app.refund(DATE, number, &refund("spent", 5_001)).await) == "InsufficientBalance");
    ensure!(app.refund_of(DATE, number, "spent").await?.status == Failed);
    ensure!((stack.record().await?.len(), stack.wallet(&customer).await?) == (asked, 5_000));
    read_by_who_filled_it(stack, app, &customer).await?;
    ensure!(refunded(app, number, &refund("rest", 5_000)).await?.status == Succeeded);
    ensure!(code(app.refund(DATE, number, &refund("more", 1)).await) == "InsufficientBalance");
    ensure!(code(app.refund(DATE, number, &refund("over", 25_001)).await) == "RefundExceedsPayment");
    ensure!(stack.wallet(&customer).await? == 0);
    Ok(())
}

async fn read_by_who_filled_it(stack: &Stack, app: &App, customer: &str) -> Result<()> {
    let path = |customer: &str| format!("/v1/wallets/{customer}/balance");
    let told = app.read(&path(customer)).await?;
    let balances =
        json!([{"currency": "CNY", "availableMinor": 5_000}, {"currency": "USD", "availableMinor": 0}]);
    ensure!(told == json!({"customer": customer, "balances": balances}), "{told}");
    ensure!(code(stack.app("app2", 1)?.read(&path(customer)).await) == "NotFound", "who filled none");
    for other in ["nobody", "M%2F1", "a:b"] {
        ensure!(code(app.read(&path(other)).await) == "NotFound", "{other}");
    }
    Ok(())
}

/// Whose wallet it is, is told of top-ups alone.
async fn told(stack: &Stack) -> Result<()> {
    for (kind, count) in [("payment.succeeded", 2), ("refund.succeeded", 4), ("refund.failed", 6)] {
        let sql = format!(
            "SELECT count(*) FROM gateway.outbox JOIN gateway.orders o ON payload->>'orderId' = o.order_id::text
             WHERE kind = '{kind}' AND payload->'topUp'->>'customer' = top_up_customer"
        );
        ensure!(stack.count(&sql).await? == count, "{kind}");
    }
    let plain =
        "SELECT count(*) FROM gateway.outbox WHERE kind = 'payment.succeeded' AND NOT payload ? 'topUp'";
    ensure!(stack.count(plain).await? == 2, "the first of each network");
    Ok(())
}

/// The payer paid another amount: it goes back by way of suspense, and no wallet is filled.
async fn another_amount(stack: &Stack, app: &App) -> Result<()> {
    let end = filled(app, &top_up(&NETWORKS[2], "other", 19_014, "u-other")?).await?;
    ensure!(end.failure_code.as_deref() == Some("OtherAmount"), "{end:?}");
    stack.until("SELECT count(*) FROM gateway.surpluses WHERE status = 'Refunded'", 1).await?;
    let told = "SELECT count(*) FROM gateway.outbox WHERE kind = 'payment.returned'
         AND payload->'topUp'->>'customer' = 'u-other'";
    ensure!(stack.count(told).await? == 1, "whose wallet it was for");
    ensure!((stack.wallet("u-other").await?, stack.balance("suspense:long").await?) == (0, 0));
    ensure!(code(app.read("/v1/wallets/u-other/balance").await) == "NotFound", "nothing was filled");
    stack.check_channel(NETWORKS[2].name, NETWORKS[2].record).await
}

/// A release that knows no top-ups does not get at one, and finds what else is due.
async fn the_release_before(stack: &Stack, app: &App) -> Result<()> {
    let order = top_up(&NETWORKS[2], "unpaid", 19_008, "u-unpaid")?;
    ensure!(pay(app, &order).await?["status"] == "Processing");
    let unknowing = stack.postgres.connect("postgres").await?;
    let claim = "UPDATE gateway.orders SET checks = 1000 WHERE status = 'Processing'";
    ensure!(unknowing.execute(claim, &[]).await? == 0, "it is not got at");
    let waits = "SELECT count(*) FROM gateway.orders WHERE checks < 1000 AND status = 'Processing'
         AND next_check_at > now() + interval '9 minutes'";
    ensure!(stack.count(waits).await? == 1, "nor is it the next one always");
    ensure!(unknowing.query_one("SHOW payplane.knows", &[]).await?.get::<_, String>(0).is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_no_top_ups_is_asked_for_none() -> Result<()> {
    let stack = Stack::start().await?;
    let app = stack.app("app1", 2)?;
    let mut order = serde_json::to_value(payment("filled", 10_000))?;
    order["topUp"] = json!({"customer": "u-1"});
    let refused = pay(&app, &order).await;
    ensure!(refused.as_ref().is_err_and(|error| error.to_string().contains("takes top-ups")), "{refused:?}");
    ensure!(code(refused) == "NoChannel");
    for (top_up, field) in [
        (json!({"customer": ""}), "topUp.customer"),
        (json!({"customer": "merchant:M1"}), "topUp.customer"),
        (json!({"customer": "u".repeat(65)}), "topUp.customer"),
        (json!({"customer": "u-1", "fee": 0}), "topUp.fee"),
        (json!("u-1"), "topUp"),
    ] {
        order["topUp"] = top_up;
        let refused = pay(&app, &order).await;
        let Err(payplane_client::call::CallError::Refused { status: 400, problem }) = refused else {
            anyhow::bail!("{order}: {refused:?}");
        };
        ensure!(problem.field.as_deref() == Some(field), "{problem}");
    }
    ensure!(stack.count("SELECT count(*) FROM gateway.orders").await? == 0, "nothing was stored");
    order["topUp"] = Value::Null;
    ensure!(pay(&app, &order).await?["status"] == "Succeeded", "null is as good as absent");
    stack.check_agreement().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wallet_is_filled_by_an_agreement_and_after_persons_decided() -> Result<()> {
    let mut stack = stack_with(&NETWORKS[3..]).await?;
    let app = stack.app("app1", 2)?;
    active(&app, "a1").await?;
    let mut order = by_agreement("agreed", 12_800, "a1");
    order["topUp"] = json!({"customer": "u-1"});
    ensure!(pay(&app, &order).await?["status"] == "Succeeded");
    order["orderNumber"] = "signing".into();
    order["agreement"] =
        json!({"date": DATE, "number": "a2", "accountNumber": ACCOUNT, "accountName": HOLDER});
    ensure!(code(pay(&app, &order).await) == "InvalidField", "not by one that is asked for with it");
    ensure!(stack.count("SELECT count(*) FROM gateway.agreements").await? == 1);

    // Its network gives nothing back any more: no account is paid in its place.
    let mut channel = NETWORKS[3].channel(&stack)?;
    channel["refundDays"] = 0.into();
    stack.configure_channels(&[channel])?;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let (payee_account, payee_name) = (Some(ACCOUNT.into()), Some(HOLDER.into()));
    let transfer = RefundRequest { payee_account, payee_name, ..refund("late", 1_000) };
    for late in [refund("late", 1_000), transfer] {
        ensure!(code(app.refund(DATE, "agreed", &late).await) == "NoChannel");
    }
    ensure!(stack.count("SELECT count(*) FROM gateway.refunds").await? == 0);

    // Never answered: two persons say that it was paid.
    let silent = top_up(&NETWORKS[3], "silent", 19_003, "u-1")?;
    let silence = async {
        stack.until("SELECT count(*) FROM gateway.attempts WHERE status = 'Sending'", 1).await?;
        stack.falls_silent().await
    };
    let (asked, record) = tokio::join!(pay(&app, &silent), silence);
    ensure!(record.is_ok() && asked?["status"] == "Processing");
    stack.an_hour_later().await?;
    let mut success = proposal(&stack.only("Payment").await?, "Succeeded");
    success["networkId"] = "line-1".into();
    success["networkTime"] = jiff::Timestamp::now().to_string().into();
    stack.decide(&success).await?;
    let end = ended(&app, silent["orderNumber"].as_str().unwrap_or_default(), SOON).await?;
    ensure!((end.status, end.fee_minor) == (Succeeded, Some(0)), "{end:?}");
    ensure!(stack.wallet("u-1").await? == 12_800 + 19_003);
    stack.booked_once().await
}
