//! What no machine ends is decided by two persons, by the path that a network's answer takes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use payplane_client::message::PaymentStatus::{Failed, Processing, Succeeded};
use serde_json::{Value, json};

use crate::decision_stage::{CHECKER, MAKER, proposal};
use crate::harness::{DATE, Stack, ended, payment, refund};
use crate::hostile::written;
use crate::networks::SOON;
use crate::payout_stage::{BANK, agree, bank, fund, paid_out, payout, sale};

/// The network has the effect, the gateway no answer.
const TAKEN: i64 = 19_004;
/// Neither.
const LOST: i64 = 19_003;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_payment_is_ended_by_two_persons() -> Result<()> {
    let stack = Stack::start().await?;
    let app = stack.app("app1", 4)?;
    let (taken, lost) = (payment("taken", TAKEN), payment("lost", LOST));
    let silence = async {
        stack.until("SELECT count(*) FROM gateway.attempts WHERE status = 'Sending'", 2).await?;
        stack.falls_silent().await
    };
    let (a, b, record) = tokio::join!(app.pay(&taken), app.pay(&lost), silence);
    let record = record?;
    ensure!(a?.status == Processing && b?.status == Processing, "nobody knows");
    ensure!(stack.open("Payment").await?.is_empty(), "the network may still answer");
    stack.an_hour_later().await?;
    let items = stack.open("Payment").await?;
    ensure!(items.len() == 2, "{items:?}");
    let of = |minor: i64| items.iter().find(|item| item["amountMinor"] == minor).cloned().unwrap_or_default();

    counted(&stack, 2).await?;
    hostile(&stack, &of(LOST)).await?;
    // Two persons, and what was read.
    let body = stack.success(&of(TAKEN), &record)?;
    let first = stack.proposed(MAKER, &body).await?;
    guarded(&stack).await?;
    ensure!(stack.proposed(MAKER, &body).await? == first, "the same proposal again");
    let mut other = body.clone();
    other["reference"] = "ticket 4712".into();
    let second = stack.proposed(MAKER, &other).await?;
    ensure!((&second["decisionId"], &second["version"]) == (&first["decisionId"], &json!(2)), "{second}");
    for (by, decision, status, code) in [
        (MAKER, &second, 403, "OwnProposal"),
        (CHECKER, &first, 409, "StateConflict"),
        ("operator", &second, 403, "Forbidden"),
    ] {
        let refused = stack.judge((0, by), "approve", decision).await?;
        ensure!((refused.0, &refused.1["code"]) == (status, &json!(code)), "{by}: {refused:?}");
    }
    let theirs = stack.admin(CHECKER, "POST", "/admin/v1/decisions", &body).await?;
    ensure!(theirs.0 == 409 && theirs.1.to_string().contains(MAKER), "one at a time: {theirs:?}");
    let (status, approved) = stack.judge((0, CHECKER), "approve", &second).await?;
    ensure!(status == 200 && approved["endedBy"] == CHECKER, "{approved}");
    ensure!(stack.judge((1, CHECKER), "approve", &second).await? == (200, approved), "his answer was lost");
    let end = ended(&app, "taken", SOON).await?;
    ensure!(end.status == Succeeded && end.ledger_transaction_id.is_some(), "{end:?}");

    // Withdrawn, rejected, and proposed again.
    let failed = proposal(&of(LOST), "Failed");
    for (by, verb) in [(CHECKER, "withdraw"), (MAKER, "reject")] {
        let decision = stack.proposed(CHECKER, &failed).await?;
        let wrong = stack.judge((0, if by == MAKER { CHECKER } else { MAKER }), verb, &decision).await?;
        ensure!((wrong.0, &wrong.1["code"]) == (403, &json!("OwnProposal")), "{verb}: {wrong:?}");
        ensure!(stack.judge((0, by), verb, &decision).await?.0 == 200, "{verb}");
        let late = stack.judge((0, MAKER), "approve", &decision).await?;
        ensure!(late.0 == 409, "{verb}: {late:?}");
    }
    ensure!(app.payment(DATE, "lost").await?.status == Processing, "nothing came of it");
    stack.decide(&failed).await?;
    let end = ended(&app, "lost", SOON).await?;
    ensure!((end.status, end.failure_code.as_deref()) == (Failed, Some("Declined")), "{end:?}");
    stack.simulator.signal("CONT")?;
    stack.check_agreement().await?;
    ensure!(stack.open("Payment").await?.is_empty());
    audited(&stack).await
}

/// Somebody is to look, says the metric.
async fn counted(stack: &Stack, count: usize) -> Result<()> {
    let (url, began) = (format!("http://127.0.0.1:{}/metrics", stack.ports[2]), Instant::now());
    let line = format!("payplane_gateway_open_items {count}");
    while !reqwest::get(&url).await?.text().await?.lines().any(|found| found == line) {
        ensure!(began.elapsed() < SOON, "{line} is not said");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}

/// What is wrong with a proposal is told, and nothing is written.
async fn hostile(stack: &Stack, item: &Value) -> Result<()> {
    let before = written(&stack.postgres).await?;
    let long = "x".repeat(300);
    let good = proposal(item, "Failed");
    for (field, value) in [
        ("reason", Value::Null),
        ("reason", long.clone().into()),
        ("reason", "a\u{0}b".into()),
        ("reference", "".into()),
        ("reference", "\u{1b}[31m".into()),
        ("kind", "Order".into()),
        ("itemId", "../1".into()),
        ("outcome", "Retry".into()),
        ("networkId", "N-1".into()),
        ("approvedBy", CHECKER.into()),
    ] {
        let mut body = good.clone();
        body[field] = value;
        let (status, problem) = stack.admin(MAKER, "POST", "/admin/v1/decisions", &body).await?;
        ensure!((status, &problem["field"]) == (400, &json!(field)), "{body}: {status} {problem}");
    }
    for (time, id) in [("2999-01-01T00:00:00Z", "N"), ("2001-01-01T00:00:00Z", "N"), ("today", "N")] {
        let mut body = proposal(item, "Succeeded");
        (body["networkTime"], body["networkId"]) = (time.into(), id.into());
        let (status, problem) = stack.admin(MAKER, "POST", "/admin/v1/decisions", &body).await?;
        ensure!((status, &problem["field"]) == (400, &json!("networkTime")), "{time}: {status} {problem}");
    }
    let unknown = json!({"kind": "Payout", "itemId": item["itemId"]});
    let (status, problem) =
        stack.admin(MAKER, "POST", "/admin/v1/decisions", &proposal(&unknown, "Failed")).await?;
    ensure!(status == 404, "{problem}");
    for id in ["1", "%ff", "0194f3a0-0000-7000-8000-000000000001", &long] {
        for verb in ["approve", "reject", "withdraw"] {
            let path = format!("/admin/v1/decisions/{id}/{verb}");
            let (status, problem) = stack.admin(CHECKER, "POST", &path, &json!({"version": 1})).await?;
            ensure!(status == 404, "{path}: {status} {problem}");
        }
    }
    for path in
        ["open-items?kind=x", "open-items?olderThanSeconds=-1", "open-items?after=1", "decisions?status=x"]
    {
        let (status, problem) = stack.admin(MAKER, "GET", &format!("/admin/v1/{path}"), &Value::Null).await?;
        ensure!((status, &problem["code"]) == (400, &json!("InvalidField")), "{path}: {problem}");
    }
    ensure!(written(&stack.postgres).await? == before, "something was written");
    Ok(())
}

/// Who gets at the database itself is not both persons, nor changes what was read.
async fn guarded(stack: &Stack) -> Result<()> {
    let gateway = stack.postgres.connect("gateway").await?;
    for (forbidden, by) in [
        ("status = 'Approved', ended_by = proposed_by, ended_at = now()", "by_another"),
        ("status = 'Rejected', ended_by = proposed_by, ended_at = now()", "by_another"),
        ("status = 'Withdrawn', ended_by = 'x', ended_at = now()", "withdrawn_by_maker"),
        ("status = 'Approved'", "end_says_who"),
        ("reason = 'x'", "without a new version"),
        ("seen = 'x'", "without a new version"),
        (
            "reason = 'x', version = version + 1, status = 'Rejected', ended_by = 'x', ended_at = now()",
            "version",
        ),
    ] {
        let sql = format!("UPDATE gateway.decisions SET {forbidden} WHERE status = 'Proposed'");
        let refused = gateway.batch_execute(&sql).await.err().map(|error| format!("{error:?}"));
        ensure!(refused.as_ref().is_some_and(|why| why.contains(by)), "{forbidden}: {refused:?}");
    }
    ensure!(stack.count("SELECT count(*) FROM gateway.decisions WHERE status = 'Proposed'").await? == 1);
    Ok(())
}

/// Who did what is in the audit, told to the app once, and nobody rewrites it.
async fn audited(stack: &Stack) -> Result<()> {
    let told = "SELECT count(*) FROM gateway.outbox WHERE kind IN ('payment.succeeded', 'payment.failed')";
    ensure!(stack.count(told).await? == 2);
    let sql = "SELECT count(*) FROM gateway.registry_audit WHERE kind = 'decision'
         AND subject = CASE WHEN after->>'status' IN ('Proposed', 'Withdrawn')
            THEN after->>'proposed_by' ELSE after->>'ended_by' END";
    // Proposed and changed, approved; proposed and withdrawn; proposed and rejected; decided.
    ensure!(stack.count(sql).await? == 3 + 2 + 2 + 2, "{}", stack.count(sql).await?);
    let gateway = stack.postgres.connect("gateway").await?;
    for forbidden in [
        "DELETE FROM gateway.registry_audit",
        "UPDATE gateway.registry_audit SET subject = 'x'",
        "DELETE FROM gateway.decisions",
        "UPDATE gateway.decisions SET proposed_by = 'x'",
        "UPDATE gateway.decisions SET status = 'Proposed' WHERE status = 'Approved'",
        "INSERT INTO gateway.decisions (decision_id, kind, item_id, outcome, reason, reference, status, proposed_by,
            ended_by, ended_at) SELECT gen_random_uuid(), kind, item_id, outcome, reason, reference, 'Approved', 'x',
            'x', now() FROM gateway.decisions WHERE outcome = 'Failed' LIMIT 1",
    ] {
        ensure!(gateway.batch_execute(forbidden).await.is_err(), "{forbidden}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_refunds_and_payouts_are_ended_by_two_persons() -> Result<()> {
    let stack = bank().await?;
    let app = stack.app("app1", 8)?;
    fund(&stack, &sale("M1", 1_000_000)).await?;
    let order = sale("M1", 1_000_000).order_number;
    let (taken, lost) = (payout("taken", TAKEN), payout("lost", LOST + 10_000));
    let (back, kept) = (refund("back", TAKEN), refund("kept", LOST));
    let silence = async {
        let sending = "SELECT (SELECT count(*) FROM gateway.refunds WHERE status = 'Sending')
            + (SELECT count(*) FROM gateway.payouts WHERE status = 'Sending')";
        stack.until(sending, 4).await?;
        stack.falls_silent().await
    };
    let (a, b, c, d, record) = tokio::join!(
        app.pay_out(&taken),
        app.pay_out(&lost),
        app.refund(DATE, &order, &back),
        app.refund(DATE, &order, &kept),
        silence
    );
    let record = record?;
    for status in [a?.status, b?.status, c?.status, d?.status] {
        ensure!(status == Processing, "nobody knows");
    }
    stack.an_hour_later().await?;
    changes(&stack).await?;
    stack.ledger.signal("STOP")?;
    for kind in ["Payout", "Refund"] {
        let items = stack.open(kind).await?;
        ensure!(items.len() == 2, "{kind}: {items:?}");
        for item in items {
            let is_taken = item["amountMinor"] == TAKEN;
            let body = if is_taken { stack.success(&item, &record)? } else { proposal(&item, "Failed") };
            stack.decide(&body).await?;
        }
    }
    unreversed(&stack).await?;
    stack.ledger.signal("CONT")?;
    for (number, end) in [("taken", Succeeded), ("lost", Failed)] {
        ensure!(paid_out(&app, number, SOON).await?.status == end, "{number}");
    }
    let open = "SELECT count(*) FROM gateway.refunds WHERE next_check_at IS NOT NULL";
    stack.until(open, 0).await?;
    ensure!(app.refund_of(DATE, &order, "back").await?.status == Succeeded);
    let kept = app.refund_of(DATE, &order, "kept").await?;
    ensure!((kept.status, kept.failure_code.as_deref()) == (Failed, Some("Decided")), "{kept:?}");
    stack.simulator.signal("CONT")?;
    agree(&stack, BANK, 1_000_000).await?;
    ensure!(stack.open("Contradiction").await?.is_empty());
    Ok(())
}

/// What the checker approves is what was proposed of, and it may be decided still.
async fn changes(stack: &Stack) -> Result<()> {
    let owner = stack.postgres.connect("postgres").await?;
    let items = stack.open("Payout").await?;
    let failed = proposal(&items[0], "Failed");
    let id = items[0]["itemId"].as_str().unwrap_or("-");
    let set = |what: &str| format!("UPDATE gateway.payouts SET {what} WHERE payout_id = '{id}'");

    let decision = stack.proposed(MAKER, &failed).await?;
    owner.batch_execute(&set("signed_at = now()")).await?;
    let (status, problem) = stack.judge((0, CHECKER), "approve", &decision).await?;
    ensure!(status == 409 && problem.to_string().contains("too young"), "{problem}");
    ensure!(stack.proposed(MAKER, &failed).await.is_err());
    owner.batch_execute(&set("signed_at = now() - interval '1 hour'")).await?;
    ensure!(stack.proposed(MAKER, &failed).await? == decision, "it stays");

    // The network says that it works on it.
    owner.batch_execute(&set("network_id = 'N-1'")).await?;
    let (status, problem) = stack.judge((0, CHECKER), "approve", &decision).await?;
    ensure!(status == 409 && problem.to_string().contains("Lapsed"), "{problem}");
    owner.batch_execute(&set("network_id = NULL")).await?;
    ensure!(stack.judge((0, CHECKER), "approve", &decision).await?.0 == 409, "its end stays");
    ensure!(stack.open("Payout").await?.len() == items.len(), "nothing came of it");
    Ok(())
}

/// What the ledger does not give back is listed, and is nobody's to decide.
async fn unreversed(stack: &Stack) -> Result<()> {
    let items = stack.open("Reversal").await?;
    ensure!(items.len() == 2, "{items:?}");
    let body = proposal(&items[0], "Failed");
    let (status, problem) = stack.admin(MAKER, "POST", "/admin/v1/decisions", &body).await?;
    ensure!((status, &problem["field"]) == (400, &json!("outcome")), "{problem}");
    // One page after the other.
    let path =
        format!("/admin/v1/open-items?kind=Reversal&after={}", items[0]["itemId"].as_str().unwrap_or("-"));
    let (_, rest) = stack.admin(MAKER, "GET", &path, &Value::Null).await?;
    ensure!(rest["items"] == json!([items[1]]), "{rest}");
    let path = "/admin/v1/open-items?kind=Reversal&olderThanSeconds=86400";
    ensure!(stack.admin(MAKER, "GET", path, &Value::Null).await?.1["items"] == json!([]));
    Ok(())
}
