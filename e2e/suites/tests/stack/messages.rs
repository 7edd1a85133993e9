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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_stay_and_prove_what_was_said() -> Result<()> {
    let mut stack = Stack::start().await?;
    let app = stack.app("app1", 4)?;
    ensure!(app.pay(&payment("kept", 500)).await?.status == Succeeded);
    let attempt = stack.attempt("kept").await?;
    let kept = stack.messages(&attempt).await?;
    ensure!(states(&kept) == ["Verified"], "{kept:?}");

    // Nothing was hidden in this one, so what is kept is the network's copy.
    let (id, answer) = (kept[0]["messageId"].as_str().context("an id")?, kept[0]["answer"].as_str());
    let answer = answer.context("an answer")?.to_owned();
    let url = format!("https://localhost:{}/admin/v1/messages/{attempt}/{id}/compare", stack.ports[1]);
    let client = stack.https(Some("admin-client"))?;
    for (copy, is_it) in [(answer.clone(), true), (answer.replace("Succeeded", "succeeded"), false)] {
        let said: Value = serde_json::from_slice(&client.post(&url).body(copy).send().await?.bytes().await?)?;
        ensure!((&said["answer"], &said["request"]) == (&json!(is_it), &json!(false)), "{said}");
    }
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
    let owner = stack.postgres.connect("payplane_owner").await?;
    let dropped: i64 =
        owner.query_one("SELECT gateway.drop_messages(now() + interval '1 day', 3)", &[]).await?.get(0);
    ensure!(dropped == 3, "{dropped}");
    stack.check_agreement().await
}
