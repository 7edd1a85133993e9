//! An agreement is ended while payments by it are made as fast as they go, at both replicas:
//! once its end is answered, none is sent to the bank any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use payplane_client::call::{App, CallError};
use serde_json::Value;

use crate::agreement_stage::{active, at_bank, by_agreement, end, pay, status};
use crate::harness::Stack;
use crate::payout_stage::bank;

const PAYERS: usize = 16;
/// Payments before the end, however slow the machine is; and how long they may take.
const BEFORE: u32 = 100;
const BEFORE_MAX: Duration = Duration::from_secs(60);
const ROUNDS: u32 = 3;

/// Pays until the agreement takes no payment, and a little longer.
async fn payer(
    app: Arc<App>,
    (agreement, payer): (String, usize),
    (paid, over): (Arc<AtomicU32>, Arc<AtomicBool>),
) -> Result<()> {
    let mut last = 0;
    for n in 0.. {
        let was_over = over.load(Ordering::SeqCst);
        let answer = pay(&app, &by_agreement(&format!("{agreement}-{payer}-{n}"), 100, &agreement)).await;
        match answer {
            Ok(answer) if status(&answer) == "Succeeded" => {
                ensure!(!was_over, "paid by an agreement that had ended: {answer}");
                paid.fetch_add(1, Ordering::SeqCst);
            }
            // It was taken just before, and not begun.
            Ok(answer) => ensure!(answer["failureCode"] == "AgreementEnded", "{answer}"),
            Err(CallError::Refused { problem, .. }) if problem.code == "AgreementNotActive" => last += 1,
            Err(error) => return Err(error.into()),
        }
        if last >= 5 {
            break;
        }
    }
    Ok(())
}

async fn round(stack: &Stack, number: &str) -> Result<()> {
    let app = Arc::new(stack.app("app1", 8)?);
    active(&app, number).await?;
    let (paid, over) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let payers = (0..PAYERS)
        .map(|n| tokio::spawn(payer(app.clone(), (number.to_owned(), n), (paid.clone(), over.clone()))));
    let payers: Vec<_> = payers.collect();
    let began = Instant::now();
    while paid.load(Ordering::SeqCst) < BEFORE {
        ensure!(began.elapsed() < BEFORE_MAX, "{paid:?} payments in {BEFORE_MAX:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ended = end(&app, number).await?;
    let answered = Timestamp::now();
    over.store(true, Ordering::SeqCst);
    ensure!(status(&ended) == "Ended", "{ended}");
    for one in try_join_all(payers).await? {
        one?;
    }
    let paid = paid.load(Ordering::SeqCst);
    let (signed, by_token) = at_bank(stack, &ended).await?;
    ensure!(signed["details"]["endedAt"].is_string(), "{signed}");
    for entry in &by_token {
        let created: Timestamp = entry["details"]["createdAt"].as_str().context("no time")?.parse()?;
        ensure!(created <= answered, "sent after the end was answered: {entry}");
        // It waited for those that were on their way.
        ensure!(entry["state"] == "Succeeded", "sent after the bank had ended it: {entry}");
    }
    let succeeded = by_token.iter().filter(|entry: &&Value| entry["state"] == "Succeeded").count();
    ensure!(succeeded == usize::try_from(paid)?, "{succeeded} at the bank, {paid} told");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_payment_is_sent_by_an_agreement_after_its_end_was_answered() -> Result<()> {
    let stack = bank().await?;
    for n in 0..ROUNDS {
        round(&stack, &format!("end{n}")).await?;
    }
    let open = "SELECT count(*) FROM gateway.orders WHERE status = 'Processing'";
    ensure!(stack.count(open).await? == 0, "one has no end");
    stack.check_channel("bankdirect", "BankDirect").await
}

/// It was looked up while the agreement was active, and would begin after its end: the
/// statement that begins it sees that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_waited_through_the_end_is_not_begun() -> Result<()> {
    let stack = bank().await?;
    let app = Arc::new(stack.app("app1", 2)?);
    active(&app, "a1").await?;
    // New orders of the app wait.
    let holder = stack.postgres.connect("postgres").await?;
    holder.batch_execute("BEGIN; SELECT gateway.begin_change('test', 'app', 'app1')").await?;
    let waits = tokio::spawn({
        let app = app.clone();
        async move { pay(&app, &by_agreement("late", 100, "a1")).await }
    });
    let waiting = "SELECT count(*) FROM pg_stat_activity
         WHERE usename = 'gateway' AND wait_event_type = 'Lock' AND wait_event = 'advisory'";
    for _ in 0..200 {
        if stack.count(waiting).await? > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ensure!(stack.count(waiting).await? > 0, "it does not wait");
    let ended = end(&app, "a1").await?;
    ensure!(status(&ended) == "Ended", "{ended}");
    holder.batch_execute("ROLLBACK").await?;
    let late = waits.await??;
    ensure!(status(&late) == "Failed" && late["failureCode"] == "AgreementEnded", "{late}");
    let (_, by_token) = at_bank(&stack, &ended).await?;
    ensure!(by_token.is_empty(), "it was sent: {by_token:?}");
    Ok(())
}
