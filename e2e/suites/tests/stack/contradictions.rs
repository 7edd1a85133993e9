//! A network that says, after two persons decided, that it was otherwise: nothing is
//! overwritten, and the books have what the network says.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use payplane_client::message::PayRequest;
use payplane_client::message::PaymentStatus::{Failed, Processing, Succeeded};
use serde_json::{Value, json};

use crate::decision_stage::{CHECKER, MAKER, proposal};
use crate::harness::{DATE, Stack, ended, refund};
use crate::networks::{NETWORKS, SOON, stack_with};
use crate::payout_stage::{BANK, bank, fund, paid_out, payout, sale};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_decided_as_failed_that_was_made_after_all_goes_back() -> Result<()> {
    let stack = stack_with(&NETWORKS[..1]).await?;
    let (app, network) = (stack.app("app1", 4)?, &NETWORKS[0]);
    let order = network.order("told-late", 19_012);
    let item = untold(&stack, &order).await?;
    let decision = stack.decide(&proposal(&item, "Failed")).await?;
    let end = ended(&app, &order.order_number, SOON).await?;
    ensure!((end.status, end.failure_code.as_deref()) == (Failed, Some("Declined")), "{end:?}");

    stack.simulator.signal("CONT")?;
    let said = contradiction(&stack).await?;
    ensure!((&said["stored"], &said["said"]) == (&json!("Declined"), &json!("Succeeded")), "{said}");
    ensure!((&said["decisionId"], &said["itemId"]) == (&decision["decisionId"], &item["itemId"]), "{said}");
    stack.until("SELECT count(*) FROM gateway.surpluses WHERE status = 'Refunded'", 1).await?;
    ensure!(stack.balance("suspense:long").await? == 0, "it went back to its payer");
    ensure!(app.payment(DATE, &order.order_number).await?.status == Failed, "the order keeps its end");
    stack.check_channel(network.name, network.record).await?;
    resolve(&stack).await?;
    held(&stack).await
}

/// Paid at once, and told five seconds later: what is open meanwhile.
async fn untold(stack: &Stack, order: &PayRequest) -> Result<Value> {
    ensure!(stack.app("app1", 1)?.pay(order).await?.status == Processing);
    let began = Instant::now();
    while !stack.record().await?.iter().any(|e| e["amountMinor"] == 19_012 && e["state"] == "Succeeded") {
        ensure!(began.elapsed() < Duration::from_secs(4), "its payer does not pay");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stack.simulator.signal("STOP")?;
    stack.an_hour_later().await?;
    stack.only("Payment").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_networks_own_receipt_is_kept() -> Result<()> {
    let stack = stack_with(&NETWORKS[..1]).await?;
    let (app, order) = (stack.app("app1", 4)?, NETWORKS[0].order("told-late", 19_012));
    let mut body = proposal(&untold(&stack, &order).await?, "Succeeded");
    body["networkId"] = "wrong-line".into();
    body["networkTime"] = jiff::Timestamp::now().to_string().into();
    stack.decide(&body).await?;
    ensure!(ended(&app, &order.order_number, SOON).await?.status == Succeeded);
    let kept = "SELECT count(*) FROM gateway.attempts WHERE code = 'Decided' AND network_id <> 'wrong-line'";
    ensure!(stack.count(kept).await? == 0);
    stack.simulator.signal("CONT")?;
    stack.until(kept, 1).await?;
    ensure!(stack.open("Contradiction").await?.is_empty(), "it says the same");
    stack.check_channel(NETWORKS[0].name, NETWORKS[0].record).await
}

/// The network does not give a surplus back, and persons say that it did after all.
async fn held(stack: &Stack) -> Result<()> {
    let app = stack.app("app1", 1)?;
    let end = NETWORKS[0].pay(&app, "not-given-back", 19_015, SOON).await?;
    ensure!(end.failure_code.as_deref() == Some("OtherAmount"), "{end:?}");
    stack.until("SELECT count(*) FROM gateway.surpluses WHERE status = 'Held'", 1).await?;
    let mut body = proposal(&stack.only("Surplus").await?, "Refunded");
    body["networkId"] = "refund-1".into();
    body["networkTime"] = jiff::Timestamp::now().to_string().into();
    ensure!(stack.balance("suspense:long").await? == 19_001);
    stack.decide(&body).await?;
    stack.until("SELECT count(*) FROM gateway.surpluses WHERE status = 'Refunded'", 2).await?;
    ensure!(stack.balance("suspense:long").await? == 0);
    let told = "SELECT count(*) FROM gateway.outbox WHERE kind = 'payment.returned'";
    ensure!(stack.count(told).await? == 2);

    // Nobody may claim another one any more.
    NETWORKS[0].pay(&app, "unclaimed", 19_015, SOON).await?;
    stack.until("SELECT count(*) FROM gateway.surpluses WHERE status = 'Held'", 1).await?;
    stack.decide(&proposal(&stack.only("Surplus").await?, "TakeToIncome")).await?;
    stack.until("SELECT count(*) FROM gateway.surpluses WHERE status = 'Forfeited'", 1).await?;
    ensure!((stack.balance("suspense:long").await?, stack.balance("income:other").await?) == (0, 19_001));
    ensure!(stack.count(told).await? == 2, "nobody was given anything back");
    ensure!(stack.open("Surplus").await?.is_empty());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_decided_as_failed_that_was_paid_after_all_is_in_suspense() -> Result<()> {
    let stack = bank().await?;
    let app = stack.app("app1", 4)?;
    fund(&stack, &sale("M1", 1_000_000)).await?;
    // Paid after two seconds, and told.
    ensure!(app.pay_out(&payout("later", 19_002)).await?.status == Processing);
    stack.simulator.signal("STOP")?;
    stack.an_hour_later().await?;
    ensure!(stack.open("Payout").await?.is_empty(), "the bank said that it works on it");
    let week = "UPDATE gateway.payouts SET signed_at = signed_at - interval '7 days'";
    stack.postgres.connect("postgres").await?.batch_execute(week).await?;
    let item = stack.only("Payout").await?;
    ensure!(item["known"] == true, "{item}");
    stack.decide(&proposal(&item, "Failed")).await?;
    ensure!(paid_out(&app, "later", SOON).await?.status == Failed);
    ensure!(stack.balance("merchant:M1:available").await? == 1_000_000, "the merchant has it back");

    stack.simulator.signal("CONT")?;
    let said = contradiction(&stack).await?;
    ensure!((&said["kind"], &said["said"]) == (&json!("Payout"), &json!("Succeeded")), "{said}");
    ensure!(said["ledgerTransactionId"].is_string(), "{said}");
    ensure!(paid_out(&app, "later", SOON).await?.status == Failed, "it keeps its end");
    // The books have what the bank paid; whose loss it is, a person finds out.
    ensure!(stack.balance("transit:payouts").await? == 19_002);
    ensure!(stack.balance("suspense:short").await? == -19_002);
    ensure!(stack.balance("merchant:M1:available").await? == 1_000_000);
    stack.check_channel(BANK.0, BANK.1).await?;
    // However often the bank says it, and whoever posts it again.
    let owner = stack.postgres.connect("postgres").await?;
    owner
        .batch_execute(
            "UPDATE gateway.contradictions SET status = 'Noted', ledger_transaction_id = NULL, next_check_at = now()",
        )
        .await?;
    ensure!(contradiction(&stack).await?["contradictionId"] == said["contradictionId"]);
    ensure!(stack.balance("suspense:short").await? == -19_002, "once");
    let error = "a person has to look";
    let logs = ["gateway-0.log", "gateway-1.log"].map(|log| stack.folder.path().join(log));
    let mut errors = 0;
    for log in logs {
        errors += std::fs::read_to_string(log)?.matches(error).count();
    }
    ensure!(errors == 1, "{errors} times");
    resolve(&stack).await
}

/// Nobody may claim a surplus, persons say, and then the network gives it back: it had the request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_surplus_taken_to_income_and_given_back_after_all_is_in_suspense() -> Result<()> {
    let stack = stack_with(&NETWORKS[..1]).await?;
    let app = stack.app("app1", 1)?;
    let owner = stack.postgres.connect("postgres").await?;
    // It is not booked, and so not asked back, before the network is silent.
    stack.ledger.signal("STOP")?;
    NETWORKS[0].pay(&app, "more", 19_014, SOON).await?;
    stack.until("SELECT count(*) FROM gateway.surpluses WHERE status = 'Confirmed'", 1).await?;
    stack.simulator.signal("STOP")?;
    stack.ledger.signal("CONT")?;
    stack.until("SELECT count(*) FROM gateway.surpluses WHERE status = 'Sending'", 1).await?;
    owner
        .batch_execute(
            "UPDATE gateway.surpluses SET status = 'Held', held_because = 'x', next_check_at = NULL",
        )
        .await?;
    stack.decide(&proposal(&stack.only("Surplus").await?, "TakeToIncome")).await?;
    stack.until("SELECT count(*) FROM gateway.surpluses WHERE status = 'Forfeited'", 1).await?;
    stack.simulator.signal("CONT")?;
    let said = contradiction(&stack).await?;
    ensure!((&said["kind"], &said["said"]) == (&json!("Surplus"), &json!("Succeeded")), "{said}");
    ensure!(stack.balance("income:other").await? == 19_015);
    ensure!(stack.balance("suspense:short").await? == -19_015);
    stack.check_channel(NETWORKS[0].name, NETWORKS[0].record).await?;
    resolve(&stack).await?;
    // A release that knows nothing of it does not get at it.
    owner.batch_execute("SET payplane.knows = 'transfers'").await?;
    let touched = owner.execute("UPDATE gateway.surpluses SET checks = 0", &[]).await?;
    ensure!(touched == 0, "{touched}");
    Ok(())
}

/// Two persons take for done what the network, whose answer is under way, never did.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_as_succeeded_and_never_was_is_in_suspense() -> Result<()> {
    let stack = bank().await?;
    let app = stack.app("app1", 8)?;
    let funds = sale("M1", 1_000_000);
    fund(&stack, &funds).await?;
    // None of them has an effect.
    let (order, out, back) =
        (NETWORKS[3].order("lost", 19_003), payout("lost", 29_003), refund("lost", 39_003));
    let silence = async {
        let sending = "SELECT (SELECT count(*) FROM gateway.attempts WHERE status = 'Sending')
            + (SELECT count(*) FROM gateway.refunds WHERE status = 'Sending')
            + (SELECT count(*) FROM gateway.payouts WHERE status = 'Sending')";
        stack.until(sending, 3).await?;
        stack.falls_silent().await
    };
    let (a, b, c, silent) = tokio::join!(
        app.pay(&order),
        app.pay_out(&out),
        app.refund(DATE, &funds.order_number, &back),
        silence
    );
    ensure!([a?.status, b?.status, c?.status] == [Processing; 3] && silent.is_ok());
    stack.an_hour_later().await?;
    let mut decisions = vec![];
    for kind in ["Payment", "Payout", "Refund"] {
        let mut body = proposal(&stack.only(kind).await?, "Succeeded");
        body["networkId"] = "wrong-line".into();
        body["networkTime"] = jiff::Timestamp::now().to_string().into();
        decisions.push(stack.proposed(MAKER, &body).await?);
    }
    let owner = stack.postgres.connect("postgres").await?;
    for (table, open) in [("orders", "status = 'Processing'"), ("payouts", "true"), ("refunds", "true")] {
        let ask = format!(
            "UPDATE gateway.{table} SET next_check_at = now() WHERE next_check_at IS NOT NULL AND {open}"
        );
        owner.batch_execute(&ask).await?;
    }
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for decision in &decisions {
        ensure!(stack.judge((0, CHECKER), "approve", decision).await?.0 == 200);
    }
    stack.simulator.signal("CONT")?;
    let said = "SELECT count(*) FROM gateway.contradictions
        WHERE said = 'Failed' AND stored = 'Succeeded' AND status = 'Open' AND ledger_transaction_id IS NOT NULL";
    stack.until(said, 3).await?;
    // Nothing is overwritten; what the bank owes, and what is on its way, is what the bank says.
    ensure!(ended(&app, &order.order_number, SOON).await?.status == Succeeded);
    ensure!(paid_out(&app, "lost", SOON).await?.status == Succeeded);
    ensure!(app.refund_of(DATE, &funds.order_number, "lost").await?.status == Succeeded);
    ensure!(stack.balance("channel:bankdirect:receivable").await? == -(funds.amount_minor + 1));
    ensure!(stack.balance("transit:payouts").await? == 0);
    ensure!(stack.balance("suspense:short").await? == -19_003);
    ensure!(stack.balance("suspense:long").await? == 29_003 + 39_003);
    Ok(())
}

/// Waits for the only contradiction, booked where it is to be.
async fn contradiction(stack: &Stack) -> Result<Value> {
    stack.until("SELECT count(*) FROM gateway.contradictions WHERE status = 'Open'", 1).await?;
    let (_, all) = stack.admin(MAKER, "GET", "/admin/v1/contradictions", &Value::Null).await?;
    Ok(all["contradictions"][0].clone())
}

/// Two persons say that it is dealt with; then nobody has to look any more.
async fn resolve(stack: &Stack) -> Result<()> {
    let item = stack.only("Contradiction").await?;
    stack.decide(&proposal(&item, "Resolved")).await?;
    ensure!(stack.open("Contradiction").await?.is_empty());
    Ok(())
}
