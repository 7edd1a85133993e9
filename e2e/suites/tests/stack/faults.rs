//! Processes die; money does not double, and nothing is left open.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use payplane_client::call::App;
use payplane_client::message::PaymentStatus;
use payplane_client::message::PaymentStatus::{Processing, Succeeded};

use crate::harness::{Stack, ended, payment};

const SOON: Duration = Duration::from_secs(60);
const WINDOW_CLOSED: Duration = Duration::from_secs(150);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_process_left_is_finished() -> Result<()> {
    let mut stack = Stack::start().await?;

    // A gateway dies while the network works on a payment: the other finishes it.
    let app = Arc::new(stack.app("app1", 1)?);
    let slow = (0..2).map(|n| {
        let app = app.clone();
        tokio::spawn(async move { app.pay(&payment(&format!("slow{n}"), 19_007)).await })
    });
    let slow: Vec<_> = slow.collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    stack.gateways[0].kill_9()?;
    let answers = join_all(slow).await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(Ok(_)))).count(), 1);
    stack.gateways[0].restart().await?;
    for number in ["slow0", "slow1"] {
        assert_eq!(ended(&app, number, SOON).await?.status, Succeeded, "{number}");
    }

    // The ledger is away: the network took the money, success is not told yet.
    stack.ledger.kill_9()?;
    let owed = app.pay(&payment("owed", 10_000)).await?;
    assert_eq!(owed.status, Processing);
    stack.ledger.restart().await?;
    assert_eq!(ended(&app, "owed", SOON).await?.status, Succeeded);

    // The database dies and comes back: who pays meanwhile waits, and is not refused.
    stack.postgres.kill_9()?;
    let waiting = tokio::spawn({
        let app = app.clone();
        async move { app.pay(&payment("away", 10_000)).await }
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    stack.postgres.launch().await?;
    assert_eq!(waiting.await??.status, Succeeded);
    assert_eq!(retry(&app, "after", 10_000).await, Succeeded);
    stack.check_agreement().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_under_traffic_lose_and_double_nothing() -> Result<()> {
    let mut stack = Stack::start().await?;
    let app = Arc::new(stack.app("app1", 8)?);
    let mut sent = Vec::new();
    for round in 0..4 {
        let traffic: Vec<_> = (0..20)
            .map(|n| {
                let (app, number) = (app.clone(), format!("k{round}-{n}"));
                sent.push(number.clone());
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(n * 40)).await;
                    app.pay(&payment(&number, 10_000 + i64::try_from(n)?)).await.map_err(anyhow::Error::from)
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(300)).await;
        match round {
            0 => stack.gateways[0].restart().await?,
            1 => stack.ledger.restart().await?,
            2 => stack.simulator.restart().await?,
            _ => {
                stack.postgres.kill_9()?;
                stack.postgres.launch().await?;
            }
        }
        for answer in join_all(traffic).await {
            // Whatever was told as a success stays one.
            if let Ok(Ok(payment)) = answer
                && payment.status == Succeeded
            {
                let kept = ended(&app, &payment.order_number, SOON).await?;
                assert_eq!(kept.ledger_transaction_id, payment.ledger_transaction_id);
            }
        }
    }
    let open = "SELECT count(*) FROM gateway.orders WHERE status = 'Processing'";
    let began = std::time::Instant::now();
    while stack.count(open).await? > 0 {
        assert!(began.elapsed() < WINDOW_CLOSED, "orders left open");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let paid = stack.count("SELECT count(*) FROM gateway.orders WHERE status = 'Succeeded'").await?;
    assert!(paid >= 20, "{paid} of 80 payments: too few to tell");
    stack.check_agreement().await
}

/// Sends the same payment until it is answered with an end.
async fn retry(app: &App, number: &str, amount: i64) -> PaymentStatus {
    for _ in 0..100 {
        if let Ok(payment) = app.pay(&payment(number, amount)).await
            && payment.status != Processing
        {
            return payment.status;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    Processing
}
