//! Orders are closed where the network confirms it, and what was paid stays paid.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use payplane_client::message::PaymentStatus::{Failed, Processing, Succeeded};
use payplane_testkit::port;
use serde_json::json;

use crate::harness::{DATE, Stack, code, ended, payment};

const SOON: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_is_closed_when_its_network_says_so() -> Result<()> {
    let mut stack = Stack::start().await?;
    let app = stack.app("app1", 4)?;
    assert_eq!(code(app.close(DATE, "nobody's").await), "NotFound");

    // The network would have decided two seconds later.
    assert_eq!(app.pay(&payment("later", 19_002)).await?.status, Processing);
    let closed = app.close(DATE, "later").await?;
    assert_eq!((closed.status, closed.failure_code.as_deref()), (Failed, Some("Closed")));
    assert_eq!(app.close(DATE, "later").await?, closed, "to close twice is to close");
    assert_eq!(app.pay(&payment("later", 19_002)).await?, closed, "it is the same order, and closed");

    // It never came, or nobody answered: closed before it comes, or paid.
    let (never, lost) = (payment("never", 19_003), payment("lost", 19_004));
    let (never, lost) = tokio::join!(app.pay(&never), app.pay(&lost));
    assert_eq!((never?.status, lost?.status), (Processing, Processing));
    assert_eq!(app.close(DATE, "never").await?.failure_code.as_deref(), Some("Closed"));
    assert_eq!(app.close(DATE, "lost").await?.status, Succeeded, "what was paid stays paid");
    assert_eq!(app.close(DATE, "lost").await?.status, Succeeded);

    // Without the network nothing is closed, and the query goes on.
    assert_eq!(app.pay(&payment("away", 19_002)).await?.status, Processing);
    let mut gone = stack.channel("sim", 1, 60)?;
    gone["network"]["endpoint"] = json!(format!("https://localhost:{}", port::free()?));
    stack.configure_channels(&[gone])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(app.close(DATE, "away").await?.status, Processing, "nobody confirmed it");
    stack.configure_channels(&[stack.channel("sim", 1, 60)?])?;
    assert_eq!(ended(&app, "away", SOON).await?.status, Succeeded);
    stack.check_agreement().await
}

/// Whoever comes first: an order is paid and booked, or closed, and the network agrees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_while_paying_ends_in_one_of_both() -> Result<()> {
    let stack = Stack::start().await?;
    let app = Arc::new(stack.app("app1", 16)?);
    let all = (0..60_u64).map(|n| {
        let app = app.clone();
        tokio::spawn(async move {
            let number = format!("race-{n}");
            // At once, a second later, or two seconds later.
            let request = payment(&number, [10_000, 19_007, 19_002][usize::try_from(n % 3)?]);
            let closing = async {
                loop {
                    tokio::time::sleep(Duration::from_millis(1 + n % 7)).await;
                    match app.close(DATE, &number).await {
                        // Not stored yet.
                        Err(error) if error.to_string().contains("NotFound") => {}
                        closed => return closed,
                    }
                }
            };
            let (paid, closed) = tokio::join!(app.pay(&request), closing);
            paid?;
            closed?;
            anyhow::Ok(ended(&app, &number, SOON).await?)
        })
    });
    let mut counts = [0, 0];
    for order in join_all(all).await {
        let order = order??;
        counts[usize::from(order.status == Succeeded)] += 1;
        let is_closed = order.failure_code.as_deref() == Some("Closed");
        ensure!((order.status == Succeeded) != is_closed, "{order:?}");
    }
    ensure!(counts.iter().all(|count| *count > 0), "one-sided: {counts:?}");
    stack.check_agreement().await
}
