//! Who may take part: a second person approves, an app pays to its own merchants, and what is
//! closed is closed.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use payplane_client::message::PaymentStatus::Succeeded;
use serde_json::json;
use tokio_postgres::Client;

use crate::harness::{DATE, Stack, code, payment, refund};
use crate::terminals::{ELEMENTS, five_elements, pay_at, put_terminal, terminal_of, two_terminals};

/// Asks as one of the two admins, and reads the code of a refusal or the state.
async fn ask(stack: &Stack, who: &str, method: &str, path: &str) -> Result<String> {
    let (_, answer) = stack.admin(who, method, &format!("/admin/v1/{path}"), &json!({})).await?;
    let said = answer["code"].as_str().or_else(|| answer["status"].as_str());
    Ok(said.unwrap_or("done").to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_says_who_may_take_part() -> Result<()> {
    let stack = Stack::start().await?;
    two_persons(&stack).await?;
    two_terminals(&stack).await?;
    five_elements(&stack).await?;
    waits(&stack).await?;
    what_is_closed(&stack).await?;
    audit(&stack).await
}

async fn two_persons(stack: &Stack) -> Result<()> {
    let app = stack.app("app1", 1)?;
    let body = json!({"displayName": "Second shop"});
    let (_, merchant) = stack.admin("admin-client", "PUT", "/admin/v1/merchants/M2", &body).await?;
    assert_eq!((&merchant["status"], &merchant["appliedBy"]), (&json!("Applied"), &json!("admin-client")));
    let to_m2 = |number: &str| {
        let mut request = payment(number, 100);
        request.merchant_id = "M2".into();
        request
    };
    assert_eq!(code(app.pay(&to_m2("m2")).await), "NotBound");
    assert_eq!(ask(stack, "admin-client", "PUT", "apps/app1/merchants/M2").await?, "done");
    assert_eq!(code(app.pay(&to_m2("m2")).await), "MerchantNotActive");
    // Who wrote it last does not approve it.
    assert_eq!(ask(stack, "admin-client", "POST", "merchants/M2/approve").await?, "OwnApplication");
    let (_, merchant) = stack.admin("admin-checker", "PUT", "/admin/v1/merchants/M2", &body).await?;
    assert_eq!(merchant["appliedBy"], "admin-checker");
    assert_eq!(ask(stack, "admin-checker", "POST", "merchants/M2/approve").await?, "OwnApplication");
    assert_eq!(ask(stack, "admin-client", "POST", "merchants/M2/resume").await?, "StateConflict");
    assert_eq!(ask(stack, "admin-client", "POST", "merchants/M2/approve").await?, "Active");
    assert_eq!(ask(stack, "admin-checker", "POST", "merchants/M2/approve").await?, "Active", "it is");
    assert_eq!(app.pay(&to_m2("m2")).await?.status, Succeeded);
    // Bound, unbound, and bound to whom ever.
    assert_eq!(ask(stack, "admin-client", "DELETE", "apps/app1/merchants/M2").await?, "done");
    assert_eq!(code(app.pay(&to_m2("unbound")).await), "NotBound");
    assert_eq!(app.pay(&to_m2("m2")).await?.status, Succeeded, "a replay");
    assert_eq!(ask(stack, "admin-client", "PUT", "apps/app1/merchants/*").await?, "done");
    assert_eq!(app.pay(&to_m2("any")).await?.status, Succeeded);
    let (_, bound) =
        stack.admin("admin-client", "GET", "/admin/v1/apps/app1/merchants?after=*", &json!({})).await?;
    assert_eq!(bound, json!({"merchants": ["M1"]}));
    for (method, path, answer) in [
        ("PUT", "apps/nobody/merchants/M1", "NotFound"),
        ("PUT", "apps/app1/merchants/M9", "NotFound"),
        ("POST", "merchants/M9/close", "NotFound"),
        ("POST", "apps/app1/approve", "NotFound"),
        ("POST", "merchants/M%2F/close", "NotFound"),
    ] {
        assert_eq!(ask(stack, "admin-client", method, path).await?, answer, "{path}");
    }
    Ok(())
}

/// Who decides on an order reads after its lock what was committed before; who closes waits for
/// the orders before.
async fn waits(stack: &Stack) -> Result<()> {
    let hand = stack.postgres.connect("postgres").await?;
    for (kind, id, table, refused) in [
        ("app", "app1", "apps", "AppNotActive"),
        ("merchant", "M1", "merchants", "MerchantNotActive"),
        ("terminal", "T1", "terminals", "TerminalNotActive"),
    ] {
        let by_hand = format!(
            "BEGIN; SELECT gateway.begin_change('hand', '{kind}', '{id}');
             UPDATE gateway.{table} SET status = 'Suspended' WHERE {kind}_id = '{id}'"
        );
        hand.batch_execute(&by_hand).await?;
        let number = format!("waits-{kind}");
        let paying = pay_at(stack, &number, terminal_of("T1", &ELEMENTS));
        let (paid, committed) = tokio::join!(paying, commit_once_awaited(stack, &hand));
        committed?;
        assert_eq!(paid?.1["code"], refused, "it read what was before");
        assert_eq!(ask(stack, "admin-client", "POST", &format!("{table}/{id}/resume")).await?, "Active");
        assert_eq!(pay_at(stack, &number, terminal_of("T1", &ELEMENTS)).await?.0, 201, "nothing was written");

        hand.batch_execute("BEGIN; SELECT gateway.hold(ARRAY['app1'], ARRAY['M1'], ARRAY['T1'])").await?;
        let path = format!("{table}/{id}/suspend");
        let closing = ask(stack, "admin-client", "POST", &path);
        let (closed, committed) = tokio::join!(closing, commit_once_awaited(stack, &hand));
        committed?;
        assert_eq!(closed?, "Suspended");
        assert_eq!(ask(stack, "admin-checker", "POST", &format!("{table}/{id}/resume")).await?, "Active");
    }
    Ok(())
}

/// Commits as soon as the gateway waits for what is locked by hand.
async fn commit_once_awaited(stack: &Stack, hand: &Client) -> Result<()> {
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'advisory' AND usename = 'gateway'";
    for _ in 0..400 {
        if stack.count(waiting).await? > 0 {
            return Ok(hand.batch_execute("COMMIT").await?);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bail!("nobody waits")
}

/// Money goes back while it may, and what was accepted is answered.
async fn what_is_closed(stack: &Stack) -> Result<()> {
    let (app, other) = (stack.app("app1", 1)?, stack.app("app2", 1)?);
    let paid = other.pay(&payment("kept", 5_000)).await?;
    assert_eq!(app.pay(&payment("kept", 5_000)).await?.status, Succeeded);
    assert_eq!(ask(stack, "admin-client", "POST", "terminals/T2/close").await?, "Closed");
    let (_, answer) = put_terminal(stack, "T2", &json!({})).await?;
    assert_eq!(answer["code"], "StateConflict");
    assert_eq!(put_terminal(stack, "T2-new", &json!({"serialNumber": "S-T2"})).await?.0, 200);

    assert_eq!(other.refund(DATE, "kept", &refund("r1", 1_000)).await?.status, Succeeded);
    assert_eq!(ask(stack, "admin-client", "POST", "apps/app2/close").await?, "Closed");
    assert_eq!(ask(stack, "admin-client", "POST", "apps/app2/resume").await?, "StateConflict");
    assert_eq!(code(other.pay(&payment("new", 5_000)).await), "AppNotActive");
    assert_eq!(code(other.refund(DATE, "kept", &refund("r2", 1_000)).await), "AppNotActive");
    assert_eq!(other.refund(DATE, "kept", &refund("r1", 1_000)).await?.status, Succeeded, "a replay");
    let replay = other.pay(&payment("kept", 5_000)).await?;
    assert_eq!((replay.order_id, replay.refunded_minor), (paid.order_id, 1_000));
    assert_eq!(other.payment(DATE, "kept").await?.refunded_minor, 1_000);

    assert_eq!(ask(stack, "admin-client", "POST", "merchants/M1/close").await?, "Closed");
    assert_eq!(ask(stack, "admin-client", "POST", "merchants/M1/close").await?, "Closed");
    assert_eq!(code(app.pay(&payment("new", 5_000)).await), "MerchantNotActive");
    assert_eq!(app.refund(DATE, "kept", &refund("r1", 1_000)).await?.status, Succeeded, "the payer's money");
    stack.check_agreement().await
}

/// Every change has its line, by whom, and no line is taken back.
async fn audit(stack: &Stack) -> Result<()> {
    let (mut after, mut lines) = (0, vec![]);
    loop {
        let path = format!("/admin/v1/audit?after={after}");
        let (status, page) = stack.admin("admin-checker", "GET", &path, &json!({})).await?;
        ensure!(status == 200, "{page}");
        let Some(changes) = page["changes"].as_array().filter(|changes| !changes.is_empty()) else { break };
        after = changes.last().and_then(|change| change["number"].as_i64()).unwrap_or(i64::MAX);
        lines.extend(changes.clone());
    }
    let m2: Vec<_> = (lines.iter().filter(|line| line["objectId"] == "M2" && line["kind"] == "merchant"))
        .map(|line| format!("{} {} {}", line["subject"], line["action"], line["after"]["status"]))
        .map(|line| line.replace('"', ""))
        .collect();
    let (client, checker) = ("admin-client", "admin-checker");
    let expected = [
        format!("{client} Insert Applied"),
        format!("{checker} Update Applied"),
        format!("{client} Update Active"),
        format!("{client} Update Active"),
    ];
    assert_eq!(m2, expected);
    assert!(lines.iter().any(|line| line["subject"] == "hand"));
    assert!(lines.iter().any(|line| line["kind"] == "key" && line["after"]["public_key_sha256"].is_string()));
    let postgres = stack.postgres.connect("postgres").await?;
    for sql in [
        "UPDATE gateway.registry_audit SET subject = 'x'",
        "DELETE FROM gateway.registry_audit",
        "TRUNCATE gateway.registry_audit",
        "UPDATE gateway.merchants SET status = 'Active' WHERE merchant_id = 'M1'",
        "INSERT INTO gateway.merchants VALUES ('M7', 'x', 1, now(), 'Active', 'a', 'a')",
        "INSERT INTO gateway.merchants VALUES ('M7', 'x', 1, now(), 'Active', 'a')",
    ] {
        let refused = refused_with(&postgres, sql).await;
        assert!(refused.as_deref().is_some_and(|code| code.starts_with("23")), "{sql}: {refused:?}");
    }
    postgres.batch_execute("SET ROLE gateway").await?;
    let forged = "INSERT INTO gateway.registry_audit (subject, action, kind, object_id) VALUES ('a', 'Insert', 'x', 'y')";
    assert_eq!(refused_with(&postgres, forged).await.as_deref(), Some("42501"));
    Ok(())
}

/// The SQLSTATE of a refusal.
async fn refused_with(client: &Client, sql: &str) -> Option<String> {
    let error = client.batch_execute(sql).await.err()?;
    error.code().map(|code| code.code().to_owned())
}
