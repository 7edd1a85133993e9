//! Money that a network took and no order stands for goes back to its payer, by way of
//! suspense.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::future::try_join_all;
use payplane_client::call::App;
use payplane_client::message::PaymentStatus::{Failed, Processing};
use serde_json::{Value, json};

use crate::harness::{DATE, Stack, ended};
use crate::networks::{NETWORKS, Network, SOON, stack_with};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_order_stands_for_is_given_back() -> Result<()> {
    let stack = stack_with(&NETWORKS).await?;
    let app = stack.app("app1", 8)?;
    // A bank debits what it is asked for.
    try_join_all(NETWORKS[..3].iter().map(|network| other_amount(&app, network))).await?;
    // UnionPay has no close, so nothing can be paid after one.
    try_join_all(NETWORKS[..2].iter().map(|network| paid_after_close(&app, network))).await?;
    let all = refunded(&stack, 5).await?;
    for (reason, amount, count) in [("OtherAmount", 19_015, 3), ("PaidAfterEnd", 19_013, 2)] {
        let of = |one: &&Value| one["reason"] == reason && one["amountMinor"] == amount;
        ensure!(all.iter().filter(of).count() == count, "{reason}: {all:#?}");
    }
    // The order keeps its end, and its app is told of the money.
    let told = "SELECT count(*) FROM gateway.outbox JOIN gateway.orders ON order_id = subject_id
         WHERE kind = 'payment.returned' AND status = 'Failed' AND payload->>'reason' IS NOT NULL";
    ensure!(stack.count(told).await? == 5);
    suspense(&stack, (3 * 19_015 + 2 * 19_013, 0)).await?;
    for network in &NETWORKS {
        stack.check_channel(network.name, network.record).await?;
    }
    held(&stack, &app, &NETWORKS[0]).await?;
    suspense(&stack, (3 * 19_015 + 2 * 19_013 + 19_001, 19_001)).await
}

/// What the network does not give back stays in suspense, until a person asks again.
async fn held(stack: &Stack, app: &App, network: &Network) -> Result<()> {
    let end = network.pay(app, "not-given-back", 19_015, SOON).await?;
    ensure!(end.failure_code.as_deref() == Some("OtherAmount"), "{end:?}");
    let first = declined(stack).await?;
    let path = format!("/admin/v1/surpluses/{}/retry", first["attemptId"].as_str().unwrap_or_default());
    let (status, again) = stack.admin("admin-client", "POST", &path, &Value::Null).await?;
    ensure!(status == 200 && again["status"] == "Booked", "{again}");
    let noted =
        "SELECT count(*) FROM gateway.registry_audit WHERE kind = 'surplus' AND subject = 'admin-client'";
    ensure!(stack.count(noted).await? == 1, "in whose name");
    let second = declined(stack).await?;
    ensure!(first["refundId"] == second["refundId"], "under another number it could come twice: {second}");
    Ok(())
}

async fn declined(stack: &Stack) -> Result<Value> {
    let started = Instant::now();
    loop {
        let path = "/admin/v1/surpluses?status=Held";
        let (_, held) = stack.admin("admin-client", "GET", path, &json!({})).await?;
        if held["surpluses"][0]["heldBecause"] == "Declined" {
            return Ok(held["surpluses"][0].clone());
        }
        ensure!(started.elapsed() < SOON, "nothing is held: {held}");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn other_amount(app: &App, network: &Network) -> Result<()> {
    let end = network.pay(app, "other-amount", 19_014, SOON).await?;
    ensure!(end.status == Failed, "{}: {end:?}", network.name);
    ensure!(end.failure_code.as_deref() == Some("OtherAmount"), "{}: {end:?}", network.name);
    Ok(())
}

async fn paid_after_close(app: &App, network: &Network) -> Result<()> {
    let order = network.order("closed-then-paid", 19_013);
    app.pay(&order).await?;
    let started = Instant::now();
    // Alipay has nothing to close before the payer has scanned the code.
    while app.close(DATE, &order.order_number).await?.status == Processing {
        ensure!(started.elapsed() < SOON, "{} closes nothing", network.name);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let end = ended(app, &order.order_number, SOON).await?;
    ensure!(end.failure_code.as_deref() == Some("Closed"), "{}: {end:?}", network.name);
    Ok(())
}

/// Waits until so many were given back.
async fn refunded(stack: &Stack, count: usize) -> Result<Vec<Value>> {
    let started = Instant::now();
    loop {
        let (_, all) = stack.admin("admin-client", "GET", "/admin/v1/surpluses", &json!({})).await?;
        let all = all["surpluses"].as_array().cloned().unwrap_or_default();
        if all.len() == count && all.iter().all(|one| one["status"] == "Refunded") {
            return Ok(all);
        }
        ensure!(started.elapsed() < SOON, "not all were given back: {all:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What came into suspense, and what is left of it.
async fn suspense(stack: &Stack, (came, left): (i64, i64)) -> Result<()> {
    let (_, balance) = stack.admin("admin-client", "GET", "/admin/v1/trial-balance", &json!({})).await?;
    let lines = balance["lines"].as_array().cloned().unwrap_or_default();
    let line = lines.iter().find(|line| line["account"] == "suspense:long").cloned().unwrap_or_default();
    let minor = |side: &str| line[side].as_i64().unwrap_or(0);
    let found = (minor("creditMinor"), minor("creditMinor") - minor("debitMinor"));
    ensure!(found == (came, left), "suspense: {line}");
    Ok(())
}
