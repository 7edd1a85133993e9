//! Risk policies: each blocks and passes as documented, is edited live, tried in shadow, and
//! leaves its line in a journal that nobody changes.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use jiff::{ToSpan, Zoned};
use payplane_client::call::App;
use payplane_client::message::Payment;
use payplane_client::message::PaymentStatus::{Failed, Succeeded};
use payplane_client::sign::Signer;
use serde_json::{Value, json};

use crate::harness::{Stack, payment};
use crate::limits::configured;
use crate::terminals::{ELEMENTS, pay_at, terminal_of, two_terminals};

pub(crate) fn policy(name: &str, kind: &str, rule: &Value) -> Value {
    let mut policy = json!({"name": name, "action": "Block", "mode": "Enforce", "type": kind});
    for (member, value) in rule.as_object().into_iter().flatten() {
        policy[member] = value.clone();
    }
    policy
}

fn shadow(mut policy: Value) -> Value {
    policy["mode"] = json!("Shadow");
    policy
}

/// Puts policies in force at both gateways, which go on running.
pub(crate) async fn in_force(stack: &mut Stack, policies: Value) -> Result<()> {
    stack.risk = policies;
    let channel = stack.channel("sim", 1, 60)?;
    configured(stack, &[channel]).await
}

/// Succeeds, or is blocked without a word on why.
pub(crate) fn passed(paid: &Payment) -> bool {
    let blocked = paid.status == Failed && paid.failure_code.as_deref() == Some("RiskBlocked");
    assert!(blocked || paid.status == Succeeded, "{paid:?}");
    assert!(!blocked || paid.channel.is_none(), "{paid:?}");
    !blocked
}

/// Pays amounts one after the other as a payer, or as nobody, and says which passed.
pub(crate) async fn pays(app: &App, what: &str, payer: Option<&str>, amounts: &[i64]) -> Result<Vec<bool>> {
    let mut all = vec![];
    for (n, amount) in amounts.iter().enumerate() {
        let mut request = payment(&format!("{what}-{n}"), *amount);
        request.payer_id = payer.map(str::to_owned);
        all.push(passed(&app.pay(&request).await?));
    }
    Ok(all)
}

/// Pays from a device.
pub(crate) async fn pays_from(stack: &Stack, number: &str, device: &str) -> Result<(u16, Value)> {
    let mut body = serde_json::to_value(payment(number, 1_000))?;
    body["deviceId"] = json!(device);
    let signer = Signer::load("app1", "k1", &stack.key("app1"))?;
    stack.signed(&signer, &body.to_string(), |request| request).await
}

async fn journal(stack: &Stack, order_id: &str) -> Result<Value> {
    let path = format!("/admin/v1/payments/{order_id}");
    let (status, answer) = stack.admin("admin-client", "GET", &path, &Value::Null).await?;
    ensure!(status == 200, "{answer}");
    Ok(answer["risk"].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_policy_blocks_and_passes_as_documented() -> Result<()> {
    let mut stack = Stack::start().await?;
    let app = stack.app("app1", 1)?;
    assert_eq!(pays(&app, "before", Some("p"), &[1_000]).await?, [true]);
    velocities(&mut stack, &app).await?;
    amounts_and_times(&mut stack, &app).await?;
    new_merchants(&mut stack, &app).await?;
    split_orders(&mut stack, &app).await?;
    shadows(&mut stack, &app).await?;
    append_only(&stack).await?;
    purged(&stack).await?;
    let blocked =
        stack.count("SELECT count(*) FROM gateway.orders WHERE failure_code = 'RiskBlocked'").await?;
    let lines = "SELECT count(DISTINCT order_id) FROM gateway.risk_journal WHERE mode = 'Enforce'";
    assert_eq!(stack.count(lines).await?, blocked);
    let sent = "SELECT count(*) FROM gateway.attempts JOIN gateway.orders o USING (order_id)
        WHERE failure_code = 'RiskBlocked'";
    assert_eq!(stack.count(sent).await?, 0, "nothing of them was sent");
    let told = "SELECT count(*) FROM gateway.outbox WHERE payload ->> 'failureCode' = 'RiskBlocked'";
    assert_eq!(stack.count(told).await?, blocked, "each is told once");
    stack.check_agreement().await
}

async fn velocities(stack: &mut Stack, app: &App) -> Result<()> {
    let per = |per: &str, payments: Option<i64>| {
        let rule = json!({"per": per, "windowSeconds": 3_600, "paymentsMax": payments});
        policy(&format!("{}-hour", per.to_lowercase()), "Velocity", &rule)
    };
    in_force(stack, json!([per("Payer", Some(2))])).await?;
    assert_eq!(pays(app, "payer", Some("wx-1"), &[1, 1, 1]).await?, [true, true, false]);
    assert_eq!(pays(app, "payer", Some("wx-1"), &[1, 1]).await?, [true, true], "a repetition counts nothing");
    assert_eq!(pays(app, "another", Some("wx-2"), &[1]).await?, [true]);
    assert_eq!(pays(app, "nobody", None, &[1, 1, 1]).await?, [true, true, true]);
    in_force(stack, json!([per("Payer", Some(3))])).await?;
    assert_eq!(pays(app, "raised", Some("wx-1"), &[1, 1]).await?, [true, false], "it went on counting");

    let rule = json!({"per": "Merchant", "windowSeconds": 60,
        "amounts": [{"currency": "CNY", "amountMinorMax": 2_500}]});
    in_force(stack, json!([policy("merchant-sum", "Velocity", &rule)])).await?;
    assert_eq!(pays(app, "sum", None, &[1_000, 1_501, 1_500, 1]).await?, [true, false, true, false]);

    in_force(stack, json!([per("Device", Some(1))])).await?;
    for (number, device, code) in [
        ("device-1", "d-1", Value::Null),
        ("device-2", "d-1", json!("RiskBlocked")),
        ("device-3", "d-2", Value::Null),
    ] {
        let (status, paid) = pays_from(stack, number, device).await?;
        assert_eq!((status, &paid["failureCode"]), (201, &code), "{paid}");
        assert!(!paid.to_string().contains("hour"), "the app is not told which policy: {paid}");
    }
    assert_eq!(
        pays_from(stack, "device-1", "d-2").await?.1["code"],
        "OrderConflict",
        "it is another request"
    );
    assert_eq!(pays_from(stack, "device-4", "a b").await?.1["field"], "deviceId");

    two_terminals(stack).await?;
    in_force(stack, json!([per("Terminal", Some(1))])).await?;
    for (number, terminal, code) in [
        ("terminal-1", "T1", Value::Null),
        ("terminal-2", "T1", json!("RiskBlocked")),
        ("terminal-3", "T2", Value::Null),
    ] {
        let (status, paid) = pay_at(stack, number, terminal_of(terminal, &ELEMENTS)).await?;
        assert_eq!((status, &paid["failureCode"]), (201, &code), "{paid}");
    }
    let in_clear = "SELECT count(*) FROM gateway.risk_windows WHERE slices::text LIKE '%wx-%'
        OR position('wx-1'::bytea IN window_key) > 0";
    assert_eq!(stack.count(in_clear).await?, 0, "a payer's name lies in the database");
    Ok(())
}

async fn amounts_and_times(stack: &mut Stack, app: &App) -> Result<()> {
    let range = json!({"currency": "CNY", "method": "card", "amountMinorMin": 100, "amountMinorMax": 500});
    let other = json!({"currency": "CNY", "method": "wallet", "amountMinorMax": 1});
    let foreign = json!({"currency": "USD", "amountMinorMax": 1});
    let all = [("range", range), ("other", other), ("foreign", foreign)];
    let all: Vec<_> = all.iter().map(|(name, rule)| policy(name, "Amount", rule)).collect();
    in_force(stack, json!(all)).await?;
    assert_eq!(pays(app, "amount", None, &[99, 100, 500, 501]).await?, [false, true, true, false]);

    let minute = |time: Zoned| i64::from(time.hour()) * 60 + i64::from(time.minute());
    let now = Zoned::now().in_tz("Asia/Shanghai")?;
    let (before, after) = (minute(&now - 30.minutes()), minute(&now + 30.minutes()));
    let at = |from: i64, to: i64, max: i64| {
        let rule = json!({"fromMinute": from, "toMinute": to, "currency": "CNY", "amountMinorMax": max});
        policy(&format!("from-{from}"), "TimeOfDay", &rule)
    };
    in_force(stack, json!([at(before, after, 200), at(after, before, 1)])).await?;
    assert_eq!(pays(app, "time", None, &[200, 201]).await?, [true, false], "not what holds at other times");
    Ok(())
}

async fn new_merchants(stack: &mut Stack, app: &App) -> Result<()> {
    let rule = json!({"days": 30, "paymentsPerDayMax": 2,
        "amountsPerDay": [{"currency": "CNY", "amountMinorMax": 1_000}]});
    in_force(stack, json!([policy("newcomer", "NewMerchant", &rule)])).await?;
    assert_eq!(pays(app, "new", None, &[600, 401, 400, 1]).await?, [true, false, true, false]);
    let database = stack.postgres.connect("postgres").await?;
    let known = stack.count("SELECT count(*) FROM gateway.merchants WHERE approved_at IS NOT NULL").await?;
    assert_eq!(known, 1, "the approval is dated");
    let aged = "UPDATE gateway.merchants SET approved_at = now() - interval '29 days 23 hours'";
    database.execute(aged, &[]).await?;
    assert_eq!(pays(app, "still", None, &[1]).await?, [false]);
    database.execute("UPDATE gateway.merchants SET approved_at = now() - interval '30 days'", &[]).await?;
    assert_eq!(pays(app, "old", None, &[600, 401, 400]).await?, [true; 3]);
    Ok(())
}

async fn split_orders(stack: &mut Stack, app: &App) -> Result<()> {
    let rule = json!({"windowSeconds": 600, "paymentsMin": 3, "currency": "CNY", "amountMinorMax": 1_000});
    in_force(stack, json!([policy("parts", "SplitOrder", &rule)])).await?;
    assert_eq!(pays(app, "split", Some("s-1"), &[400, 400, 201, 200]).await?, [true, true, false, true]);
    assert_eq!(
        pays(app, "two", Some("s-2"), &[900, 900, 1]).await?,
        [true, true, false],
        "two are no pattern"
    );
    assert_eq!(
        pays(app, "whole", Some("s-3"), &[1_001, 1_001, 1_001]).await?,
        [true; 3],
        "each alone is more"
    );
    assert_eq!(pays(app, "unnamed", None, &[900, 900, 900]).await?, [true; 3]);
    Ok(())
}

/// What only watches notes what it sees, beside one that acts.
async fn shadows(stack: &mut Stack, app: &App) -> Result<()> {
    let max = |max: i64| json!({"currency": "CNY", "amountMinorMax": max});
    let often = json!({"per": "Payer", "windowSeconds": 600, "paymentsMax": 1});
    let (watch, often) =
        (shadow(policy("watch", "Amount", &max(100))), shadow(policy("often", "Velocity", &often)));
    in_force(stack, json!([watch, often, policy("act", "Amount", &max(300))])).await?;
    let epoch = stack.count("SELECT max(config_epoch) FROM gateway.risk_journal").await?;
    let mut request = payment("shadow-0", 200);
    request.payer_id = Some("q-1".into());
    let paid = app.pay(&request).await?;
    assert_eq!(paid.status, Succeeded);
    let line = |risk: &Value, n: usize| {
        let line = &risk[n];
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        (text("policy"), text("mode"), text("verdict"), line["facts"].clone())
    };
    let named = |name: &str, mode: &str, facts: Value| (name.into(), mode.into(), "Block".into(), facts);
    let seen =
        |minor: i64, max: i64| json!({"amountMinor": minor, "amountMinorMin": null, "amountMinorMax": max});
    let risk = journal(stack, &paid.order_id.to_string()).await?;
    assert_eq!(line(&risk, 0), named("watch", "Shadow", seen(200, 100)), "{risk}");
    assert_eq!(
        (risk[1].clone(), risk[0]["configEpoch"].as_i64() > Some(epoch)),
        (Value::Null, true),
        "{risk}"
    );
    assert_eq!(Some(risk[0]["configHash"].as_str().unwrap_or_default().len()), Some(64));

    (request.order_number, request.amount_minor) = ("shadow-1".into(), 301);
    let paid = app.pay(&request).await?;
    assert!(!passed(&paid));
    let risk = journal(stack, &paid.order_id.to_string()).await?;
    assert_eq!(line(&risk, 0), named("act", "Enforce", seen(301, 300)), "{risk}");
    let facts = json!({"paymentsBefore": 1, "paymentsMax": 1});
    assert_eq!(line(&risk, 1), named("often", "Shadow", facts), "{risk}");
    assert_eq!(line(&risk, 2), named("watch", "Shadow", seen(301, 100)), "{risk}");
    let metrics = reqwest::get(format!("http://127.0.0.1:{}/metrics", stack.ports[2])).await?.text().await?;
    let others = reqwest::get(format!("http://127.0.0.1:{}/metrics", stack.ports[5])).await?.text().await?;
    let counted = "payplane_gateway_risk_verdicts_total{policy=\"act\",mode=\"Enforce\",verdict=\"Block\"} 1";
    assert!(metrics.contains(counted) || others.contains(counted), "{metrics}");

    in_force(stack, json!([])).await?;
    assert_eq!(pays(app, "without", Some("q-1"), &[301, 301]).await?, [true; 2]);
    Ok(())
}

/// Windows that nobody looks at any more are deleted.
async fn purged(stack: &Stack) -> Result<()> {
    let postgres = stack.postgres.connect("postgres").await?;
    let made = "INSERT INTO gateway.risk_windows (window_key, last_day)
        SELECT sha256(n::text::bytea), current_date - n FROM unnest(ARRAY[0, 4, 5]) n";
    postgres.execute(made, &[]).await?;
    let now = stack.count("SELECT count(*) FROM gateway.risk_windows WHERE last_day >= current_date").await?;
    for _ in 0..600 {
        if stack.count("SELECT count(*) FROM gateway.risk_windows").await? == now {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    bail!("old windows are left, or too much is gone")
}

async fn append_only(stack: &Stack) -> Result<()> {
    let names = "SELECT count(*) FROM gateway.risk_journal WHERE facts::text || policy ~ '(wx|s|q|d)-[0-9]'";
    assert_eq!(stack.count(names).await?, 0, "nobody's name stands in the journal");
    let postgres = stack.postgres.connect("postgres").await?;
    for (role, state) in [("postgres", "23000"), ("gateway", "42501")] {
        postgres.batch_execute(&format!("SET ROLE {role}")).await?;
        for sql in [
            "UPDATE gateway.risk_journal SET policy = 'x'",
            "DELETE FROM gateway.risk_journal",
            "TRUNCATE gateway.risk_journal",
        ] {
            let refused = postgres.batch_execute(sql).await.err();
            let code = refused.as_ref().and_then(|error| error.code()).map(|code| code.code().to_owned());
            assert_eq!(code.as_deref(), Some(state), "{role}: {sql}");
        }
    }
    Ok(())
}
