//! What an app reads of its merchants' books: balances and statements, of no others, and
//! nothing that the ledger does not have.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use payplane_client::call::App;
use payplane_client::message::PaymentStatus::Succeeded;
use serde_json::{Value, json};

use crate::harness::{DATE, Stack, code, payment, refund};

const STATEMENT: &str = "/v1/merchants/M1/statement?account=pending&currency=CNY";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_reads_its_merchants_balance_and_statement() -> Result<()> {
    let mut stack = Stack::start().await?;
    let app = stack.app("app1", 1)?;
    assert_eq!(pending(&app).await?, 0);
    for (number, amount) in [("b1", 10_000), ("b2", 2_500)] {
        assert_eq!(app.pay(&payment(number, amount)).await?.status, Succeeded);
    }
    app.refund(DATE, "b1", &refund("r1", 3_000)).await?;
    // The fee is 60 basis points.
    assert_eq!(pending(&app).await?, 9_940 + 2_485 - 3_000, "at once, sealed or not");
    let (changes, next) = whole_statement(&app, "", 3).await?;
    assert_eq!(changes, [9_940, 2_485, -3_000]);
    assert_eq!(app.pay(&payment("b3", 1_000)).await?.status, Succeeded);
    let (changes, _) = whole_statement(&app, &next, 1).await?;
    assert_eq!(changes, [994], "a page goes on where the one before ended");
    let booked = "SELECT sum(CASE e.side WHEN 'credit' THEN e.amount_minor ELSE -e.amount_minor END)::bigint
        FROM ledger.entries e JOIN ledger.accounts a USING (account_id)
        WHERE a.code = 'merchant:M1:pending' AND a.currency = 'CNY'";
    assert_eq!(pending(&app).await?, stack.count(booked).await?);
    refusals(&stack, &app).await?;
    let state = |verb: &str| format!("/admin/v1/apps/app1/{verb}");
    stack.admin("admin-client", "POST", &state("suspend"), &json!({})).await?;
    assert_eq!(code(app.read(STATEMENT).await), "NotFound", "a suspended app reads nothing of the books");
    stack.admin("admin-client", "POST", &state("resume"), &json!({})).await?;
    stack.ledger.kill_9()?;
    assert_eq!(code(app.read(STATEMENT).await), "Overloaded");
    stack.ledger.restart().await?;
    assert_eq!(whole_statement(&app, "", 4).await?.0.len(), 4);
    Ok(())
}

async fn refusals(stack: &Stack, app: &App) -> Result<()> {
    for (query, field) in [
        ("statement", "account"),
        ("statement?account=other&currency=CNY", "account"),
        ("statement?account=pending", "currency"),
        ("statement?account=pending&currency=EUR", "currency"),
        ("statement?account=pending&currency=CNY&limit=0", "limit"),
        ("statement?account=pending&currency=CNY&limit=501", "limit"),
        ("statement?account=pending&currency=CNY&after=x", "after"),
        ("statement?account=pending&currency=CNY&currency=CNY", "currency"),
        ("statement?account=pending&currency=CNY&page=2", "page"),
        ("balance?currency=CNY", "currency"),
    ] {
        let refused = app.read(&format!("/v1/merchants/M1/{query}")).await;
        let Err(payplane_client::call::CallError::Refused { status: 400, problem }) = refused else {
            bail!("{query}: {refused:?}");
        };
        assert_eq!(problem.field.as_deref(), Some(field), "{query}");
    }
    let refused = app.read(&format!("/v1/payments/{DATE}/b1?x=1")).await;
    assert_eq!(code(refused), "InvalidField", "nor has another request parameters that it does not know");
    stack.register_merchant("M2", &json!({"displayName": "Another's"})).await?;
    // It may pay to all of them; it reads of those that are named.
    stack.bind("app1", "*").await?;
    for merchant in ["M2", "M9", "m1", "M%2F1"] {
        for what in ["balance", "statement?account=pending&currency=CNY"] {
            let refused = app.read(&format!("/v1/merchants/{merchant}/{what}")).await;
            assert_eq!(code(refused), "NotFound", "{merchant} {what}");
        }
    }
    // Accounts that nothing was ever booked on.
    let empty = app.read("/v1/merchants/M1/statement?account=debt&currency=USD").await?;
    assert_eq!((&empty["entries"], &empty["more"]), (&json!([]), &json!(false)));
    Ok(())
}

async fn pending(app: &App) -> Result<i64> {
    let told = app.read("/v1/merchants/M1/balance").await?;
    let lines: Vec<_> = told["balances"].as_array().into_iter().flatten().collect();
    let currencies: Vec<_> = lines.iter().map(|line| &line["currency"]).collect();
    assert!(currencies.contains(&&json!("CNY")) && currencies.contains(&&json!("USD")), "{told}");
    let line = lines.iter().find(|line| line["currency"] == "CNY").map_or(&Value::Null, |line| *line);
    for account in ["available", "frozen", "reserve", "debt"] {
        assert_eq!(line[format!("{account}Minor")], 0, "{told}");
    }
    Ok(line["pendingMinor"].as_i64().unwrap_or(-1))
}

/// What was added by each entry behind `after`, page by page, once so many are sealed; and
/// where the next one begins.
async fn whole_statement(app: &App, after: &str, count: usize) -> Result<(Vec<i64>, String)> {
    let started = Instant::now();
    loop {
        let (mut changes, mut next) = (vec![], after.to_owned());
        loop {
            let page = app.read(&format!("{STATEMENT}&limit=1&after={next}")).await?;
            let entries = page["entries"].as_array().into_iter().flatten();
            changes.extend(entries.filter_map(|entry| entry["changeMinor"].as_i64()));
            next = page["next"].as_str().unwrap_or_default().to_owned();
            if page["more"] == false {
                break;
            }
        }
        if changes.len() >= count {
            return Ok((changes, next));
        }
        if started.elapsed() > Duration::from_secs(10) {
            bail!("{count} entries are not sealed: {changes:?}");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
