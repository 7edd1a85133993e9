//! Apps are told what became of their orders, whatever fails on the way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use payplane_client::message::PaymentStatus::{Failed, Succeeded};
use payplane_e2e::receiver::{Mood, Receiver};
use payplane_testkit::port;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{DATE, Stack, ended, payment, refund};

const SOON: Duration = Duration::from_secs(5);
/// A lease of 30 s, or some intervals between tries, and what a process needs to start.
const LATER: Duration = Duration::from_secs(90);

/// A merchant's endpoint beside the stack.
async fn receiver(stack: &Stack) -> Result<Arc<Receiver>> {
    let keys = std::fs::read(stack.folder.path().join("notify.pub"))?;
    let address = ([127, 0, 0, 1], port::free()?).into();
    Receiver::start(address, "localhost", &stack.postgres.pki, &keys).await
}

/// The events of an app.
async fn events(stack: &Stack, app: &str) -> Result<BTreeSet<Uuid>> {
    let sql = "SELECT event_id FROM gateway.outbox WHERE app_id = $1";
    let rows = stack.postgres.connect("postgres").await?.query(sql, &[&app]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn told(stack: &Stack, path: &str) -> Result<(u16, Value)> {
    stack.admin("admin-client", "GET", path, &json!({})).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_is_told_and_signed() -> Result<()> {
    let stack = Stack::start().await?;
    let receiver = receiver(&stack).await?;
    assert_eq!(stack.register_app("app1", &receiver.notification()).await?.0, 200);
    let (app, other) = (stack.app("app1", 1)?, stack.app("app2", 1)?);
    assert_eq!(app.pay(&payment("paid", 10_000)).await?.status, Succeeded);
    assert_eq!(app.pay(&payment("declined", 19_001)).await?.status, Failed);
    assert_eq!(app.refund(DATE, "paid", &refund("r1", 4_000)).await?.status, Succeeded);
    app.pay(&payment("kept", 30_000)).await?;
    assert_eq!(app.refund(DATE, "kept", &refund("no", 19_001)).await?.status, Failed);
    assert_eq!(other.pay(&payment("elsewhere", 10_000)).await?.status, Succeeded);

    receiver.has(&events(&stack, "app1").await?, SOON).await?;
    let taken: Vec<_> = receiver.taken().into_values().collect();
    let mut said: Vec<_> = (taken.iter())
        .map(|told| format!("{} {} {}", told.kind, told.data["orderNumber"], told.data["amountMinor"]))
        .collect();
    said.sort();
    let expected = [
        "payment.failed \"declined\" 19001",
        "payment.succeeded \"kept\" 30000",
        "payment.succeeded \"paid\" 10000",
        "refund.failed \"kept\" 19001",
        "refund.succeeded \"paid\" 4000",
    ];
    assert_eq!(said, expected);
    for told in &taken {
        assert_eq!((&told.data["appId"], &told.data["merchantId"]), (&json!("app1"), &json!("M1")));
    }
    assert_eq!(receiver.forged.load(Ordering::SeqCst), 0);

    refusals(&stack).await
}

/// What cannot be an address is refused when it is registered.
async fn refusals(stack: &Stack) -> Result<()> {
    for (wrong, field) in [
        (json!({"url": "http://shop.example"}), "notification.url"),
        (json!({"url": "https://ledger.ptn-test.svc:8443"}), "notification.url"),
        (json!({"url": "https://shop.example/?a=b"}), "notification.url"),
        (json!({"url": 1}), "notification.url"),
        (json!({}), "notification.url"),
        (json!({"url": "https://shop.example", "caPem": "none"}), "notification.caPem"),
        (json!({"url": "https://shop.example", "caPem": "\u{0}"}), "notification.caPem"),
        (json!({"url": format!("https://shop.example/{}", "\u{7ea2}".repeat(200))}), "notification.url"),
        (json!({"url": "https://shop.example", "secret": "x"}), "notification.secret"),
        (json!("https://shop.example"), "notification"),
    ] {
        let (status, problem) = stack.register_app("app1", &wrong).await?;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{wrong}: {problem}");
    }
    Ok(())
}

/// The merchant's own list of ended payments is the outside record.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_forgotten_when_gateways_die_and_endpoints_waver() -> Result<()> {
    let mut stack = Stack::start().await?;
    let receiver = receiver(&stack).await?;
    stack.register_app("app1", &receiver.notification()).await?;
    receiver.becomes(Mood::Wavers);
    let app = Arc::new(stack.app("app1", 8)?);
    let all: Vec<_> = (0..120)
        .map(|n| {
            let app = app.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(n * 25)).await;
                let _ = app.pay(&payment(&format!("n{n}"), 10_000)).await;
            })
        })
        .collect();
    for gateway in [0, 1] {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stack.gateways[gateway].kill_9()?;
        stack.gateways[gateway].restart().await?;
    }
    join_all(all).await;
    let mut orders = BTreeSet::new();
    for n in 0..120 {
        // One whose request met a dead process may not be there at all.
        let number = format!("n{n}");
        let there = format!("SELECT count(*) FROM gateway.orders WHERE order_number = '{number}'");
        if stack.count(&there).await? == 1 {
            orders.insert(ended(&app, &number, LATER).await?.order_id);
        }
    }
    ensure!(orders.len() > 100, "only {} orders", orders.len());
    receiver.has(&events(&stack, "app1").await?, LATER).await?;
    let taken = receiver.taken();
    let named: BTreeSet<_> =
        taken.values().filter_map(|told| told.data["orderId"].as_str().map(str::to_owned)).collect();
    assert_eq!(named, orders, "each order that ended was told of");
    assert_eq!(taken.len(), orders.len(), "by one event");
    assert_eq!(receiver.forged.load(Ordering::SeqCst), 0);
    ensure!(receiver.asked.load(Ordering::SeqCst) > taken.len(), "nothing was refused");
    stack.check_agreement().await
}

/// One app's endpoint takes no places from another's, and is left alone for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_endpoint_rests_and_keeps_nobody_waiting() -> Result<()> {
    let stack = Stack::start().await?;
    let (well, dead) = (receiver(&stack).await?, receiver(&stack).await?);
    stack.register_app("app1", &well.notification()).await?;
    stack.register_app("app2", &dead.notification()).await?;
    let (app, other) = (stack.app("app1", 4)?, Arc::new(stack.app("app2", 16)?));

    // Silent: every place that it may have is taken for ten seconds.
    dead.becomes(Mood::Silent);
    let many = (0..160).map(|n| {
        let other = other.clone();
        tokio::spawn(async move { other.pay(&payment(&format!("d{n}"), 10_000)).await.is_ok() })
    });
    ensure!(join_all(many).await.into_iter().all(|done| matches!(done, Ok(true))), "payments go on");
    assert_eq!(app.pay(&payment("well", 10_000)).await?.status, Succeeded);
    well.has(&events(&stack, "app1").await?, SOON).await?;

    // It refuses now: what is under way fails, and then it rests.
    dead.becomes(Mood::Refuses);
    tokio::time::sleep(Duration::from_secs(12)).await;
    let before = dead.asked.load(Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let rested = dead.asked.load(Ordering::SeqCst) - before;
    ensure!(rested <= 2, "it was asked {rested} times in 10 s of rest");

    // A new address is tried at once; here it is the old one, which is well again.
    dead.becomes(Mood::Takes);
    stack.register_app("app2", &dead.notification()).await?;
    dead.has(&events(&stack, "app2").await?, LATER).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dead_is_told_again_when_asked_for() -> Result<()> {
    let stack = Stack::start().await?;
    let receiver = receiver(&stack).await?;
    stack.register_app("app1", &receiver.notification()).await?;
    receiver.becomes(Mood::Redirects);
    let app = stack.app("app1", 1)?;
    app.pay(&payment("paid", 10_000)).await?;
    let events = events(&stack, "app1").await?;
    let id = events.first().context("no event")?;
    let path = format!("/admin/v1/notifications/{id}");
    let becomes = |status: &'static str| {
        let (stack, path) = (&stack, &path);
        async move {
            for _ in 0..300 {
                let (_, told) = told(stack, path).await?;
                if told["status"] == status && told["history"] != json!([]) {
                    return Ok(told);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            anyhow::bail!("it does not become {status}")
        }
    };
    let first: Value = becomes("Pending").await?;
    assert_eq!(first["history"][0]["answer"], json!(307));
    assert_eq!(receiver.astray.load(Ordering::SeqCst), 0, "a redirect is not followed");

    // A day later.
    let postgres = stack.postgres.connect("postgres").await?;
    postgres
        .batch_execute(
            "UPDATE gateway.deliveries SET since = now() - interval '25 hours', tries = tries + 10",
        )
        .await?;
    let last = becomes("Dead").await?;
    assert_eq!(last["nextTryAt"], Value::Null, "{last}");
    let (_, dead) = told(&stack, "/admin/v1/apps/app1/notifications?status=Dead").await?;
    assert_eq!(dead["notifications"][0]["eventId"], json!(id));

    receiver.becomes(Mood::Takes);
    let resend = format!("{path}/resend");
    assert_eq!(stack.admin("admin-client", "POST", &resend, &json!({})).await?.0, 200);
    receiver.has(&events, SOON).await?;
    let last = becomes("Delivered").await?;
    let last = last["history"].as_array().and_then(|tries| tries.last().cloned()).context("no history")?;
    assert_eq!(last["answer"], json!(204));
    let dead = "UPDATE gateway.deliveries SET status = 'Dead'";
    postgres.batch_execute(dead).await?;
    let all = "/admin/v1/apps/app1/notifications/resend-dead";
    let (status, resent) = stack.admin("admin-client", "POST", all, &json!({})).await?;
    assert_eq!((status, &resent["resent"]), (200, &json!(1)));
    becomes("Delivered").await?;
    asked_wrongly(&stack, &path).await
}

async fn asked_wrongly(stack: &Stack, path: &str) -> Result<()> {
    let missing = format!("/admin/v1/notifications/{}", Uuid::nil());
    for (path, status, code) in [
        (missing.as_str(), 404, "NotFound"),
        ("/admin/v1/notifications/x", 400, "InvalidField"),
        ("/admin/v1/apps/nobody/notifications", 404, "NotFound"),
        ("/admin/v1/apps/app1/notifications?status=Lost", 400, "InvalidField"),
        ("/admin/v1/apps/app1/notifications?page=2", 400, "InvalidField"),
    ] {
        let (found, problem) = told(stack, path).await?;
        assert_eq!((found, &problem["code"]), (status, &json!(code)), "{path}");
    }
    let (status, _) = stack.admin("operator", "GET", path, &json!({})).await?;
    assert_eq!(status, 403);
    assert_eq!(stack.register_app("app1", &Value::Null).await?.0, 200);
    let (status, problem) =
        stack.admin("admin-client", "POST", &format!("{path}/resend"), &json!({})).await?;
    assert_eq!((status, &problem["code"]), (422, &json!("NoEndpoint")));
    Ok(())
}
