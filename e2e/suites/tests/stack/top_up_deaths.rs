//! A gateway is killed between the network's success and the end of a top-up; another one goes
//! on, on a newer config, and the wallet is filled once.

use anyhow::{Context, Result, ensure};
use payplane_client::message::PaymentStatus::Succeeded;
use serde_json::json;
use tokio_postgres::Client;

use crate::agreement_stage::pay;
use crate::harness::{Stack, ended, refund};
use crate::networks::{NETWORKS, SOON};
use crate::payout_stage::bank;
use crate::top_up_stage::{filled, refunded, top_up};

const AMOUNT: i64 = 12_800;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_gateway_left_of_a_top_up_is_booked_once() -> Result<()> {
    let mut stack = bank().await?;
    let others = stack.of_others().await?;

    // Paid, and not booked; the config that it was decided on is not in force any more.
    stack.ledger.signal("STOP")?;
    asks(&stack, "unbooked")?;
    stack.until(&succeeded("unbooked"), 1).await?;
    let mut channel = NETWORKS[3].channel(&stack)?;
    channel["methods"][0]["fees"][0]["basisPoints"] = json!(500);
    stack.configure_channels(&[channel])?;
    let owner = stack.postgres.connect("postgres").await?;
    owner.batch_execute("SELECT ledger.raise_config_epoch(3)").await?;
    dies(&mut stack, None).await?;
    stack.ledger.signal("CONT")?;
    ends(&mut stack, "unbooked", AMOUNT).await?;
    let newest = "SELECT count(*) FROM gateway.orders WHERE config_epoch = 3 AND fee_minor = 0";
    ensure!(stack.count(newest).await? == 1, "it was not decided again");

    // Booked, and not marked as such.
    stack.ledger.signal("STOP")?;
    asks(&stack, "unmarked")?;
    stack.until(&succeeded("unmarked"), 1).await?;
    let held = stack.postgres.connect("postgres").await?;
    let lock = "BEGIN; SELECT FROM gateway.orders WHERE order_number = 'bankdirect-unmarked' FOR UPDATE";
    held.batch_execute(lock).await?;
    stack.ledger.signal("CONT")?;
    let booked =
        "SELECT count(*) FROM ledger.transactions JOIN gateway.orders ON key = 'wallet-top-up:' || order_id
         WHERE order_number = 'bankdirect-unmarked'";
    stack.until(booked, 1).await?;
    dies(&mut stack, Some(held)).await?;
    ends(&mut stack, "unmarked", 2 * AMOUNT).await?;

    // Debited, and not asked of the network.
    given_back_by_another(&mut stack).await?;
    stack.booked_once().await?;
    ensure!(stack.of_others().await? == others, "it is nobody else's");
    stack.check_channel(NETWORKS[3].name, NETWORKS[3].record).await
}

fn succeeded(number: &str) -> String {
    format!(
        "SELECT count(*) FROM gateway.attempts a JOIN gateway.orders USING (order_id)
         WHERE order_number = 'bankdirect-{number}' AND a.status = 'Succeeded'"
    )
}

/// Asks the gateway that is to die.
fn asks(stack: &Stack, number: &str) -> Result<()> {
    let (app, order) = (stack.app_of(0, 1)?, top_up(&NETWORKS[3], number, AMOUNT, "u-1")?);
    tokio::spawn(async move { pay(&app, &order).await });
    Ok(())
}

/// Kills the gateway, and what it had asked of the database; another takes its work up at once.
async fn dies(stack: &mut Stack, held: Option<Client>) -> Result<()> {
    let waits = "FROM pg_stat_activity WHERE usename = 'gateway' AND wait_event_type = 'Lock'";
    let waiting = format!("SELECT count(*) {waits}");
    if held.is_some() {
        stack.until(&waiting, 1).await?;
    }
    stack.gateways[0].kill_9()?;
    let owner = stack.postgres.connect("postgres").await?;
    owner.query(&format!("SELECT pg_terminate_backend(pid) {waits}"), &[]).await?;
    stack.until(&waiting, 0).await?;
    if let Some(held) = held {
        held.batch_execute("ROLLBACK").await?;
    }
    let due = "SET payplane.knows = 'top-ups'; UPDATE gateway.orders SET next_check_at = now()
             WHERE next_check_at IS NOT NULL;
         UPDATE gateway.refunds SET next_check_at = now() WHERE next_check_at IS NOT NULL";
    Ok(owner.batch_execute(due).await?)
}

/// The other gateway brings it to its end. Then both are there again.
async fn ends(stack: &mut Stack, number: &str, has: i64) -> Result<()> {
    let end = ended(&stack.app_of(1, 1)?, &format!("bankdirect-{number}"), SOON).await?;
    ensure!((end.status, end.fee_minor) == (Succeeded, Some(0)), "{end:?}");
    stack.gateways[0].restart().await?;
    ensure!(stack.wallet("u-1").await? == has);
    Ok(())
}

async fn given_back_by_another(stack: &mut Stack) -> Result<()> {
    let app = stack.app_of(1, 1)?;
    ensure!(filled(&app, &top_up(&NETWORKS[3], "given-back", AMOUNT, "u-2")?).await?.status == Succeeded);
    stack.ledger.signal("STOP")?;
    let first = stack.app_of(0, 1)?;
    let order = "bankdirect-given-back";
    let asked =
        tokio::spawn(async move { first.refund(crate::harness::DATE, order, &refund("r1", AMOUNT)).await });
    stack.until("SELECT count(*) FROM gateway.refunds WHERE status = 'Requested'", 1).await?;
    let held = stack.postgres.connect("postgres").await?;
    held.batch_execute("BEGIN; SELECT FROM gateway.refunds FOR UPDATE").await?;
    stack.ledger.signal("CONT")?;
    let debited =
        "SELECT count(*) FROM ledger.transactions JOIN gateway.refunds ON key = 'refund:' || refund_id";
    stack.until(debited, 1).await?;
    dies(stack, Some(held)).await?;
    ensure!(asked.await.context("the caller")?.is_err(), "nobody answered him");
    ensure!(refunded(&app, order, &refund("r1", AMOUNT)).await?.status == Succeeded);
    stack.gateways[0].restart().await?;
    ensure!(stack.wallet("u-2").await? == 0, "once");
    Ok(())
}
