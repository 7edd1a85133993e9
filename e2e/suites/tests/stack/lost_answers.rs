//! The database commits, and the answer never arrives: what a lost primary does
//! to whoever waits for its standby.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use payplane_client::message::PaymentStatus::{Failed, Succeeded};
use serde_json::json;
use tokio_postgres::Client;

use crate::harness::{DATE, Stack, payment, refund};
use crate::limits::{MISCOUNTED, configured, limited};
use crate::risk::{in_force, policy};

const ROUNDS_MIN: i64 = 8;
const ROUNDS_MAX: i64 = 60;
/// How often a commit of each statement was seen waiting.
pub(crate) type Lost = Mutex<BTreeMap<String, u32>>;

pub(crate) fn seen(lost: &Lost) -> MutexGuard<'_, BTreeMap<String, u32>> {
    lost.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers of enough commits were lost to tell something.
pub(crate) fn lost_enough(lost: &Lost) -> Result<()> {
    let commits =
        seen(lost).iter().filter(|(query, _)| query.contains("COMMIT")).map(|(_, n)| *n).sum::<u32>();
    ensure!(commits >= 20, "too few commits were lost: {lost:?}");
    Ok(())
}

/// Statements that commit on their own, each of which must have been hit.
const ALONE: [&str; 3] = ["SET status = 'Sending'", "SET status = 'Reversing'", "UPDATE gateway.attempts"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_is_lost_is_asked_for_again() -> Result<()> {
    let mut stack = Stack::start().await?;
    // What is tried again is counted once.
    let channel = limited(&stack, "sim", 1, &json!({"perChannel": {"perDay": {"paymentsMax": 1_000}}}))?;
    configured(&mut stack, &[channel]).await?;
    let app = stack.app("app1", 1)?;
    let postgres = stack.postgres.connect("postgres").await?;
    standby(&postgres, "nobody").await?;
    let lost = Mutex::new(BTreeMap::new());
    let hit = || ALONE.iter().all(|part| seen(&lost).keys().any(|query| query.contains(part)));
    tokio::select! {
        stopped = lose(&postgres, &lost) => stopped?,
        done = async {
            for round in 0..ROUNDS_MAX {
                if round >= ROUNDS_MIN && hit() {
                    break;
                }
                let number = format!("p{round}");
                assert_eq!(app.pay(&payment(&number, 30_000)).await?.status, Succeeded, "{number}");
                let given = app.refund(DATE, &number, &refund("yes", 10_000 + round)).await?;
                assert_eq!(given.status, Succeeded, "refund of {number}");
                let kept = app.refund(DATE, &number, &refund("no", 19_001)).await?;
                assert_eq!((kept.status, kept.failure_code.as_deref()), (Failed, Some("Declined")));
            }
            anyhow::Ok(())
        } => done?,
    }
    standby(&postgres, "").await?;
    ensure!(hit(), "not every statement of {ALONE:?} was hit: {lost:?}");
    assert_eq!(stack.count(MISCOUNTED).await?, 0, "counted twice");
    stack.check_agreement().await
}

/// What a policy counts, it counts once, and what it blocks stays blocked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_risk_policy_decides_once_though_its_answer_is_lost() -> Result<()> {
    const PAYERS: usize = 24;
    let mut stack = Stack::start().await?;
    let once = json!({"per": "Payer", "windowSeconds": 3_600, "paymentsMax": 1});
    let all = json!({"per": "Merchant", "windowSeconds": 3_600, "paymentsMax": 1_000});
    in_force(&mut stack, json!([policy("once", "Velocity", &once), policy("all", "Velocity", &all)])).await?;
    let app = stack.app("app1", 1)?;
    let postgres = stack.postgres.connect("postgres").await?;
    standby(&postgres, "nobody").await?;
    let lost = Mutex::new(BTreeMap::new());
    tokio::select! {
        stopped = lose(&postgres, &lost) => stopped?,
        done = async {
            for payer in 0..PAYERS {
                for (number, code) in [(format!("a{payer}"), None), (format!("b{payer}"), Some("RiskBlocked"))] {
                    let mut request = payment(&number, 1_000);
                    request.payer_id = Some(format!("payer-{payer}"));
                    let paid = app.pay(&request).await?;
                    assert_eq!(paid.failure_code.as_deref(), code, "{number}");
                }
            }
            anyhow::Ok(())
        } => done?,
    }
    standby(&postgres, "").await?;
    lost_enough(&lost)?;
    let payers = i64::try_from(PAYERS)?;
    let counted = "SELECT sum((slice ->> 1)::bigint)::bigint FROM gateway.risk_windows, jsonb_array_elements(slices) slice";
    assert_eq!(stack.count(counted).await?, 2 * payers, "by both policies");
    assert_eq!(stack.count("SELECT count(*) FROM gateway.attempts").await?, payers);
    assert_eq!(stack.count("SELECT count(*) FROM gateway.risk_journal").await?, payers);
    stack.check_agreement().await
}

/// Names the standby that every commit waits for; none where it is empty.
pub(crate) async fn standby(postgres: &Client, name: &str) -> Result<()> {
    postgres.batch_execute(&format!("ALTER SYSTEM SET synchronous_standby_names = '{name}'")).await?;
    Ok(postgres.batch_execute("SELECT pg_reload_conf()").await?)
}

/// Of the commits that wait for a standby, each on the disk already, every other
/// one of a kind is lost, by a dead connection or a cancelled wait; the rest are
/// let go.
pub(crate) async fn lose(postgres: &Client, lost: &Lost) -> Result<()> {
    let waiting = "SELECT pid, usename || ': ' || query FROM pg_stat_activity
        WHERE wait_event = 'SyncRep' AND usename IN ('gateway', 'payplane_vault', 'ledger')";
    loop {
        for row in postgres.query(waiting, &[]).await? {
            let (pid, query): (i32, String) = (row.get(0), row.get(1));
            let times = {
                let mut lost = seen(lost);
                let times = lost.entry(query).or_insert(0);
                *times += 1;
                *times
            };
            match times % 4 {
                1 => _ = postgres.execute("SELECT pg_terminate_backend($1)", &[&pid]).await?,
                3 => _ = postgres.execute("SELECT pg_cancel_backend($1)", &[&pid]).await?,
                _ => {
                    standby(postgres, "").await?;
                    let waits = "SELECT FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'";
                    while !postgres.query(waits, &[&pid]).await?.is_empty() {}
                    standby(postgres, "nobody").await?;
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
