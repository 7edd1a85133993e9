//! Which channel takes a payment when the first one cannot.

use std::time::Duration;

use anyhow::Result;
use payplane_client::message::PaymentStatus::{Processing, Succeeded};
use payplane_testkit::port;
use serde_json::json;

use crate::harness::{Stack, payment};

/// What an attempt was sent over, and what became of it, in order.
async fn attempts(stack: &Stack, number: &str) -> Result<Vec<String>> {
    let sql =
        "SELECT a.channel || ' ' || a.status FROM gateway.attempts a JOIN gateway.orders o USING (order_id)
        WHERE o.order_number = $1 ORDER BY a.ordinal";
    let rows = stack.postgres.connect("postgres").await?.query(sql, &[&number]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_surely_not_sent_goes_to_the_next_channel_and_nothing_else_does() -> Result<()> {
    let mut stack = Stack::start().await?;
    let app = stack.app("app1", 1)?;
    let mut dead = stack.channel("dead", 1, 10)?;
    dead["network"]["endpoint"] = json!(format!("https://localhost:{}", port::free()?));
    stack.configure_channels(&[dead, stack.channel("sim", 2, 60)?])?;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let paid = app.pay(&payment("second", 10_000)).await?;
    assert_eq!((paid.status, paid.fee_minor), (Succeeded, Some(60)), "on the terms of the second channel");
    assert_eq!(attempts(&stack, "second").await?, ["dead NotSent", "sim Succeeded"]);

    // The first one takes the request and says nothing: nobody else may be asked.
    stack.configure_channels(&[stack.channel("first", 1, 10)?, stack.channel("sim", 2, 60)?])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let silent = app.pay(&payment("silent", 19_003)).await?;
    assert_eq!(silent.status, Processing);
    assert_eq!(attempts(&stack, "silent").await?, ["first Unknown"]);
    Ok(())
}
