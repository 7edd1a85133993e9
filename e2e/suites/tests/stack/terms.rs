//! What a merchant pays and may take: two persons agree on it, it holds from its day on for
//! every new order at every replica, and no limit of it is exceeded over whatever channel.

use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use jiff::civil::Date;
use payplane_client::message::PaymentStatus::Succeeded;
use payplane_client::message::{PayRequest, Payment};
use serde_json::{Value, json};

use crate::harness::{DATE, Stack, payment};
use crate::limits::{MISCOUNTED, configured, limited};

const PATH: &str = "/admin/v1/merchants/M1/terms";

/// Asks as an admin: the code of a refusal, or the state.
async fn said(stack: &Stack, who: &str, path: &str, body: &Value) -> Result<String> {
    let (status, answer) = stack.admin(who, "POST", &format!("{PATH}{path}"), body).await?;
    let said = answer["code"].as_str().or_else(|| answer["status"].as_str());
    said.map(str::to_owned).ok_or_else(|| anyhow::anyhow!("{status} {answer}"))
}

pub(crate) fn terms(since: Date, basis_points: i64, limits: &Value) -> Value {
    json!({"since": since, "fees": [{"currency": "CNY", "basisPoints": basis_points}], "limits": limits})
}

/// The tenant's day: that of the newest order.
pub(crate) async fn today(stack: &Stack) -> Result<Date> {
    let sql = "SELECT max(stored_date) FROM gateway.orders";
    Ok(stack.postgres.connect("postgres").await?.query_one(sql, &[]).await?.get(0))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_persons_agree_on_what_a_merchant_pays_and_may_take() -> Result<()> {
    let mut stack = Stack::start().await?;
    let app = stack.app("app1", 4)?;
    assert_eq!(app.pay(&payment("before", 10_000)).await?.fee_minor, Some(60));
    let (today, nothing) = (today(&stack).await?, json!({}));
    persons(&stack, today).await?;
    // From its answer on, at every replica; nothing of what was before.
    for gateway in 0..2 {
        let paid = stack.app_of(gateway, 1)?.pay(&payment(&format!("after{gateway}"), 10_000)).await?;
        assert_eq!(paid.fee_minor, Some(25));
    }
    assert_eq!(app.pay(&payment("before", 10_000)).await?.fee_minor, Some(60), "a replay");
    let (_, why) = stack
        .admin("admin-client", "GET", &decision(&app.pay(&payment("why", 10_000)).await?), &nothing)
        .await?;
    assert_eq!(why["attempts"][0]["decision"]["feeByTerms"], 3, "{why}");
    // Those of tomorrow are not in force; of two of today the later one is.
    agreed(&stack, &terms(today.tomorrow()?, 1, &json!([]))).await?;
    assert_eq!(app.pay(&payment("today", 10_000)).await?.fee_minor, Some(25));
    agreed(&stack, &json!({"since": today, "fees": [], "limits": []})).await?;
    assert_eq!(app.pay(&payment("none", 10_000)).await?.fee_minor, Some(60), "the Channel's again");
    agreed(&stack, &terms(today, 10, &json!([]))).await?;
    newer_config(&mut stack).await?;
    too_late(&stack, today).await?;
    written_once(&stack).await?;
    stack.check_agreement().await
}

fn decision(paid: &Payment) -> String {
    format!("/admin/v1/payments/{}", paid.order_id)
}

pub(crate) async fn agreed(stack: &Stack, body: &Value) -> Result<()> {
    let (_, made) = stack.admin("admin-client", "POST", PATH, body).await?;
    assert_eq!(
        said(stack, "admin-checker", &format!("/{}/approve", made["version"]), &json!({})).await?,
        "Approved",
        "{made}"
    );
    Ok(())
}

async fn persons(stack: &Stack, today: Date) -> Result<()> {
    let (client, checker, nothing) = ("admin-client", "admin-checker", json!({}));
    let body = terms(today, 99, &json!([]));
    assert_eq!(said(stack, client, "", &body).await?, "Proposed");
    assert_eq!(said(stack, checker, "", &body).await?, "StateConflict", "one waits");
    for (who, verb, answer) in [
        (client, "approve", "OwnProposal"),
        (client, "reject", "OwnProposal"),
        (checker, "withdraw", "OwnProposal"),
        (checker, "reject", "Rejected"),
        (checker, "reject", "Rejected"),
        (checker, "approve", "StateConflict"),
    ] {
        assert_eq!(said(stack, who, &format!("/1/{verb}"), &nothing).await?, answer, "{who} {verb}");
    }
    assert_eq!(said(stack, checker, "", &body).await?, "Proposed");
    assert_eq!(said(stack, checker, "/2/withdraw", &nothing).await?, "Withdrawn");
    assert_eq!(stack.app("app1", 1)?.pay(&payment("rejected", 10_000)).await?.fee_minor, Some(60));
    assert_eq!(said(stack, checker, "", &terms(today, 25, &json!([]))).await?, "Proposed");
    assert_eq!(said(stack, client, "/3/approve", &nothing).await?, "Approved");
    for (path, body, answer) in [
        ("", &terms(today.yesterday()?, 25, &json!([])), "InvalidField"),
        ("/9/approve", &nothing, "NotFound"),
        ("/x/approve", &nothing, "NotFound"),
    ] {
        assert_eq!(said(stack, checker, path, body).await?, answer, "{path}");
    }
    let (status, _) = stack.admin(client, "POST", "/admin/v1/merchants/M9/terms", &body).await?;
    assert_eq!(status, 404);
    let (_, all) = stack.admin(client, "GET", &format!("{PATH}?after=1"), &nothing).await?;
    let states: Vec<_> = all["terms"].as_array().into_iter().flatten().map(|one| &one["status"]).collect();
    assert_eq!(states, ["Withdrawn", "Approved"], "{all}");
    Ok(())
}

/// A fee that was agreed on stays when the rest is decided again by a newer config.
async fn newer_config(stack: &mut Stack) -> Result<()> {
    let app = stack.app("app1", 1)?;
    stack.gateways[0].signal("STOP")?;
    stack.configure(100, true)?;
    stack.postgres.connect("postgres").await?.batch_execute("SELECT ledger.raise_config_epoch(2)").await?;
    let paying = tokio::spawn(async move { app.pay(&payment("newer", 10_000)).await });
    tokio::time::sleep(Duration::from_secs(1)).await;
    stack.gateways[0].signal("CONT")?;
    let paid = paying.await??;
    assert_eq!((paid.status, paid.fee_minor, paid.config_epoch), (Succeeded, Some(10), Some(2)));
    Ok(())
}

/// What is approved holds for no day that has gone by.
async fn too_late(stack: &Stack, today: Date) -> Result<()> {
    let owner = stack.postgres.connect("postgres").await?;
    let sql = "INSERT INTO gateway.merchant_terms (merchant_id, version, since, terms, proposed_by)
         VALUES ('M1', 80, $1, '{\"fees\": [], \"limits\": []}', 'admin-client')";
    owner.execute(sql, &[&today.yesterday()?]).await?;
    assert_eq!(said(stack, "admin-checker", "/80/approve", &json!({})).await?, "StateConflict");
    assert_eq!(said(stack, "admin-checker", "/80/reject", &json!({})).await?, "Rejected");
    Ok(())
}

/// The database keeps it, whatever a gateway asks of it.
async fn written_once(stack: &Stack) -> Result<()> {
    let database = stack.postgres.connect("gateway").await?;
    for (sql, code) in [
        ("UPDATE gateway.merchant_terms SET terms = '{}'", "42501"),
        ("DELETE FROM gateway.merchant_terms", "42501"),
        ("UPDATE gateway.merchant_terms SET status = 'Withdrawn', ended_by = proposed_by", "23000"),
        (
            "INSERT INTO gateway.merchant_terms (merchant_id, version, since, terms, proposed_by) VALUES ('M1', 90, now(), '{\"fees\": [], \"limits\": []}', 'x');
             UPDATE gateway.merchant_terms SET status = 'Approved', ended_by = 'x', ended_at = now() WHERE version = 90",
            "23514",
        ),
    ] {
        let refused = database.batch_execute(sql).await.err();
        let refused = refused.as_ref().and_then(|error| error.code()).map(|state| state.code());
        assert_eq!(refused, Some(code), "{sql}");
    }
    let noted = "SELECT count(*) FROM gateway.registry_audit WHERE kind = 'terms' AND object_id = 'M1'";
    assert_eq!(stack.count(noted).await?, 2 * 7, "each that was proposed and judged");
    Ok(())
}

/// Of many at once over two channels and replicas as many succeed as the merchant may take.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_merchants_limit_holds_over_all_channels() -> Result<()> {
    const MAX: usize = 30;
    let mut stack = Stack::start().await?;
    let channels = [limited(&stack, "sim", 1, &json!({}))?, limited(&stack, "sim2", 2, &json!({}))?];
    configured(&mut stack, &channels).await?;
    stack.register_merchant("M2", &json!({"displayName": "Another shop"})).await?;
    stack.bind("app1", "M2").await?;
    let app = stack.app("app1", 32)?;
    app.pay(&payment("before", 10_000)).await?;
    let limits = json!([{"currency": "CNY", "perPaymentMinorMax": 20_000, "perDay": {"paymentsMax": MAX}}]);
    agreed(&stack, &terms(today(&stack).await?, 60, &limits)).await?;
    let numbers: Vec<_> = (0..4 * MAX).map(|n| payment(&format!("n{n}"), 10_000)).collect();
    let paid = join_all(numbers.iter().map(|request| app.pay(request))).await;
    let paid: Vec<Payment> = paid.into_iter().collect::<Result<_, _>>()?;
    let (done, refused): (Vec<_>, Vec<_>) = paid.iter().partition(|paid| paid.status == Succeeded);
    assert_eq!(done.len(), MAX);
    assert!(refused.iter().all(|p| p.failure_code.as_deref() == Some("LimitReached")), "{refused:?}");
    let (_, why) = stack.admin("admin-client", "GET", &decision(refused[0]), &json!({})).await?;
    assert_eq!(why["routing"]["limitsReached"][0]["limit"], "terms.perDay.paymentsMax", "{why}");
    // Another merchant's is not touched; one that is too large by itself takes nothing of it.
    let to_m2 = PayRequest { merchant_id: "M2".into(), ..payment("m2", 30_000) };
    assert_eq!(app.pay(&to_m2).await?.status, Succeeded);
    let large = app.pay(&payment("large", 20_001)).await?;
    assert_eq!(large.failure_code.as_deref(), Some("LimitReached"));
    let (_, why) = stack.admin("admin-client", "GET", &decision(&large), &json!({})).await?;
    assert_eq!(why["routing"]["limitsReached"][0]["limit"], "terms.perPaymentMinorMax", "{why}");
    ensure!(stack.count(MISCOUNTED).await? == 0, "the counters do not agree with the attempts");
    assert_eq!(app.payment(DATE, "large").await?.status, large.status);
    stack.check_agreement().await
}
