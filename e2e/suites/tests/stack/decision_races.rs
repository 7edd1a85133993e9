//! Two who decide at once, a network that answers meanwhile, and gateways that die: what is
//! decided takes effect once.

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use payplane_client::message::PaymentStatus::{Processing, Succeeded};
use serde_json::{Value, json};

use crate::decision_stage::{CHECKER, MAKER};
use crate::harness::{Stack, ended, payment};
use crate::networks::SOON;

/// The network has the effect, the gateway no answer.
const TAKEN: i64 = 19_004;
const COUNT: usize = 6;

/// Payments of which nobody knows that the network took them, and a proposal for each.
async fn unknown(stack: &Stack, count: usize) -> Result<Vec<Value>> {
    let app = stack.app("app1", count)?;
    let orders: Vec<_> = (0..count).map(|n| payment(&format!("n{n}"), TAKEN)).collect();
    let silence = async {
        let sending = "SELECT count(*) FROM gateway.attempts WHERE status = 'Sending'";
        stack.until(sending, i64::try_from(count)?).await?;
        stack.falls_silent().await
    };
    let (paid, record) = tokio::join!(join_all(orders.iter().map(|order| app.pay(order))), silence);
    for answer in paid {
        ensure!(answer?.status == Processing);
    }
    stack.an_hour_later().await?;
    let (mut proposed, record) = (vec![], record?);
    for item in stack.open("Payment").await? {
        proposed.push(stack.proposed(MAKER, &stack.success(&item, &record)?).await?);
    }
    ensure!(proposed.len() == count, "{proposed:?}");
    Ok(proposed)
}

/// Each order succeeded, and is booked and told once.
async fn once(stack: &Stack, count: usize) -> Result<()> {
    let app = stack.app("app1", 2)?;
    for n in 0..count {
        ensure!(ended(&app, &format!("n{n}"), SOON).await?.status == Succeeded, "n{n}");
    }
    stack.check_agreement().await?;
    let other = "SELECT count(*) FROM gateway.orders o
         WHERE (SELECT count(*) FROM ledger.transactions WHERE key = 'sale:' || order_id) <> 1
            OR (SELECT count(*) FROM gateway.outbox WHERE subject_id = order_id) <> 1";
    ensure!(stack.count(other).await? == 0, "otherwise than once");
    ensure!(stack.count("SELECT count(*) FROM gateway.contradictions").await? == 0);
    // The resolver lapses what the network was faster with.
    stack.until("SELECT count(*) FROM gateway.decisions WHERE status = 'Proposed'", 0).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_checkers_and_the_network_at_once_have_one_effect() -> Result<()> {
    let stack = Stack::start().await?;
    let proposed = unknown(&stack, COUNT).await?;
    // The network is silent yet: two judge the same at once.
    let (one, two) = tokio::join!(
        stack.judge((0, CHECKER), "approve", &proposed[COUNT - 1]),
        stack.judge((1, CHECKER), "approve", &proposed[COUNT - 1])
    );
    let one = one?;
    ensure!(one == two? && one.0 == 200 && one.1["status"] == "Approved", "{one:?}");
    let judged = proposed[1..].iter().flat_map(|decision| [0, 1, 0, 1].map(|gateway| (gateway, decision)));
    stack.simulator.signal("CONT")?;
    let stack = &stack;
    let judged = judged
        .map(|(gateway, decision)| async move { stack.judge((gateway, CHECKER), "approve", decision).await });
    for answer in join_all(judged).await {
        let (status, decision) = answer?;
        ensure!(status == 200 && decision["status"] == "Approved" || status == 409, "{status} {decision}");
    }
    // The network says it first: what was proposed is of no use any more.
    ensure!(ended(&stack.app("app1", 1)?, "n0", SOON).await?.status == Succeeded);
    once(stack, COUNT).await?;
    let path = format!("/admin/v1/decisions/{}", proposed[0]["decisionId"].as_str().unwrap_or_default());
    let (_, lapsed) = stack.admin(MAKER, "GET", &path, &Value::Null).await?;
    ensure!(lapsed["status"] == "Lapsed" && lapsed["endedBy"] == "gateway", "{lapsed}");
    ensure!(stack.judge((0, CHECKER), "approve", &proposed[0]).await?.0 == 409);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_outlives_the_gateway_that_took_it_or_leaves_nothing() -> Result<()> {
    let mut stack = Stack::start().await?;
    let proposed = unknown(&stack, 1).await?;
    let decision = proposed[0].clone();
    // Killed in the middle of the transaction, which waits for the order's row.
    let held = stack.postgres.connect("postgres").await?;
    held.batch_execute("BEGIN; SELECT FROM gateway.orders FOR UPDATE").await?;
    let (status, ()) = {
        let dies = async {
            let waits = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'gateway'
                AND wait_event_type = 'Lock' AND query LIKE 'SELECT 1 FROM gateway.orders%FOR UPDATE'";
            stack.until(waits, 1).await?;
            anyhow::Ok(())
        };
        tokio::select! {
            answer = stack.judge((0, CHECKER), "approve", &decision) => (Some(answer?.0), ()),
            waits = dies => (None, waits?),
        }
    };
    ensure!(status.is_none(), "it did not wait");
    stack.gateways[0].kill_9()?;
    let gone = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE usename = 'gateway' AND wait_event_type = 'Lock'";
    held.query(gone, &[]).await?;
    held.batch_execute("ROLLBACK").await?;
    let nothing = "SELECT count(*) FROM gateway.decisions JOIN gateway.attempts ON attempt_id = item_id
        WHERE decisions.status = 'Proposed' AND attempts.status = 'Unknown'";
    ensure!(stack.count(nothing).await? == 1, "a half of it was stored");

    // Killed after the commit, and before the books are asked.
    stack.ledger.signal("STOP")?;
    let (status, approved) = stack.judge((1, CHECKER), "approve", &decision).await?;
    ensure!(status == 200, "{approved}");
    stack.gateways[1].kill_9()?;
    stack.ledger.signal("CONT")?;
    stack.gateways[1].restart().await?;
    stack.gateways[0].restart().await?;
    let (status, again) = stack.judge((0, CHECKER), "approve", &decision).await?;
    ensure!((status, &again["status"]) == (200, &json!("Approved")), "{again}");
    ensure!(ended(&stack.app("app1", 1)?, "n0", SOON).await?.status == Succeeded);
    stack.simulator.signal("CONT")?;
    once(&stack, 1).await
}
