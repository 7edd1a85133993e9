//! Two replicas at once, one of them killed: no more gets through than a policy says, by the
//! network's own record.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{Stack, payment};
use crate::risk::{in_force, passed, policy};

const OPEN: &str = "SELECT count(*) FROM gateway.orders WHERE status = 'Processing'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_velocity_is_never_exceeded_though_a_replica_is_killed() -> Result<()> {
    const MAX: usize = 300;
    let mut stack = Stack::start().await?;
    let rule = json!({"per": "Merchant", "windowSeconds": 604_800, "paymentsMax": MAX});
    in_force(&mut stack, json!([policy("week", "Velocity", &rule)])).await?;
    let (app, next) = (Arc::new(stack.app("app1", 32)?), Arc::new(AtomicUsize::new(0)));
    let blocked = Arc::new(AtomicUsize::new(0));
    let workers = (0..32).map(|_| {
        let (app, next, blocked) = (app.clone(), next.clone(), blocked.clone());
        tokio::spawn(async move {
            while blocked.load(Ordering::SeqCst) < 50 {
                let n = next.fetch_add(1, Ordering::SeqCst);
                if n > 4 * MAX {
                    break;
                }
                // Who was killed meanwhile does not answer.
                if let Ok(paid) = app.pay(&payment(&format!("n{n}"), 1_000)).await
                    && paid.failure_code.as_deref() == Some("RiskBlocked")
                {
                    blocked.fetch_add(1, Ordering::SeqCst);
                }
            }
        })
    });
    let workers: Vec<_> = workers.collect();
    while next.load(Ordering::SeqCst) < MAX / 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stack.gateways[0].restart().await?;
    for worker in workers {
        worker.await?;
    }
    ensure!(blocked.load(Ordering::SeqCst) >= 50, "the policy blocked nothing");
    // As if its lease were over, and not only in 30 s.
    let database = stack.postgres.connect("postgres").await?;
    let due = "UPDATE gateway.orders SET next_check_at = now() WHERE status = 'Processing'";
    database.execute(due, &[]).await?;
    for _ in 0..600 {
        if stack.count(OPEN).await? == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let taken = stack.record().await?.iter().filter(|payment| payment["state"] == "Succeeded").count();
    ensure!(taken <= MAX, "the network took {taken}");
    let counted = "SELECT sum((slice ->> 1)::bigint)::bigint FROM gateway.risk_windows,
        jsonb_array_elements(slices) slice";
    assert_eq!(stack.count(counted).await?, i64::try_from(MAX)?);
    let attempts = "SELECT count(DISTINCT order_id) FROM gateway.attempts";
    assert_eq!(
        stack.count(attempts).await?,
        i64::try_from(MAX)?,
        "who is counted was begun, and nobody else"
    );
    stack.check_agreement().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_payments_at_once_a_count_of_one_takes_one() -> Result<()> {
    const PAYERS: usize = 60;
    let mut stack = Stack::start().await?;
    let rule = json!({"per": "Payer", "windowSeconds": 3_600, "paymentsMax": 1});
    in_force(&mut stack, json!([policy("once", "Velocity", &rule)])).await?;
    let apps = [stack.app_of(0, PAYERS)?, stack.app_of(1, PAYERS)?];
    // Each payer at both replicas, and twice at one of them.
    let requests = (0..3 * PAYERS).map(|n| {
        let mut request = payment(&format!("n{n}"), 1_000);
        request.payer_id = Some(format!("payer-{}", n % PAYERS));
        (n, request)
    });
    let requests: Vec<_> = requests.collect();
    let paid = join_all(requests.iter().map(|(n, request)| apps[n / PAYERS % 2].pay(request))).await;
    let paid: Vec<_> = paid.into_iter().collect::<Result<_, _>>()?;
    assert_eq!(paid.iter().filter(|paid| passed(paid)).count(), PAYERS);
    let taken = stack.record().await?.iter().filter(|payment| payment["state"] == "Succeeded").count();
    assert_eq!(taken, PAYERS);
    stack.check_agreement().await
}
