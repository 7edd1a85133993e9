//! Which channel takes a payment when the first one cannot.

use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use payplane_client::message::PaymentStatus::{Failed, Processing, Succeeded};
use payplane_testkit::port;
use serde_json::json;

use crate::harness::{Stack, ended, payment};

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

    // A network that does not know the merchant refuses unread: nothing stays open.
    let mut stranger = stack.channel("stranger", 1, 10)?;
    stranger["network"]["merchantId"] = json!("M9");
    stack.configure_channels(&[stranger.clone(), stack.channel("sim", 2, 60)?])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(app.pay(&payment("known", 10_000)).await?.status, Succeeded);
    assert_eq!(attempts(&stack, "known").await?, ["stranger NotSent", "sim Succeeded"]);
    stack.configure_channels(&[stranger])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = app.pay(&payment("unknown", 10_000)).await?;
    assert_eq!((refused.status, refused.failure_code.as_deref()), (Failed, Some("ChannelUnavailable")));

    // Play money is no way for real money, whatever the operator let through.
    stack.environment = "Live";
    stack.configure_channels(&[stack.channel("sim", 2, 60)?])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = app.pay(&payment("real", 10_000)).await.unwrap_err().to_string();
    assert!(refused.contains("NoChannel"), "{refused}");
    stack.environment = "Test";

    // The first one takes the request and says nothing: nobody else may be asked.
    stack.configure_channels(&[stack.channel("first", 1, 10)?, stack.channel("sim", 2, 60)?])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let silent = app.pay(&payment("silent", 19_003)).await?;
    assert_eq!(silent.status, Processing);
    assert_eq!(attempts(&stack, "silent").await?, ["first Unknown"]);
    Ok(())
}

/// The second channel is deleted while the first one is waited for: nothing new leaves through it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_is_taken_out_meanwhile_takes_nothing() -> Result<()> {
    let mut stack = Stack::start().await?;
    let app = stack.app("app1", 1)?;
    // It lets itself be called and says nothing, not even who it is.
    let mute = std::net::TcpListener::bind("127.0.0.1:0")?;
    let mut first = stack.channel("mute", 1, 10)?;
    first["network"]["endpoint"] = json!(format!("https://localhost:{}", mute.local_addr()?.port()));
    stack.configure_channels(&[first.clone(), stack.channel("sim", 2, 60)?])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let under_way = tokio::spawn(async move { app.pay(&payment("taken-out", 10_000)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    stack.configure_channels(&[first])?;
    let paid = under_way.await??;
    assert_eq!((paid.status, paid.failure_code.as_deref()), (Failed, Some("ChannelUnavailable")));
    assert_eq!(attempts(&stack, "taken-out").await?, ["mute NotSent", "sim NotSent"]);
    Ok(())
}

/// The first channel's network is silent: after some payments the others have their turn
/// first, and it has its own again once it answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_network_rests_until_it_answers() -> Result<()> {
    let mut stack = Stack::start().await?;
    // One gateway: each goes by what it saw itself.
    stack.gateways[1].kill_9()?;
    let app = stack.app_of(0, 16)?;
    let well = |stack: &Stack| anyhow::Ok([stack.channel("first", 1, 10)?, stack.channel("sim", 2, 60)?]);
    let mute = std::net::TcpListener::bind("127.0.0.1:0")?;
    let mut channels = well(&stack)?;
    channels[0]["network"]["endpoint"] = json!(format!("https://localhost:{}", mute.local_addr()?.port()));
    stack.configure_channels(&channels)?;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let first: Vec<_> = (0..5).map(|n| payment(&format!("first-{n}"), 10_000)).collect();
    for paid in join_all(first.iter().map(|request| app.pay(request))).await {
        assert_eq!(paid?.fee_minor, Some(60), "no connection was made, so the other one took it");
    }
    assert_eq!(attempts(&stack, "first-0").await?, ["first NotSent", "sim Succeeded"]);
    assert_eq!(app.pay(&payment("other", 10_000)).await?.status, Succeeded);
    assert_eq!(attempts(&stack, "other").await?, ["sim Succeeded"], "the first one rests");

    stack.configure_channels(&well(&stack)?)?;
    for n in 0..100 {
        let number = format!("again-{n}");
        assert_eq!(app.pay(&payment(&number, 10_000)).await?.status, Succeeded);
        if attempts(&stack, &number).await? == ["first Succeeded"] {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    anyhow::bail!("it rests for ever")
}

/// Many payments wait for a network that says nothing any more, not even to the resolver:
/// one of another channel is resolved beside them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_network_keeps_no_other_channel_waiting() -> Result<()> {
    const SILENT: usize = 96;
    let mut stack = Stack::start().await?;
    let app = stack.app("app1", 8)?;
    stack.configure_channels(&[stack.channel("quiet", 1, 10)?])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let silent: Vec<_> = (0..SILENT).map(|n| payment(&format!("silent-{n}"), 19_003)).collect();
    let paid = join_all(silent.iter().map(|request| app.pay(request)));
    let mute = std::net::TcpListener::bind("127.0.0.1:0")?;
    let go_mute = async {
        // The network has the requests by now, and nobody has asked for them yet.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let mut quiet = stack.channel("quiet", 2, 10)?;
        quiet["network"]["endpoint"] = json!(format!("https://localhost:{}", mute.local_addr()?.port()));
        stack.configure_channels(&[stack.channel("sim", 1, 60)?, quiet])
    };
    let (paid, configured) = tokio::join!(paid, go_mute);
    configured?;
    for paid in paid {
        assert_eq!(paid?.status, Processing);
    }
    assert_eq!(app.pay(&payment("other", 19_002)).await?.status, Processing);
    assert_eq!(ended(&app, "other", Duration::from_secs(15)).await?.status, Succeeded);
    let left =
        "SELECT count(*) FROM gateway.orders WHERE order_number LIKE 'silent-%' AND status = 'Processing'";
    assert_eq!(stack.count(left).await?, i64::try_from(SILENT)?, "nothing is known of them");
    Ok(())
}
