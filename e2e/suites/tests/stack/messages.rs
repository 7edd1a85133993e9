//! Raw messages: whatever passes between the gateway and a network is kept, verified or not,
//! masked, and stays.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use payplane_client::call::App;
use payplane_client::message::PayRequest;
use payplane_client::message::PaymentStatus::{Processing, Succeeded};
use serde_json::{Value, json};

use crate::agreement_stage::{ACCOUNT, CODE, HOLDER, active, end};
use crate::harness::{DATE, Stack, ended, payment, refund};
use crate::networks::{NETWORKS, Network, SOON, stack_with};
use crate::payout_stage::{self, bank, fund, paid_out, payout, sale};
use crate::secrets;

/// A card that nobody but the merchant's text names.
const PLANTED: &str = "4539578763621486";

impl Stack {
    /// Messages about one thing, as an administrator reads them.
    async fn messages(&self, subject: &str) -> Result<Vec<Value>> {
        let path = format!("/admin/v1/messages?subject={subject}");
        let (status, page) = self.admin("admin-checker", "GET", &path, &json!({})).await?;
        ensure!(status == 200, "{page}");
        Ok(page["messages"].as_array().cloned().unwrap_or_default())
    }

    /// The id of a row that the database's owner finds.
    async fn id(&self, sql: &str) -> Result<String> {
        Ok(self.postgres.connect("postgres").await?.query_one(sql, &[]).await?.get(0))
    }

    async fn attempt(&self, order: &str) -> Result<String> {
        let sql = format!(
            "SELECT attempt_id::text FROM gateway.attempts JOIN gateway.orders USING (order_id)
             WHERE order_number = '{order}' ORDER BY ordinal LIMIT 1"
        );
        self.id(&sql).await
    }
}

fn states(messages: &[Value]) -> Vec<&str> {
    messages.iter().filter_map(|message| message["state"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_exchange_of_every_network_is_kept() -> Result<()> {
    let stack = stack_with(&NETWORKS).await?;
    let app = stack.app("app1", 16)?;
    try_join_all(NETWORKS.iter().map(|network| exchanges(&stack, &app, network))).await?;
    let unread = "SELECT count(*) FROM gateway.messages WHERE request LIKE '[%' OR answer LIKE '[%'";
    ensure!(stack.count(unread).await? == 0, "a body that was not read");
    let planted = format!("SELECT count(*) FROM gateway.messages m WHERE m::text LIKE '%{PLANTED}%'");
    ensure!(stack.count(&planted).await? == 0, "a card is kept");
    Ok(())
}

async fn exchanges(stack: &Stack, app: &App, network: &Network) -> Result<()> {
    let name = network.name;
    // Paid, and told of.
    let order = PayRequest { description: Some(format!("card {PLANTED}")), ..network.order("kept", 12_800) };
    app.pay(&order).await?;
    ensure!(ended(app, &order.order_number, SOON).await?.status == Succeeded, "{name}");
    let attempt = stack.attempt(&order.order_number).await?;
    let kept = stack.messages(&attempt).await?;
    let first = kept.first().with_context(|| format!("{name}: nothing is kept"))?;
    ensure!((&first["state"], &first["httpStatus"]) == (&json!("Verified"), &json!(200)), "{name}: {first}");
    let (request, number) = (first["request"].as_str().unwrap_or_default(), attempt.replace('-', ""));
    ensure!(request.contains(&number), "{name}: {request}");
    ensure!(!first.to_string().contains(PLANTED), "{name}: {first}");
    ensure!(network.record == "UnionPay" || request.contains("***"), "{name}: {request}");
    ensure!(
        network.record == "BankDirect" || states(&kept).contains(&"Notified"),
        "{name}: the notification is missing: {kept:?}"
    );
    ensure!(
        kept.iter().all(|message| message["answer"].as_str().is_some_and(|text| text.len() > 1)),
        "{name}"
    );

    // Refunded.
    let mut part = app.refund(DATE, &order.order_number, &refund("R1", 800)).await?;
    for _ in 0..100 {
        if part.status != Processing {
            break;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        part = app.refund_of(DATE, &order.order_number, "R1").await?;
    }
    ensure!(part.status == Succeeded, "{name}: {part:?}");
    let kept = stack.messages(&part.refund_id.to_string()).await?;
    ensure!(states(&kept).first() == Some(&"Verified") && kept[0]["about"] == "Refund", "{name}: {kept:?}");

    // An answer that does not come, one that is not the network's, and the queries after them.
    for (fault, minor, state) in [("silent", 19_004, "NoAnswer"), ("forged", 19_006, "Unverified")] {
        let paid = network.pay(app, fault, minor, SOON).await?;
        ensure!(paid.status == Succeeded, "{name} {fault}: {paid:?}");
        // A notification may end it before the request's time is over.
        let (attempt, started) = (stack.attempt(&format!("{name}-{fault}")).await?, Instant::now());
        let kept = loop {
            let kept = stack.messages(&attempt).await?;
            if states(&kept).contains(&state) {
                break kept;
            }
            ensure!(started.elapsed() < SOON, "{name} {fault}: {kept:?}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let told = states(&kept).iter().any(|state| ["Verified", "Notified"].contains(state));
        ensure!(told, "{name} {fault}: {kept:?}");
    }
    // An order that nobody pays, so that a query has to be asked.
    let untold = network.pay(app, "asked", 19_009, SOON).await?;
    ensure!(untold.status == Succeeded, "{name}: {untold:?}");
    let kept = stack.messages(&stack.attempt(&format!("{name}-asked")).await?).await?;
    let queries = kept.iter().skip(1).filter(|message| message["state"] == "Verified").count();
    ensure!(network.record == "BankDirect" || queries > 0, "{name}: {kept:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payouts_and_agreements_are_kept_without_whose_they_are() -> Result<()> {
    let stack = bank().await?;
    let app = stack.app("app1", 4)?;
    fund(&stack, &sale("M1", 100_000)).await?;
    app.pay_out(&payout("kept", 100)).await?;
    let paid = paid_out(&app, "kept", SOON).await?;
    let kept = stack.messages(&paid.payout_id.to_string()).await?;
    ensure!(states(&kept).contains(&"Verified") && kept[0]["about"] == "Payout", "{kept:?}");
    ensure!(
        kept[0]["request"].as_str().is_some_and(|text| text.contains(r#""payeeName":"***""#)),
        "{kept:?}"
    );

    // It is asked for again and again: what says nothing new is not kept.
    let lost = app.pay_out(&payout("asked", 19_003)).await?;
    ensure!(lost.status == Processing, "{lost:?}");
    let (checks, started) =
        ("SELECT checks::bigint FROM gateway.payouts WHERE payout_number = 'asked'", Instant::now());
    while stack.count(checks).await? < 4 {
        ensure!(started.elapsed() < SOON, "{}", stack.count(checks).await?);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let kept = stack.messages(&lost.payout_id.to_string()).await?;
    ensure!(states(&kept) == ["NoAnswer"], "{kept:?}");

    let agreement = active(&app, "kept").await?;
    end(&app, "kept").await?;
    let id = agreement["agreementId"].as_str().context("an id")?;
    let kept = stack.messages(id).await?;
    let paths: Vec<_> = kept.iter().filter_map(|message| message["target"].as_str()).collect();
    for path in ["sign", "confirm", "unsign"] {
        ensure!(paths.contains(&format!("POST /bank/v1/{path}").as_str()), "{path}: {paths:?}");
    }
    let text = serde_json::to_string(&kept)?;
    ensure!(text.contains(r#"\"code\":\"***\""#) && text.contains(r#"\"token\":\"***\""#), "{text}");
    secrets::nowhere(&stack, &[ACCOUNT, HOLDER, CODE, payout_stage::ACCOUNT, payout_stage::NAME]).await
}

/// Outcomes do not need their messages.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_kept_keeps_back_nothing() -> Result<()> {
    let stack = bank().await?;
    let app = stack.app("app1", 4)?;
    fund(&stack, &sale("M1", 100_000)).await?;
    let owner = stack.postgres.connect("payplane_owner").await?;
    owner.execute("REVOKE INSERT ON gateway.messages FROM gateway", &[]).await?;
    let before = stack.count("SELECT count(*) FROM gateway.messages").await?;
    let bank = &NETWORKS[3];
    let orders: Vec<_> = (0..20).map(|nth| bank.order(&format!("many-{nth}"), 900)).collect();
    for paid in try_join_all(orders.iter().map(|order| app.pay(order))).await? {
        ensure!(paid.status == Succeeded, "{paid:?}");
    }
    // Told later, and asked for.
    for (fault, minor) in [("later", 19_002), ("silent", 19_004)] {
        let paid = bank.pay(&app, fault, minor, SOON).await?;
        ensure!(paid.status == Succeeded, "{paid:?}");
    }
    let part = app.refund(DATE, &orders[0].order_number, &refund("R1", 100)).await?;
    ensure!(part.status == Succeeded, "{part:?}");
    ensure!(app.pay_out(&payout("paid", 100)).await?.status == Succeeded);
    for (number, minor) in [("later", 19_002), ("silent", 19_004)] {
        app.pay_out(&payout(number, minor)).await?;
        let paid = paid_out(&app, number, SOON).await?;
        ensure!(paid.status == Succeeded, "{paid:?}");
    }
    active(&app, "unkept").await?;
    end(&app, "unkept").await?;
    ensure!(stack.count("SELECT count(*) FROM gateway.messages").await? == before, "one was kept");
    let mut unkept = 0.0;
    for port in [stack.ports[2], stack.ports[5]] {
        let text = reqwest::get(format!("http://127.0.0.1:{port}/metrics")).await?.text().await?;
        let line = text.lines().find_map(|line| line.strip_prefix("payplane_gateway_messages_unkept_total "));
        unkept += line.context("no metric")?.parse::<f64>()?;
    }
    ensure!(unkept >= 26.0, "{unkept}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_stay() -> Result<()> {
    let mut stack = Stack::start().await?;
    let app = stack.app("app1", 4)?;
    ensure!(app.pay(&payment("kept", 500)).await?.status == Succeeded);
    let attempt = stack.attempt("kept").await?;
    let kept = stack.messages(&attempt).await?;
    ensure!(states(&kept) == ["Verified"], "{kept:?}");

    let (status, _) =
        stack.admin("operator", "GET", &format!("/admin/v1/messages?subject={attempt}"), &json!({})).await?;
    ensure!(status == 403, "{status}");
    for path in ["messages", "messages?subject=1", "messages?subject=0190&x=1"] {
        let (status, refusal) =
            stack.admin("admin-client", "GET", &format!("/admin/v1/{path}"), &json!({})).await?;
        ensure!(status == 400 && refusal["field"] == "subject", "{path}: {refusal}");
    }

    // Neither the gateway's login nor the owner changes one; the owner alone drops old ones.
    for (role, sql, is_refused) in [
        ("gateway", "UPDATE gateway.messages SET answer = '{}'", true),
        ("gateway", "DELETE FROM gateway.messages", true),
        ("gateway", "TRUNCATE gateway.messages", true),
        ("gateway", "SELECT gateway.drop_messages(now() + interval '1 day', 1)", true),
        ("payplane_owner", "DELETE FROM gateway.messages", true),
        ("payplane_owner", "UPDATE gateway.messages SET answer = '{}'", true),
        ("payplane_owner", "TRUNCATE gateway.messages", true),
        ("payplane_owner", "SELECT gateway.drop_messages(now() - interval '1 hour', 10)", false),
    ] {
        let done = stack.postgres.connect(role).await?.batch_execute(sql).await;
        ensure!(done.is_err() == is_refused, "{role}: {sql}: {done:?}");
    }
    ensure!(stack.messages(&attempt).await?.len() == 1, "one that is young was dropped");

    // A process that dies loses no outcome's message.
    for nth in 0..8 {
        let order = payment(&format!("dies-{nth}"), 19_007);
        let killed = async {
            tokio::time::sleep(Duration::from_millis(40 * nth)).await;
            stack.gateways[1].kill_9()
        };
        let (_, killed) = tokio::join!(app.pay(&order), killed);
        killed?;
        stack.gateways[1].restart().await?;
        app.pay(&order).await?;
    }
    // Some are found out later, by when nobody can have taken them.
    let mut succeeded = 0;
    for nth in 0..8 {
        let paid = ended(&app, &format!("dies-{nth}"), Duration::from_secs(5)).await;
        succeeded += i32::from(paid.is_ok_and(|paid| paid.status == Succeeded));
    }
    ensure!(succeeded >= 3, "{succeeded}");
    let without = "SELECT count(*) FROM gateway.attempts a WHERE status = 'Succeeded' AND NOT EXISTS (
        SELECT FROM gateway.messages m WHERE m.subject_id = a.attempt_id AND m.state IN ('Verified', 'Notified'))";
    ensure!(stack.count(without).await? == 0, "an outcome has no message");
    // Of what is old one is dropped, and what is young stays, also where it is about something old.
    let owner = stack.postgres.connect("payplane_owner").await?;
    let (kept, old) =
        (stack.count("SELECT count(*) FROM gateway.messages").await?, "01900000-0000-7000-8000-000000000001");
    for (message_id, age) in [(old.to_owned(), 400), (attempt.clone(), 0)] {
        let sql = format!(
            "INSERT INTO gateway.messages (subject_id, message_id, about, channel, state, answer, answered_at)
             VALUES ('{old}', '{message_id}', 'Payment', 'sim', 'Notified', '', now() - interval '{age} days')"
        );
        owner.execute(&sql, &[]).await?;
    }
    let dropped: i64 =
        owner.query_one("SELECT gateway.drop_messages(now() + interval '1 day', 10)", &[]).await?.get(0);
    ensure!(dropped == 1, "{dropped}");
    ensure!(
        stack.count("SELECT count(*) FROM gateway.messages").await? == kept + 1,
        "one that is young was dropped"
    );
    stack.check_agreement().await
}
