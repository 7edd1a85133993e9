//! A policy wants to hear from the payer: no network is called before he has brought the code that
//! the bank's sender brought him, and it is called once then.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, ensure};
use futures_util::future::join_all;
use payplane_client::call::App;
use payplane_client::message::PaymentStatus::{Failed, Processing, Succeeded};
use payplane_client::message::{PayRequest, Payment};
use serde_json::{Value, json};

use crate::agreement_stage::{BANK, CODE, active, confirm_payment, pay, status};
use crate::code_sender::{CodeSender, FREE, proof, stack_that_asks};
use crate::harness::{DATE, Stack, code, ended, payment};
use crate::limits::configured;
use crate::networks::SOON;
use crate::risk::{in_force, passed, policy};
use crate::secrets::nowhere;
use crate::step_up::once_told;

const PAYER: &str = "wx-QXZ-payer-7";

/// A payment that wants a proof.
pub(crate) fn large(number: &str) -> PayRequest {
    PayRequest { payer_id: Some(PAYER.to_owned()), ..payment(number, FREE + 1) }
}

pub(crate) fn awaits_code(paid: &Payment) -> bool {
    paid.status == Processing && paid.action == Some(json!({"type": "OneTimeCode"}))
}

async fn asked(app: &App, number: &str) -> Result<()> {
    let paid = app.pay(&large(number)).await?;
    ensure!(awaits_code(&paid), "{paid:?}");
    Ok(())
}

/// Another code than this one.
pub(crate) fn wrong(right: &str) -> String {
    let last = if right.ends_with('7') { "8" } else { "7" };
    format!("{}{last}", &right[..right.len() - 1])
}

pub(crate) async fn seen(stack: &Stack, order_id: &str) -> Result<Value> {
    let path = format!("/admin/v1/payments/{order_id}");
    let (status, seen) = stack.admin("admin-client", "GET", &path, &Value::Null).await?;
    ensure!(status == 200, "{seen}");
    Ok(seen)
}

/// How many requests the network has had for payments of this amount.
async fn sent(stack: &Stack, number: &str) -> Result<i64> {
    let sql = format!(
        "SELECT count(*) FROM gateway.attempts JOIN gateway.orders USING (order_id) WHERE order_number = '{number}'"
    );
    stack.count(&sql).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_goes_on_once_its_payer_has_proven_himself() -> Result<()> {
    let (mut stack, sender) = stack_that_asks("Block").await?;
    let app = Arc::new(stack.app("app1", 8)?);
    asked(&app, "one").await?;
    ensure!(stack.record().await?.is_empty(), "the network was called");
    told(&stack, &sender, "one").await?;
    let right = sender.code("one")?;
    assert_eq!(code(confirm_payment(&app, "one", &wrong(&right)).await), "WrongCode");
    ensure!(stack.record().await?.is_empty(), "the network was called");
    assert_eq!(app.pay(&large("one")).await?.status, Processing, "the same again asks nobody again");
    let paid = confirm_payment(&app, "one", &right).await?;
    ensure!(status(&paid) == "Succeeded" && paid.get("action").is_none(), "{paid}");
    for again in [right.clone(), wrong(&right)] {
        assert_eq!(confirm_payment(&app, "one", &again).await?, paid, "it needs none any more");
    }
    assert_eq!((sender.asked("one").len(), sent(&stack, "one").await?), (1, 1));
    let known = seen(&stack, paid["orderId"].as_str().unwrap_or_default()).await?;
    let (proof, line) = (&known["stepUp"], &known["risk"][0]);
    assert_eq!((&proof["status"], &proof["wrongCodes"]), (&json!("Confirmed"), &json!(1)), "{known}");
    assert_eq!((&line["policy"], &line["verdict"]), (&json!("proof"), &json!("StepUp")), "{known}");
    ensure!(known["risk"].as_array().map(Vec::len) == Some(1), "assessed again, noted once: {known}");

    // Who pays little is asked nothing.
    assert_eq!(app.pay(&payment("little", FREE)).await?.status, Succeeded);
    guesses(&stack, &sender, &app).await?;
    races(&stack, &sender, &app).await?;

    asked(&app, "closed").await?;
    assert_eq!(app.close(DATE, "closed").await?.failure_code.as_deref(), Some("Closed"));
    let late = confirm_payment(&app, "closed", &sender.code("closed")?).await?;
    assert_eq!((status(&late), &late["failureCode"]), ("Failed", &json!("Closed")));
    assert_eq!(sent(&stack, "closed").await?, 0);
    let state = "SELECT count(*) FROM gateway.step_ups JOIN gateway.orders USING (order_id)
        WHERE order_number = 'closed' AND step_ups.status = 'Failed'";
    assert_eq!(stack.count(state).await?, 1);

    bounded(&sender, &app).await?;
    blocked_between(&mut stack, &sender, &app).await?;
    shadowed_and_counted(&mut stack, &sender, &app).await?;
    told_nowhere(&stack, &sender, &["one", "wrong", "many", "closed"]).await?;
    ended_once(&stack).await?;
    assert_eq!(sender.forged.load(Ordering::SeqCst), 0);
    stack.check_agreement().await
}

/// Nobody is sent codes without end, whoever asks in his name.
async fn bounded(sender: &CodeSender, app: &App) -> Result<()> {
    let of = |number: &str| PayRequest { payer_id: Some("wx-victim".to_owned()), ..large(number) };
    for number in 0..20 {
        let paid = app.pay(&of(&format!("flood{number}"))).await?;
        ensure!(awaits_code(&paid), "{number}: {paid:?}");
    }
    let paid = app.pay(&of("flood20")).await?;
    assert_eq!((paid.status, paid.failure_code.as_deref()), (Failed, Some("StepUpFailed")));
    assert_eq!(sender.asked("flood20").len(), 0, "one more message");
    for number in 0..20 {
        app.close(DATE, &format!("flood{number}")).await?;
    }
    Ok(())
}

/// What the sender is told, and that it is signed.
async fn told(stack: &Stack, sender: &CodeSender, number: &str) -> Result<()> {
    let asked = sender.asked(number);
    let told = asked.first().context("nothing came")?;
    let expected = [
        ("orderDate", json!(DATE)),
        ("appId", json!("app1")),
        ("merchantId", json!("M1")),
        ("amountMinor", json!(FREE + 1)),
        ("currency", json!("CNY")),
        ("payerId", json!(PAYER)),
        ("agreement", Value::Null),
    ];
    for (field, value) in expected {
        assert_eq!(told[field], value, "{told}");
    }
    let (code, id) = (told["code"].as_str().unwrap_or_default(), told["codeId"].as_str().unwrap_or_default());
    ensure!(code.len() == 6 && code.bytes().all(|b| b.is_ascii_digit()) && id.ends_with("-1"), "{told}");
    let until: jiff::Timestamp = told["expiresAt"].as_str().unwrap_or_default().parse()?;
    let left = until.duration_since(jiff::Timestamp::now()).as_secs();
    ensure!((200..=300).contains(&left), "{left} s");
    let kept = "SELECT count(*) FROM vault.secrets WHERE kind = 'Payer'";
    assert_eq!(stack.count(kept).await?, 1, "who pays is in the vault");
    Ok(())
}

async fn guesses(stack: &Stack, sender: &CodeSender, app: &App) -> Result<()> {
    asked(app, "wrong").await?;
    let right = sender.code("wrong")?;
    for _ in 0..4 {
        assert_eq!(code(confirm_payment(app, "wrong", &wrong(&right)).await), "WrongCode");
    }
    let failed = confirm_payment(app, "wrong", &wrong(&right)).await?;
    assert_eq!((status(&failed), &failed["failureCode"]), ("Failed", &json!("StepUpFailed")), "{failed}");
    assert_eq!(confirm_payment(app, "wrong", &right).await?, failed, "also with the right one");
    assert_eq!(sent(stack, "wrong").await?, 0);

    // A code that has run out is good for nothing, whoever sees that first.
    let postgres = stack.postgres.connect("postgres").await?;
    for number in ["stale", "unread"] {
        asked(app, number).await?;
        let runs_out = "UPDATE gateway.step_ups SET code_expires_at = now() FROM gateway.orders o
             WHERE o.order_id = step_ups.order_id AND order_number = $1";
        assert_eq!(postgres.execute(runs_out, &[&number]).await?, 1);
    }
    let stale = confirm_payment(app, "stale", &sender.code("stale")?).await?;
    assert_eq!(stale["failureCode"], "StepUpFailed", "{stale}");
    let due = "UPDATE gateway.orders SET next_check_at = now() WHERE order_number = 'unread'";
    postgres.execute(due, &[]).await?;
    assert_eq!(ended(app, "unread", SOON).await?.failure_code.as_deref(), Some("StepUpFailed"));

    // Many at once guess no more than five times, at whichever replica.
    asked(app, "guessed").await?;
    let right = sender.code("guessed")?;
    let guess = wrong(&right);
    let many = (0..20).map(|_| async { code(confirm_payment(app, "guessed", &guess).await) });
    let wrongs = join_all(many).await.iter().filter(|code| *code == "WrongCode").count();
    assert_eq!(wrongs, 4);
    assert_eq!(ended(app, "guessed", SOON).await?.failure_code.as_deref(), Some("StepUpFailed"));
    let tries = "SELECT max(tries)::int8 FROM gateway.step_ups";
    assert_eq!(stack.count(tries).await?, 5);
    Ok(())
}

/// Of two who bring the right code at once, one carries the payment on.
async fn races(stack: &Stack, sender: &CodeSender, app: &Arc<App>) -> Result<()> {
    for n in 0..5 {
        let number = format!("many-{n}");
        asked(app, &number).await?;
        let right = sender.code(&number)?;
        let many = (0..8).map(|_| async { confirm_payment(app, &number, &right).await });
        for answer in join_all(many).await {
            ensure!(["Succeeded", "Processing"].contains(&status(&answer?)));
        }
        assert_eq!(ended(app, &number, SOON).await?.status, Succeeded);
        assert_eq!(sent(stack, &number).await?, 1, "one attempt");
    }
    asked(app, "many").await?;
    // Closed and confirmed at once: paid once, or not at all.
    let right = sender.code("many")?;
    let (confirmed, closed) = tokio::join!(confirm_payment(app, "many", &right), app.close(DATE, "many"));
    ensure!(confirmed.is_ok() && closed.is_ok(), "{confirmed:?} {closed:?}");
    let end = ended(app, "many", SOON).await?;
    let times = i64::from(end.status == Succeeded);
    ensure!(sent(stack, "many").await? == times || end.status == Failed, "{end:?}");
    Ok(())
}

/// What blocks by the time of the code blocks.
async fn blocked_between(stack: &mut Stack, sender: &CodeSender, app: &App) -> Result<()> {
    asked(app, "between").await?;
    let rule = json!({"currency": "CNY", "amountMinorMax": FREE});
    in_force(stack, json!([proof("Block"), policy("hard", "Amount", &rule)])).await?;
    let blocked = confirm_payment(app, "between", &sender.code("between")?).await?;
    assert_eq!((status(&blocked), &blocked["failureCode"]), ("Failed", &json!("RiskBlocked")), "{blocked}");
    let known = seen(stack, blocked["orderId"].as_str().unwrap_or_default()).await?;
    assert_eq!(known["stepUp"]["status"], "Confirmed", "{known}");
    let verdict = |policy: &str| {
        let lines = known["risk"].as_array().into_iter().flatten();
        lines.filter(|line| line["policy"] == policy).map(|line| line["verdict"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((verdict("proof"), verdict("hard")), (vec![json!("StepUp")], vec![json!("Block")]), "{known}");
    assert_eq!(sent(stack, "between").await?, 0);
    // And at first sight nobody is asked for what is blocked anyway.
    ensure!(!passed(&app.pay(&large("both")).await?) && sender.asked("both").is_empty());
    in_force(stack, json!([proof("Block")])).await
}

/// A shadow asks nobody; what was proven is counted as whatever else was sent.
async fn shadowed_and_counted(stack: &mut Stack, sender: &CodeSender, app: &App) -> Result<()> {
    let mut shadow = proof("Block");
    shadow["mode"] = json!("Shadow");
    in_force(stack, json!([shadow])).await?;
    let paid = app.pay(&large("shadow")).await?;
    ensure!(paid.status == Succeeded && sender.asked("shadow").is_empty(), "{paid:?}");
    let known = seen(stack, &paid.order_id.to_string()).await?;
    let line = (&known["risk"][0]["mode"], &known["risk"][0]["verdict"]);
    assert_eq!((line, &known["stepUp"]), ((&json!("Shadow"), &json!("StepUp")), &Value::Null), "{known}");

    let rule = json!({"per": "Payer", "windowSeconds": 3_600, "paymentsMax": 1});
    let mut often = policy("often", "Velocity", &rule);
    often["action"] = json!("StepUp");
    in_force(stack, json!([often])).await?;
    assert_eq!(app.pay(&large("first")).await?.status, Succeeded);
    for number in ["second", "third"] {
        asked(app, number).await?;
        let paid = confirm_payment(app, number, &sender.code(number)?).await?;
        assert_eq!(status(&paid), "Succeeded", "{paid}");
    }
    let seen = "SELECT (facts ->> 'paymentsBefore')::int8 FROM gateway.risk_journal
        JOIN gateway.orders USING (order_id) WHERE order_number = 'third'";
    assert_eq!(stack.count(seen).await?, 2, "the second was counted, once");
    in_force(stack, json!([proof("Block")])).await
}

/// Neither codes nor who pays stand anywhere.
async fn told_nowhere(stack: &Stack, sender: &CodeSender, orders: &[&str]) -> Result<()> {
    nowhere(stack, &[PAYER]).await?;
    let codes: Vec<_> = orders.iter().map(|order| sender.code(order)).collect::<Result<_>>()?;
    let wrapped: Vec<_> = codes.iter().map(|code| format!("\"{code}\"")).collect();
    nowhere(stack, &wrapped.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    for gateway in 0..2 {
        let log = std::fs::read_to_string(stack.folder.path().join(format!("gateway-{gateway}.log")))?;
        for code in &codes {
            ensure!(!stands_in(&log, code), "a code stands in the log of gateway {gateway}");
        }
    }
    Ok(())
}

/// As a number of its own, and not the fraction of a second.
fn stands_in(text: &str, code: &str) -> bool {
    text.match_indices(code).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + code.len()..].chars().next();
        let is_apart = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric());
        is_apart(before) && before != Some('.') && is_apart(after)
    })
}

/// And none of them has left a step-up open.
async fn ended_once(stack: &Stack) -> Result<()> {
    once_told(stack).await?;
    let left = "SELECT count(*) FROM gateway.step_ups s JOIN gateway.orders o USING (order_id)
         WHERE o.status <> 'Processing' AND s.status IN ('Asked', 'Sending', 'AwaitingCode')";
    ensure!(stack.count(left).await? == 0, "a step-up outlives its order");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agreement_is_asked_for_and_its_own_code_is_a_proof() -> Result<()> {
    let mut stack = BANK.stack().await?;
    let sender = CodeSender::start(&stack).await?;
    (stack.step_up, stack.risk) = (sender.config(), json!([proof("Block")]));
    let channels = [BANK.network.channel(&stack)?];
    configured(&mut stack, &channels).await?;
    let app = stack.app("app1", 4)?;
    active(&app, "a1").await?;

    // It is named to the sender, and its account's owner is not.
    let paid = pay(&app, &BANK.by_agreement("by", FREE + 1, "a1")).await?;
    ensure!(status(&paid) == "Processing" && paid["action"]["type"] == "OneTimeCode", "{paid}");
    let told = sender.asked("by").pop().context("nothing came")?;
    assert_eq!((&told["agreement"]["number"], told.get("payerId")), (&json!("a1"), None), "{told}");
    assert_eq!(status(&confirm_payment(&app, "by", &sender.code("by")?).await?), "Succeeded");

    // The bank may ask for a code of its own after that.
    let paid = pay(&app, &BANK.by_agreement("twice", 19_016, "a1")).await?;
    assert_eq!(status(&paid), "Processing");
    let paid = confirm_payment(&app, "twice", &sender.code("twice")?).await?;
    ensure!(status(&paid) == "Processing" && paid["action"]["type"] == "OneTimeCode", "{paid}");
    assert_eq!(status(&confirm_payment(&app, "twice", CODE).await?), "Succeeded");

    // One that ends before its code comes begins nothing.
    let paid = pay(&app, &BANK.by_agreement("over", FREE + 1, "a1")).await?;
    assert_eq!(status(&paid), "Processing");
    assert_eq!(status(&crate::agreement_stage::end(&app, "a1").await?), "Ended");
    let over = confirm_payment(&app, "over", &sender.code("over")?).await?;
    assert_eq!((status(&over), &over["failureCode"]), ("Failed", &json!("AgreementEnded")), "{over}");

    // The code that makes an agreement proves the payment that was asked for with it.
    let mut signing = BANK.by_agreement("signed", FREE + 1, "a2");
    signing["agreement"] = BANK.owned(signing["agreement"].take(), crate::agreement_stage::ACCOUNT);
    let paid = pay(&app, &signing).await?;
    ensure!(paid["action"]["type"] == "OneTimeCode" && sender.asked("signed").is_empty(), "{paid}");
    confirm_payment(&app, "signed", CODE).await?;
    let paid = ended(&app, "signed", SOON).await?;
    ensure!(paid.status == Succeeded && sender.asked("signed").is_empty(), "{paid:?}");
    let known = seen(&stack, &paid.order_id.to_string()).await?;
    assert_eq!(known["risk"][0]["facts"]["provenBy"], "AgreementCode", "{known}");
    ended_once(&stack).await?;
    BANK.check(&stack).await
}
