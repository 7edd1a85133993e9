//! Payouts, from the app's request to the bank and the books.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use payplane_client::call::App;
use payplane_client::message::PaymentStatus::{Failed, Processing, Succeeded};
use payplane_client::message::PayoutRequest;
use serde_json::{Value, json};

use crate::harness::{DATE, Stack, code, payment};
use crate::lost_answers::{Lost, lose, seen, standby};
use crate::networks::SOON;
use crate::payout_stage::{ACCOUNT, BANK, NAME, agree, bank, fund, paid_out, payout, sale};
use crate::secrets::nowhere;
use crate::vault::vault_has;

/// The bank's window of 70 s, and the resolver's longest interval.
const WINDOW_CLOSED: Duration = Duration::from_secs(140);
/// A notification comes before the resolver asks for what is under way.
const AT_ONCE: Duration = Duration::from_secs(6);
const FUNDS: [i64; 2] = [1_000_000, 10_000];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_moves_money_once_and_every_outcome_ends() -> Result<()> {
    let stack = bank().await?;
    let app = stack.app("app1", 8)?;
    fund(&stack, &sale("M1", FUNDS[0])).await?;

    // Asked for first, because their end takes longest: no effect, and no answer or an error.
    for (number, amount) in [("lost", 19_003), ("broken", 19_005)] {
        let unknown = app.pay_out(&payout(number, amount)).await?;
        assert_eq!(unknown.status, Processing, "{number}: unknown is never failed");
    }
    assert_eq!(stack.balance("merchant:M1:available").await?, FUNDS[0] - 19_003 - 19_005, "it is held");
    let open = stack.admin("operator", "GET", "/control/v1/channels/bankdirect/open", &json!({})).await?;
    assert_eq!(open.1["pending"], 2, "the channel is not done with: {open:?}");

    let paid = app.pay_out(&payout("paid", 10_000)).await?;
    assert_eq!((paid.status, paid.channel.as_str()), (Succeeded, "bankdirect"));
    assert_eq!(paid.payee_account, "****0018", "whose account it is, is told to nobody");
    assert!(paid.ledger_transaction_id.is_some() && paid.completed_at.is_some());
    assert_eq!(app.pay_out(&payout("paid", 10_000)).await?, paid, "a replay is the same payout");
    assert_eq!(code(app.pay_out(&payout("paid", 10_001)).await), "OrderConflict");
    let other = PayoutRequest { payee_account: "6228480402564890026".into(), ..payout("paid", 10_000) };
    assert_eq!(code(app.pay_out(&other).await), "OrderConflict", "another payee");

    let declined = app.pay_out(&payout("declined", 19_001)).await?;
    assert_eq!((declined.status, declined.failure_code.as_deref()), (Failed, Some("Declined")));
    assert_eq!(app.pay_out(&payout("slow", 19_007)).await?.status, Succeeded);
    assert_eq!(app.pay_out(&payout("later", 19_002)).await?.status, Processing);
    assert_eq!(paid_out(&app, "later", AT_ONCE).await?.status, Succeeded, "the bank told it");
    for (number, amount) in [("after", 19_004), ("forged", 19_006)] {
        assert_eq!(app.pay_out(&payout(number, amount)).await?.status, Processing, "{number}");
    }
    for number in ["after", "forged"] {
        assert_eq!(paid_out(&app, number, SOON).await?.status, Succeeded, "{number} had an effect");
    }

    refused(&stack, &app).await?;
    at_once(&stack).await?;
    for number in ["lost", "broken"] {
        let lost = paid_out(&app, number, WINDOW_CLOSED).await?;
        assert_eq!((lost.status, lost.failure_code.as_deref()), (Failed, Some("NotReceived")), "{number}");
    }
    agree(&stack, BANK, FUNDS.iter().sum()).await?;
    nobody_is_named(&stack).await
}

/// What is refused, and that nothing goes out for it.
async fn refused(stack: &Stack, app: &App) -> Result<()> {
    let with = |change: fn(&mut PayoutRequest)| {
        let mut request = payout("refused", 10_000);
        change(&mut request);
        request
    };
    for (request, refusal) in [
        (with(|r| r.amount_minor = 5_000_001), "NoChannel"),
        (with(|r| r.currency = "USD".into()), "NoChannel"),
        (with(|r| r.currency = "EUR".into()), "InvalidField"),
        (with(|r| r.payee_account = "62 28".into()), "InvalidField"),
        (with(|r| r.merchant_id = "M9".into()), "UnknownMerchant"),
    ] {
        assert_eq!(code(app.pay_out(&request).await), refusal);
    }
    assert_eq!(code(app.payout(DATE, "refused").await), "NotFound", "nothing was stored");

    // The books decide it, once and for all.
    let poor = payout("poor", 2_000_000);
    for _ in 0..2 {
        assert_eq!(code(app.pay_out(&poor).await), "InsufficientBalance");
    }
    let stored = app.payout(DATE, "poor").await?;
    assert_eq!((stored.status, stored.failure_code.as_deref()), (Failed, Some("InsufficientBalance")));
    let other = stack.app("app2", 1)?;
    assert_eq!(code(other.payout(DATE, "paid").await), "NotFound", "another app's");
    // Who may pay to everybody takes nobody's money.
    stack.admin("admin-client", "DELETE", "/admin/v1/apps/app2/merchants/M1", &Value::Null).await?;
    assert_eq!(code(other.pay_out(&payout("other", 10_000)).await), "NotBound");
    stack.bind("app2", "*").await?;
    assert_eq!(code(other.pay_out(&payout("other", 10_000)).await), "NotBound");
    stack.bind("app2", "M1").await?;

    // Who is suspended is paid nothing; what was accepted before stays accepted.
    let merchant = |verb: &str| {
        let path = format!("/admin/v1/merchants/M1/{verb}");
        async move { stack.admin("admin-client", "POST", &path, &json!({})).await }
    };
    ensure!(merchant("suspend").await?.0 == 200);
    assert_eq!(code(app.pay_out(&payout("suspended", 10_000)).await), "MerchantNotActive");
    assert_eq!(app.pay_out(&payout("paid", 10_000)).await?.status, Succeeded, "a replay");
    ensure!(merchant("resume").await?.0 == 200);
    Ok(())
}

/// The same payout many times at once, and more payouts at once than there is money for.
async fn at_once(stack: &Stack) -> Result<()> {
    let app = Arc::new(stack.app("app1", 25)?);
    let all = |requests: Vec<PayoutRequest>| {
        let asked = requests.into_iter().map(|request| {
            let app = app.clone();
            tokio::spawn(async move { app.pay_out(&request).await })
        });
        join_all(asked.collect::<Vec<_>>())
    };
    let same = all((0..50).map(|_| payout("fifty", 12_345)).collect()).await;
    let mut ids = std::collections::BTreeSet::new();
    for answer in same {
        ids.insert(answer??.payout_id);
    }
    assert_eq!(ids.len(), 1, "one payout");
    assert_eq!(paid_out(&app, "fifty", SOON).await?.status, Succeeded);

    stack.register_merchant("M2", &json!({"displayName": "Poor"})).await?;
    stack.bind("app1", "M2").await?;
    fund(stack, &sale("M2", FUNDS[1])).await?;
    let many = (0..10).map(|n| PayoutRequest { merchant_id: "M2".into(), ..payout(&format!("m{n}"), 2_500) });
    let many = all(many.collect()).await;
    let fit = many.iter().filter(|done| matches!(done, Ok(Ok(paid)) if paid.status == Succeeded)).count();
    assert_eq!(fit, 4, "four times 25.00 of 100.00: {many:?}");
    Ok(())
}

/// Nobody keeps whose account it was, not even sealed.
pub(crate) async fn nobody_is_named(stack: &Stack) -> Result<()> {
    vault_has(stack, "Payee", 0).await?;
    nowhere(stack, &[ACCOUNT, NAME]).await
}

/// The made-up network has payouts, too, and tells them to who asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_made_up_network_pays_out() -> Result<()> {
    let mut stack = Stack::start().await?;
    let mut channel = stack.channel("sim", 1, 60)?;
    channel["payouts"] = json!([{"currency": "CNY", "priority": 0, "perPayoutMinorMax": 1_000_000}]);
    stack.configure_channels(&[channel])?;
    fund(&stack, &payment("fund", 2 * FUNDS[0])).await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let app = stack.app("app1", 4)?;
    assert_eq!(app.pay_out(&payout("paid", 10_000)).await?.status, Succeeded);
    let declined = app.pay_out(&payout("declined", 19_001)).await?;
    assert_eq!((declined.status, declined.failure_code.as_deref()), (Failed, Some("Declined")));
    for (number, amount) in [("later", 19_002), ("after", 19_004), ("forged", 19_006)] {
        assert_eq!(app.pay_out(&payout(number, amount)).await?.status, Processing, "{number}");
        assert_eq!(paid_out(&app, number, SOON).await?.status, Succeeded, "{number} had an effect");
    }
    agree(&stack, ("sim", "Simulator"), FUNDS[0]).await
}

/// Changes of state that commit on their own, or with an event.
const HIT: [&str; 3] = ["SET status = 'Sending'", "SET status = 'Reversing'", "COMMIT"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payouts_commit_whose_answer_is_lost_is_asked_for_again() -> Result<()> {
    let stack = bank().await?;
    let app = stack.app("app1", 1)?;
    fund(&stack, &sale("M1", FUNDS[0])).await?;
    let postgres = stack.postgres.connect("postgres").await?;
    standby(&postgres, "nobody").await?;
    let lost: Lost = Mutex::default();
    let hit = || HIT.iter().all(|part| seen(&lost).keys().any(|query| query.contains(part)));
    tokio::select! {
        stopped = lose(&postgres, &lost) => stopped?,
        done = async {
            for round in 0..40 {
                if round >= 8 && hit() {
                    break;
                }
                let paid = app.pay_out(&payout(&format!("yes{round}"), 10_000 + round)).await?;
                assert_eq!(paid.status, Succeeded, "{round}");
                let kept = app.pay_out(&payout(&format!("no{round}"), 19_001)).await?;
                assert_eq!((kept.status, kept.failure_code.as_deref()), (Failed, Some("Declined")));
            }
            anyhow::Ok(())
        } => done?,
    }
    standby(&postgres, "").await?;
    ensure!(hit(), "not every statement of {HIT:?} was hit: {lost:?}");
    agree(&stack, BANK, FUNDS[0]).await
}

/// The admin API tells of a payout, and not whom it was for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_is_told_to_administrators() -> Result<()> {
    let stack = bank().await?;
    fund(&stack, &sale("M1", FUNDS[0])).await?;
    let paid = stack.app("app1", 1)?.pay_out(&payout("told", 10_000)).await?;
    let path = format!("/admin/v1/payouts/{}", paid.payout_id);
    let (status, told) = stack.admin("admin-client", "GET", &path, &Value::Null).await?;
    assert_eq!(
        (status, &told["appId"], &told["state"]),
        (200, &json!("app1"), &json!("Succeeded")),
        "{told}"
    );
    assert_eq!(told["payout"]["payeeAccount"], "****0018");
    assert!(told["networkId"].is_string() && !told.to_string().contains(NAME), "{told}");
    assert_eq!(stack.admin("admin-client", "GET", "/admin/v1/payouts/x", &Value::Null).await?.0, 404);
    Ok(())
}
