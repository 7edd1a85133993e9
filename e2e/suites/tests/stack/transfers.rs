//! Refunds that are transferred to an account, as the payment's network gives nothing back
//! (any more).

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use futures_util::future::join_all;
use payplane_client::call::App;
use payplane_client::message::PaymentStatus::{Failed, Processing, Succeeded};
use payplane_client::message::{Refund, RefundRequest};
use serde_json::json;

use crate::harness::{DATE, Stack, code, refund};
use crate::networks::{NETWORKS, SOON, stack_with};
use crate::payout_stage::{ACCOUNT, NAME, bank};
use crate::payouts::nobody_is_named;

const SALE: i64 = 1_000_000;
const ORDER: &str = "bankdirect-sold";
/// The bank's window of 70 s, and the resolver's longest interval.
const WINDOW_CLOSED: Duration = Duration::from_secs(140);

fn transfer(number: &str, amount_minor: i64) -> RefundRequest {
    RefundRequest {
        payee_account: Some(ACCOUNT.into()),
        payee_name: Some(NAME.into()),
        ..refund(number, amount_minor)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_network_does_not_give_back_is_transferred_once() -> Result<()> {
    let mut stack = bank().await?;
    let app = stack.app("app1", 8)?;
    ensure!(app.pay(&NETWORKS[3].order("sold", SALE)).await?.status == Succeeded);
    let of = |request: RefundRequest| {
        let app = &app;
        async move { app.refund(DATE, ORDER, &request).await }
    };

    // The network is asked, as long as it gives back and has not said no.
    let by_network = of(refund("network", 1_000)).await?;
    gives_back(&mut stack, 400).await?;
    let named = of(transfer("named", 1_000)).await?;
    assert_eq!((named.status, named.payee_account), (Succeeded, None), "nobody is paid but the payer");
    let declined = of(transfer("no", 19_001)).await?;
    assert_eq!((declined.status, declined.payee_account), (Failed, None));
    assert_eq!(of(refund("again", 1_000)).await?.payee_account, None, "whom else to pay is not known");
    let after = of(transfer("after-no", 2_000)).await?;
    assert_eq!((after.status, after.payee_account.as_deref()), (Succeeded, Some("****0018")));

    gives_back(&mut stack, 0).await?;
    assert_eq!(of(refund("network", 1_000)).await?, by_network, "what was accepted stays accepted");
    assert_eq!(code(of(refund("nobody", 1_000)).await), "InvalidField", "payeeAccount is required");
    assert_eq!(code(app.refund_of(DATE, ORDER, "nobody").await), "NotFound", "nothing was stored");
    let half = RefundRequest { payee_account: Some(ACCOUNT.into()), ..refund("half", 1_000) };
    assert_eq!(code(of(half).await), "InvalidField", "payeeName is required");

    // Asked for first, because its end takes longest.
    assert_eq!(of(transfer("lost", 19_003)).await?.status, Processing, "unknown is never failed");
    let paid = of(transfer("paid", 10_000)).await?;
    assert_eq!((paid.status, paid.payee_account.as_deref()), (Succeeded, Some("****0018")));
    crate::vault::lock(&stack).await?;
    assert_eq!(of(transfer("paid", 10_000)).await?, paid, "a replay is the same refund");
    assert_eq!(code(of(transfer("no-vault", 10_000)).await), "Overloaded", "what is new waits for the vault");
    crate::vault::unlock(&stack).await?;
    assert_eq!(code(of(transfer("paid", 10_001)).await), "OrderConflict");
    let other = RefundRequest { payee_name: Some("Li Lei".into()), ..transfer("paid", 10_000) };
    assert_eq!(code(of(other).await), "OrderConflict", "another payee");
    assert_eq!(code(of(refund("paid", 10_000)).await), "OrderConflict", "no payee");
    let refused = of(transfer("refused", 19_001)).await?;
    assert_eq!((refused.status, refused.failure_code.as_deref()), (Failed, Some("Declined")));
    for (number, amount) in [("later", 19_002), ("unanswered", 19_004)] {
        assert_eq!(of(transfer(number, amount)).await?.status, Processing, "{number}");
        assert_eq!(refunded(&app, number, SOON).await?.status, Succeeded, "{number} had an effect");
    }
    killed_on_the_way(&mut stack).await?;
    at_once(&stack).await?;
    let lost = refunded(&app, "lost", WINDOW_CLOSED).await?;
    assert_eq!((lost.status, lost.failure_code.as_deref()), (Failed, Some("NotReceived")));
    agree(&stack).await?;
    nobody_is_named(&stack).await
}

async fn gives_back(stack: &mut Stack, days: u16) -> Result<()> {
    let mut channel = NETWORKS[3].channel(stack)?;
    channel["refundDays"] = json!(days);
    stack.configure_channels(&[channel])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(())
}

/// One network took the payment, another one pays out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_network_took_is_transferred_by_who_may_take_it() -> Result<()> {
    let mut stack = stack_with(&NETWORKS[2..]).await?;
    let app = stack.app("app1", 4)?;
    let [other, bank] = [&NETWORKS[2], &NETWORKS[3]];
    let sold = other.pay(&app, "sold", SALE, SOON).await?;
    ensure!(sold.status == Succeeded, "{sold:?}");
    let of = |request: RefundRequest| {
        let (app, order) = (&app, &sold.order_number);
        async move { app.refund(DATE, order, &request).await }
    };
    let mut channel = other.channel(&stack)?;
    channel["refundDays"] = json!(0);
    let (gives_nothing, mut pays_out) = (channel, bank.channel(&stack)?);
    stack.configure_channels(&[gives_nothing.clone(), pays_out.clone()])?;
    tokio::time::sleep(Duration::from_secs(1)).await;

    let paid = of(transfer("paid", 10_000)).await?;
    assert_eq!((paid.status, paid.channel.as_deref()), (Succeeded, Some("bankdirect")));
    assert_eq!(of(transfer("lost", 19_003)).await?.status, Processing);
    let open = stack.admin("operator", "GET", "/control/v1/channels/bankdirect/open", &json!({})).await?;
    assert_eq!(open.1["pending"], 1, "the channel is not done with: {open:?}");
    let touched = stack.postgres.connect("postgres").await?;
    let touched = touched.execute("UPDATE gateway.refunds SET checks = checks + 1", &[]).await?;
    assert_eq!(touched, 0, "who does not know transfers, as the release before, does not get at them");
    let unpaid = app.pay(&other.order("unpaid", 30_000)).await?;
    let over = app.refund(DATE, &unpaid.order_number, &transfer("r", 1)).await;
    assert_eq!(code(over), "RefundExceedsPayment", "it was not paid");
    who_may(&stack, &app, &sold.order_number).await?;

    // Debited, and the channel is taken out before it is sent.
    stack.ledger.signal("STOP")?;
    let (late, order) = (stack.app("app1", 1)?, sold.order_number.clone());
    let asked = tokio::spawn(async move { late.refund(DATE, &order, &transfer("given-up", 10_000)).await });
    let stored = "SELECT count(*) FROM gateway.refunds WHERE refund_number = 'given-up'";
    let started = Instant::now();
    while stack.count(stored).await? == 0 {
        ensure!(started.elapsed() < SOON, "it was not stored");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pays_out["enabled"] = json!(false);
    stack.configure_channels(&[gives_nothing, pays_out])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    stack.ledger.signal("CONT")?;
    let given_up = asked.await??;
    assert_eq!(
        (given_up.status, given_up.failure_code.as_deref()),
        (Failed, Some("ChannelUnavailable")),
        "{given_up:?}"
    );
    assert_eq!(code(of(transfer("nowhere", 1_000)).await), "NoChannel");
    assert_eq!(of(transfer("paid", 10_000)).await?, paid, "what was accepted stays accepted");
    let started = Instant::now();
    while app.refund_of(DATE, &sold.order_number, "lost").await?.status == Processing {
        ensure!(started.elapsed() < WINDOW_CLOSED, "it has no end");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let (fee, sold_in_all) = (stack.balance("income:fee").await?, self::sold(&stack).await?);
    assert_eq!(stack.balance("transit:refunds").await?, 10_000);
    assert_eq!(stack.balance("merchant:M1:pending").await?, sold_in_all - fee - 10_000);
    let receivable = ["unionpay", "bankdirect"].map(|channel| format!("channel:{channel}:receivable"));
    let owed = stack.balance(&receivable[0]).await? + stack.balance(&receivable[1]).await?;
    assert_eq!(owed, -sold_in_all, "no network gave anything back");
    booked_once(&stack).await?;
    nobody_is_named(&stack).await
}

/// What was paid in all.
async fn sold(stack: &Stack) -> Result<i64> {
    let sql = "SELECT sum(amount_minor)::int8 FROM gateway.orders WHERE status = 'Succeeded'";
    stack.count(sql).await
}

/// Who may not take a merchant's money transfers none of it.
async fn who_may(stack: &Stack, app: &App, order: &str) -> Result<()> {
    let asks = |number: &'static str| async move { app.refund(DATE, order, &transfer(number, 1_000)).await };
    let merchant = |verb: &str| {
        let path = format!("/admin/v1/merchants/M1/{verb}");
        async move { stack.admin("admin-client", "POST", &path, &json!({})).await }
    };
    ensure!(merchant("suspend").await?.0 == 200);
    assert_eq!(code(asks("suspended").await), "MerchantNotActive");
    ensure!(merchant("resume").await?.0 == 200);
    stack.bind("app1", "*").await?;
    stack.admin("admin-client", "DELETE", "/admin/v1/apps/app1/merchants/M1", &json!(null)).await?;
    assert_eq!(code(asks("unbound").await), "NotBound");
    stack.bind("app1", "M1").await?;
    Ok(())
}

/// One debit each, and one reversal of what failed after it; one event each.
async fn booked_once(stack: &Stack) -> Result<()> {
    let misbooked = "SELECT count(*) FROM gateway.refunds r
         LEFT JOIN LATERAL (SELECT count(*) FILTER (WHERE key = 'refund:' || refund_id) AS debits,
                count(*) FILTER (WHERE key = 'refund-reversal:' || refund_id) AS reversals
            FROM ledger.transactions WHERE key LIKE '%' || refund_id) b ON true
         LEFT JOIN LATERAL (SELECT count(*) AS told FROM gateway.outbox
            WHERE subject_id = refund_id AND kind = 'refund.' || lower(status)) e ON true
         WHERE debits <> (ledger_transaction_id IS NOT NULL)::int OR told <> 1
            OR reversals <> (status = 'Failed' AND ledger_transaction_id IS NOT NULL)::int";
    ensure!(stack.count(misbooked).await? == 0, "a refund is booked or told otherwise than once");
    Ok(())
}

/// The bank has paid, and the gateway that asked it is gone.
async fn killed_on_the_way(stack: &mut Stack) -> Result<()> {
    let app = stack.app_of(0, 1)?;
    let asked = tokio::spawn(async move { app.refund(DATE, ORDER, &transfer("orphan", 19_004)).await });
    let sent = "SELECT count(*) FROM gateway.refunds WHERE refund_number = 'orphan' AND status = 'Sending'";
    let started = Instant::now();
    while stack.count(sent).await? == 0 {
        ensure!(started.elapsed() < SOON, "it was not sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    stack.gateways[0].kill_9()?;
    let _ = asked.await?;
    stack.gateways[0].restart().await?;
    ensure!(refunded(&stack.app_of(1, 1)?, "orphan", SOON).await?.status == Succeeded);
    Ok(())
}

/// One refund many times at once, and more than was paid.
async fn at_once(stack: &Stack) -> Result<()> {
    let app = Arc::new(stack.app("app1", 25)?);
    let asked = (0..30).map(|_| {
        let app = app.clone();
        tokio::spawn(async move { app.refund(DATE, ORDER, &transfer("thirty", 12_345)).await })
    });
    let mut ids = std::collections::BTreeSet::new();
    for answer in join_all(asked.collect::<Vec<_>>()).await {
        ids.insert(answer??.refund_id);
    }
    assert_eq!(ids.len(), 1, "one refund");
    assert_eq!(refunded(&app, "thirty", SOON).await?.status, Succeeded);
    let over = app.refund(DATE, ORDER, &transfer("over", SALE)).await;
    assert_eq!(code(over), "RefundExceedsPayment");
    Ok(())
}

/// Asks until the refund has ended.
async fn refunded(app: &App, number: &str, max: Duration) -> Result<Refund> {
    let started = Instant::now();
    loop {
        let last = app.refund_of(DATE, ORDER, number).await;
        match last {
            Ok(refund) if refund.status != Processing => return Ok(refund),
            _ if started.elapsed() > max => bail!("{number} has not ended: {last:?}"),
            _ => tokio::time::sleep(Duration::from_millis(300)).await,
        }
    }
}

/// Every refund has ended; what the bank paid out, what it gave back, refunds and books agree.
async fn agree(stack: &Stack) -> Result<()> {
    let sum = |of: &str| {
        format!("SELECT coalesce(sum(amount_minor), 0)::int8 FROM gateway.refunds WHERE status {of}")
    };
    ensure!(stack.count(&sum("NOT IN ('Succeeded', 'Failed')")).await? == 0, "one is open");
    let transferred = stack.count(&sum("= 'Succeeded' AND payee_masked IS NOT NULL")).await?;
    let given_back = stack.count(&sum("= 'Succeeded' AND payee_masked IS NULL")).await?;
    let record = stack.record().await?;
    let of_bank = |kind: &str| {
        let entries = record.iter().filter(|entry| entry["kind"] == kind && entry["state"] == "Succeeded");
        entries.map(|entry| entry["amountMinor"].as_i64().context("an amount")).sum::<Result<i64>>()
    };
    let (paid_out, refunded) = (of_bank("Payout")?, of_bank("Refund")?);
    let (transit, receivable) =
        (stack.balance("transit:refunds").await?, stack.balance("channel:bankdirect:receivable").await?);
    assert_eq!((transferred, transferred), (paid_out, transit), "refunds, bank, books");
    let sold = sold(stack).await?;
    assert_eq!((given_back, given_back), (refunded, sold + receivable), "refunds, bank, books");
    let fee = stack.balance("income:fee").await?;
    let left = stack.balance("merchant:M1:pending").await?;
    assert_eq!(left, sold - fee - transferred - given_back, "what the merchant has left");
    let orders =
        "SELECT sum(refunded_minor)::int8 FROM gateway.orders WHERE refund_reserved_minor = refunded_minor";
    assert_eq!(stack.count(orders).await?, transferred + given_back, "the orders' sums");
    booked_once(stack).await
}
