//! The ordered stream: every event has one position, in an order that follows what happened,
//! whoever dies and whatever is left open.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::{join_all, try_join_all};
use payplane_client::call::{App, CallError};
use payplane_client::message::PaymentStatus::Succeeded;
use serde_json::{Value, json};
use tokio_postgres::IsolationLevel;

use crate::harness::{DATE, Stack, code, ended, payment, refund};
use crate::networks::SOON;

const ORDERS: usize = 80;

/// Reads on from a place to the end, page by page.
async fn read_on(app: &App, after: &str, limit: u32) -> Result<(Vec<Value>, String)> {
    let (mut all, mut place) = (vec![], after.to_owned());
    loop {
        let page = app.read(&format!("/v1/events?after={place}&limit={limit}")).await?;
        all.extend(page["events"].as_array().context("events")?.iter().cloned());
        place = page["next"].as_str().context("next")?.to_owned();
        if page["more"] == false {
            return Ok((all, place));
        }
    }
}

fn position(event: &Value) -> i64 {
    let place = event["place"].as_str().unwrap_or_default();
    place.split_once('-').and_then(|(_, position)| position.parse().ok()).unwrap_or_default()
}

impl Stack {
    /// Pages of events without a position that were read since the database began.
    async fn read_of_unplaced(&self) -> Result<i64> {
        // What others did is counted a second later.
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let sql = "SELECT (heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit)::bigint
             FROM pg_statio_all_tables WHERE schemaname = 'gateway' AND relname = 'unplaced_events'";
        self.count(sql).await
    }

    /// Everything that is told has a position, each one of its own, and there is no gap.
    async fn placed(&self) -> Result<i64> {
        let sql = "SELECT count(*), (SELECT count(*) FROM gateway.outbox), coalesce(max(position), 0),
                count(DISTINCT event_id), count(o.event_id)
             FROM gateway.event_positions p LEFT JOIN gateway.outbox o USING (event_id, app_id)";
        let (client, started) = (self.postgres.connect("postgres").await?, Instant::now());
        loop {
            let row = client.query_one(sql, &[]).await?;
            let counts: [i64; 5] = std::array::from_fn(|column| row.get(column));
            if counts == [counts[0]; 5] {
                return Ok(counts[0]);
            }
            ensure!(started.elapsed() < SOON, "positions, events, last, once, known: {counts:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_has_one_position_whoever_dies() -> Result<()> {
    let mut stack = Stack::start().await?;
    let (app, is_done) = (stack.app("app1", 16)?, AtomicBool::new(false));

    // Somebody's event that is not committed draws the first number.
    let mut idle = stack.postgres.connect("gateway").await?;
    let open = idle.transaction().await?;
    let sql = "INSERT INTO gateway.outbox (event_id, app_id, kind, subject_id, payload)
         VALUES (gen_random_uuid(), 'app1', 'payment.failed', gen_random_uuid(), '{}')";
    open.execute(sql, &[]).await?;

    // Payments and refunds of them, a reader, and gateways that are killed in turn.
    let working = async {
        try_join_all((0..ORDERS).map(|nth| pay_and_refund(&app, nth))).await?;
        is_done.store(true, Ordering::SeqCst);
        Ok::<_, anyhow::Error>(())
    };
    let gateways = &mut stack.gateways;
    let killing = async {
        for nth in 0..8 {
            tokio::time::sleep(Duration::from_millis(400)).await;
            gateways[nth % 2].restart().await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let reading = async {
        let (mut seen, mut place) = (vec![], "0-0".to_owned());
        while !is_done.load(Ordering::SeqCst) {
            if let Ok(page) = app.read(&format!("/v1/events?after={place}&limit=7")).await {
                seen.extend(page["events"].as_array().cloned().unwrap_or_default());
                place = page["next"].as_str().unwrap_or_default().to_owned();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        (seen, place)
    };
    let (worked, killed, (mut seen, place)) = tokio::join!(working, killing, reading);
    worked?;
    killed?;
    let (rest, place) = read_on(&app, &place, 500).await?;
    seen.extend(rest);

    // What was read as it came is what is there: no position was shown before a smaller one.
    ensure!(seen.len() >= ORDERS, "{} events", seen.len());
    let positions: Vec<_> = seen.iter().map(position).collect();
    ensure!(positions == (1..=positions.len() as i64).collect::<Vec<_>>(), "{positions:?}");
    let mut paid = HashMap::new();
    for event in &seen {
        let order = event["data"]["orderId"].as_str().context("an order")?.to_owned();
        match event["kind"].as_str() {
            Some("payment.succeeded" | "payment.failed") => {
                ensure!(paid.insert(order, event["kind"].clone()).is_none(), "twice: {event}");
            }
            Some("refund.succeeded") => {
                let before = paid.insert(order, event["kind"].clone());
                ensure!(before == Some("payment.succeeded".into()), "before its payment: {event}");
            }
            _ => anyhow::bail!("{event}"),
        }
    }

    // The one that was left open held nobody up, and is lost no more than others.
    open.commit().await?;
    ensure!(stack.placed().await? > seen.len() as i64);
    let (late, _) = read_on(&app, &place, 500).await?;
    let late = late.iter().filter(|event| event["data"] == json!({})).count();
    ensure!(late == 1, "{late}");
    Ok(())
}

/// As far as it comes while gateways are killed.
async fn pay_and_refund(app: &App, nth: usize) -> Result<()> {
    tokio::time::sleep(Duration::from_millis(60 * u64::try_from(nth)?)).await;
    let (number, again) = (format!("o{nth}"), Duration::from_millis(200));
    for _ in 0..40 {
        if app.pay(&payment(&number, 1_000)).await.is_ok() {
            break;
        }
        tokio::time::sleep(again).await;
    }
    // What a dead process left is found out later.
    let paid = ended(app, &number, Duration::from_secs(8)).await;
    if paid.is_ok_and(|paid| paid.status == Succeeded) {
        for _ in 0..40 {
            if app.refund(DATE, &number, &refund("R", 100)).await.is_ok() {
                break;
            }
            tokio::time::sleep(again).await;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_their_own() -> Result<()> {
    let stack = Stack::start().await?;
    let (app, other) = (stack.app("app1", 4)?, stack.app("app2", 4)?);

    let none = app.read("/v1/events").await?;
    ensure!(
        (&none["events"], &none["next"], &none["more"]) == (&json!([]), &json!("0-0"), &json!(false)),
        "{none}"
    );
    other.pay(&payment("theirs", 700)).await?;
    let paid = app.pay(&payment("mine", 800)).await?;
    stack.placed().await?;
    let page = app.read("/v1/events").await?;
    let event = &page["events"][0];
    ensure!(page["events"].as_array().is_some_and(|all| all.len() == 1), "{page}");
    ensure!(event["data"]["orderId"] == paid.order_id && event["kind"] == "payment.succeeded", "{page}");
    ensure!(event.get("appId").is_none(), "{page}");

    // Administrators see all, page by page.
    let (status, first) = stack.admin("admin-checker", "GET", "/admin/v1/events?limit=1", &json!({})).await?;
    ensure!(status == 200 && first["more"] == true && first["events"][0]["appId"] == "app2", "{first}");
    let path = format!("/admin/v1/events?after={}", first["next"].as_str().unwrap_or_default());
    let (_, second) = stack.admin("admin-checker", "GET", &path, &json!({})).await?;
    ensure!(second["events"][0]["eventId"] == event["eventId"] && second["more"] == false, "{second}");

    // What is no place, and bounds.
    for (asked, field) in [
        ("after=1-9", "after"),
        ("after=2-1", "after"),
        ("after=1", "after"),
        ("after=0-1", "after"),
        ("limit=0", "limit"),
        ("limit=501", "limit"),
        ("waitSeconds=1", "waitSeconds"),
        ("x=1", "x"),
    ] {
        match app.read(&format!("/v1/events?{asked}")).await {
            Err(CallError::Refused { problem, .. }) => {
                ensure!(problem.field.as_deref() == Some(field), "{asked}: {problem:?}");
            }
            answer => anyhow::bail!("{asked}: {answer:?}"),
        }
    }
    ensure!(code(stack.app("app2", 1)?.read("/v1/events?limit=x").await) == "InvalidField");

    // Older books are brought back: places of before are told from those of after.
    let owner = stack.postgres.connect("payplane_owner").await?;
    owner.execute("SELECT ledger.raise_books_epoch(1)", &[]).await?;
    app.pay(&payment("later", 900)).await?;
    stack.placed().await?;
    let (events, place) = read_on(&app, "1-2", 1).await?;
    ensure!(place == "2-3" && events.len() == 1, "{events:?}");
    ensure!(app.read("/v1/events?after=1-3").await.is_err(), "a place of the former epoch");

    // While one gives positions nobody else does, and what it finds has the order of what happened.
    let giver = stack.postgres.connect("postgres").await?;
    giver.execute("SELECT pg_advisory_lock(7813575033)", &[]).await?;
    ensure!(app.pay(&payment("in-order", 1_000)).await?.status == Succeeded);
    ensure!(app.refund(DATE, "in-order", &refund("R", 100)).await?.status == Succeeded);
    tokio::time::sleep(Duration::from_millis(500)).await;
    ensure!(read_on(&app, "2-3", 9).await?.0.is_empty(), "another one gave positions");
    giver.execute("SELECT pg_advisory_unlock(7813575033)", &[]).await?;
    ensure!(stack.placed().await? == 5);
    let (events, _) = read_on(&app, "2-3", 9).await?;
    let kinds: Vec<_> = events.iter().filter_map(|event| event["kind"].as_str()).collect();
    ensure!(kinds == ["payment.succeeded", "refund.succeeded"], "{events:?}");

    // Nobody but the owner's function gives one, and nobody takes one back.
    for (role, sql) in [
        ("gateway", "INSERT INTO gateway.event_positions VALUES (9, 1, gen_random_uuid(), 'app1')"),
        ("gateway", "DELETE FROM gateway.unplaced_events"),
        ("gateway", "DELETE FROM gateway.event_positions"),
        ("payplane_owner", "UPDATE gateway.event_positions SET position = 9 WHERE position = 3"),
        ("payplane_owner", "DELETE FROM gateway.event_positions"),
    ] {
        let done = stack.postgres.connect(role).await?.batch_execute(sql).await;
        ensure!(done.is_err(), "{role}: {sql}");
    }

    // Givers beside each other give each position once.
    let givers = (0..8).map(|_| async {
        let client = stack.postgres.connect("gateway").await?;
        for _ in 0..50 {
            client.execute("SELECT gateway.give_event_positions(1, 0)", &[]).await?;
        }
        Ok::<_, anyhow::Error>(())
    });
    let orders: Vec<_> = (0..40).map(|nth| payment(&format!("many-{nth}"), 100)).collect();
    let paying = join_all(orders.iter().map(|order| app.pay(order)));
    let (given, _) = tokio::join!(try_join_all(givers), paying);
    given?;
    stack.placed().await?;
    Ok(())
}

/// A snapshot that is held keeps dead rows; whoever gives positions does not walk over them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_held_makes_nobody_walk_over_dead_rows() -> Result<()> {
    let stack = Stack::start().await?;
    let mut holder = stack.postgres.connect("postgres").await?;
    let held = holder.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await?;
    held.execute("SELECT count(*) FROM gateway.outbox", &[]).await?;
    let owner = stack.postgres.connect("postgres").await?;
    for _ in 0..20 {
        let sql = "INSERT INTO gateway.outbox (event_id, app_id, kind, subject_id, payload)
             SELECT gen_random_uuid(), 'app1', 'payment.failed', gen_random_uuid(), '{}' FROM generate_series(1, 5000)";
        owner.execute(sql, &[]).await?;
        stack.placed().await?;
    }
    // The gateways' own looks, and one from the bottom, which shows that the rows are there.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = stack.read_of_unplaced().await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let looks = stack.read_of_unplaced().await? - before;
    owner.execute("SELECT gateway.give_event_positions(1, 0)", &[]).await?;
    let bottom = stack.read_of_unplaced().await? - before - looks;
    ensure!(bottom > 100, "nothing is dead: {bottom}");
    ensure!(looks < 10 * bottom, "{looks} pages in 3 s, {bottom} from the bottom");
    held.commit().await?;
    Ok(())
}
