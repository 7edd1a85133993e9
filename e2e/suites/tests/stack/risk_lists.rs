//! Lists of whom no payment is taken from: added to, looked at and taken from by the admin
//! API, audited, bounded.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::harness::Stack;
use crate::process::binary;
use crate::risk::{in_force, pays, pays_from, policy};

const ENTRIES: &str = "/admin/v1/risk/lists/fraud/entries";

async fn add(stack: &Stack, who: &str, entry: &Value) -> Result<(u16, Value)> {
    stack.admin(who, "POST", ENTRIES, entry).await
}

async fn listed(stack: &Stack, kind: &str, value: &str) -> Result<String> {
    let entry = json!({"kind": kind, "value": value, "note": "case 7"});
    let (status, answer) = add(stack, "admin-client", &entry).await?;
    ensure!(status == 200, "{answer}");
    Ok(answer["entryId"].as_str().unwrap_or_default().to_owned())
}

async fn unlist(stack: &Stack, id: &str) -> Result<()> {
    let path = format!("{ENTRIES}/{id}");
    let (status, answer) = stack.admin("admin-checker", "DELETE", &path, &json!({})).await?;
    ensure!(status == 200, "{answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_listed_does_not_pay_until_taken_off() -> Result<()> {
    let mut stack = Stack::start().await?;
    let app = stack.app("app1", 1)?;
    in_force(&mut stack, json!([policy("listed", "List", &json!({"list": "fraud"}))])).await?;
    assert_eq!(pays(&app, "before", Some("wx-1"), &[1]).await?, [true]);
    let payer = listed(&stack, "Payer", "wx-1").await?;
    assert_eq!(listed(&stack, "Payer", "wx-1").await?, payer, "twice is once");
    assert_eq!(pays(&app, "listed", Some("wx-1"), &[1]).await?, [false]);
    assert_eq!(pays(&app, "other", Some("wx-2"), &[1]).await?, [true]);
    assert_eq!(pays(&app, "nobody", None, &[1]).await?, [true]);
    let device = listed(&stack, "Device", "wx-2").await?;
    assert_eq!(pays(&app, "no-device", Some("wx-2"), &[1]).await?, [true], "that is a device's name");
    assert_eq!(pays_from(&stack, "device", "wx-2").await?.1["failureCode"], "RiskBlocked");
    let merchant = listed(&stack, "Merchant", "M1").await?;
    assert_eq!(pays(&app, "merchant", None, &[1]).await?, [false]);
    // A list that no policy names is nobody's business.
    in_force(&mut stack, json!([policy("listed", "List", &json!({"list": "other"}))])).await?;
    assert_eq!(pays(&app, "another", Some("wx-1"), &[1]).await?, [true]);
    in_force(&mut stack, json!([policy("listed", "List", &json!({"list": "fraud"}))])).await?;

    let (_, page) = stack.admin("admin-checker", "GET", ENTRIES, &Value::Null).await?;
    let kinds: Vec<_> =
        page["entries"].as_array().into_iter().flatten().map(|entry| &entry["kind"]).collect();
    assert_eq!(kinds, ["Payer", "Device", "Merchant"], "{page}");
    assert!(!page.to_string().contains("wx-"), "{page}");
    let after = format!("{ENTRIES}?after={device}");
    let (_, page) = stack.admin("admin-checker", "GET", &after, &Value::Null).await?;
    assert_eq!(page["entries"][0]["entryId"], merchant.as_str(), "{page}");
    for id in [&payer, &device, &merchant, &merchant] {
        unlist(&stack, id).await?;
    }
    assert_eq!(pays(&app, "free", Some("wx-1"), &[1]).await?, [true]);
    audited(&stack, &payer).await?;
    by_command(&stack)?;
    refused(&stack).await?;
    bounded(&stack).await
}

async fn audited(stack: &Stack, payer: &str) -> Result<()> {
    let postgres = stack.postgres.connect("postgres").await?;
    let sql = "SELECT subject || ' ' || action || ' ' || object_id FROM gateway.registry_audit
        WHERE kind = 'risk-entry' AND coalesce(after, before) ->> 'entry_id' = $1 ORDER BY audit_number";
    let lines: Vec<String> = postgres.query(sql, &[&payer]).await?.iter().map(|row| row.get(0)).collect();
    assert_eq!(lines, ["admin-client Insert fraud", "admin-checker Delete fraud"]);
    let clear =
        "SELECT count(*) FROM gateway.registry_audit a WHERE kind = 'risk-entry' AND a::text LIKE '%wx-%'";
    assert_eq!(stack.count(clear).await?, 0, "a payer's name lies in the audit");
    Ok(())
}

/// As an administrator does it from a shell.
fn by_command(stack: &Stack) -> Result<()> {
    let identity = stack.postgres.pki.leaf("admin-client", &[])?;
    let gateway = format!("https://localhost:{}", stack.ports[1]);
    let run = |args: &[&str]| -> Result<String> {
        let mut command = Command::new(binary()?);
        command.args(["client", "risk-list"]).args(args).args(["--gateway", &gateway, "--ca"]);
        command.arg(stack.postgres.pki.trust().join("ca.crt")).arg("--cert").arg(identity.join("tls.crt"));
        let done = command.arg("--cert-key").arg(identity.join("tls.key")).output()?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(String::from_utf8(done.stdout)?)
    };
    let said = run(&["add", "fraud", "payer", "wx-9", "--note", "case 9"])?;
    let entry = said.split(' ').nth(1).unwrap_or_default();
    assert_eq!(said, format!("entry {entry} of fraud is there\n"));
    assert_eq!(run(&["add", "fraud", "payer", "wx-9"])?, said);
    assert_eq!(run(&["remove", "fraud", entry])?, format!("entry {entry} of fraud is gone\n"));
    Ok(())
}

async fn refused(stack: &Stack) -> Result<()> {
    for (entry, field) in [
        (json!({"kind": "Card", "value": "x"}), "kind"),
        (json!({"kind": "Payer", "value": ""}), "value"),
        (json!({"kind": "Payer", "value": "a b"}), "value"),
        (json!({"kind": "Payer", "value": "x".repeat(129)}), "value"),
        (json!({"kind": "Merchant", "value": "M/1"}), "value"),
        (json!({"kind": "Payer", "value": "x", "note": ""}), "note"),
        (json!({"kind": "Payer", "value": "x", "more": 1}), "more"),
    ] {
        let (status, problem) = add(stack, "admin-client", &entry).await?;
        assert_eq!((status, &problem["field"]), (400, &json!(field)), "{entry}: {problem}");
    }
    let entry = json!({"kind": "Payer", "value": "x"});
    assert_eq!(add(stack, "app1", &entry).await?.0, 403);
    for (method, path, status) in [
        ("POST", "/admin/v1/risk/lists/Fraud/entries", 400),
        ("GET", "/admin/v1/risk/lists/fraud/entries?after=x", 400),
        ("GET", "/admin/v1/risk/lists/fraud/entries?page=2", 400),
        ("DELETE", "/admin/v1/risk/lists/fraud/entries/x", 404),
    ] {
        let (said, problem) = stack.admin("admin-client", method, path, &entry).await?;
        assert_eq!(said, status, "{method} {path}: {problem}");
    }
    assert_eq!(stack.count("SELECT count(*) FROM gateway.risk_entries").await?, 0, "nothing was written");
    Ok(())
}

async fn bounded(stack: &Stack) -> Result<()> {
    let postgres = stack.postgres.connect("postgres").await?;
    let full = "ALTER TABLE gateway.risk_entries DISABLE TRIGGER noted;
        INSERT INTO gateway.risk_entries (entry_id, list, kind, value_hash)
            SELECT gen_random_uuid(), 'fraud', 'Payer', sha256(n::text::bytea) FROM generate_series(1, 99999) n;
        ALTER TABLE gateway.risk_entries ENABLE TRIGGER noted; ANALYZE gateway.risk_entries";
    postgres.batch_execute(full).await?;
    let last = listed(stack, "Payer", "last").await?;
    let (status, problem) = add(stack, "admin-client", &json!({"kind": "Payer", "value": "over"})).await?;
    assert_eq!((status, &problem["code"]), (409, &json!("StateConflict")), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|text| text.contains("remove some")), "{problem}");
    assert_eq!(listed(stack, "Payer", "last").await?, last, "it is there");
    unlist(stack, &last).await?;
    listed(stack, "Payer", "over").await?;
    Ok(())
}
