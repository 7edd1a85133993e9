//! No code can be sent: the payment fails, waits or goes on, as the policy says; and a sender who is
//! slow keeps nobody waiting whose payment needs none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use payplane_client::call::App;
use payplane_client::message::PaymentStatus::{Failed, Processing, Succeeded};
use payplane_client::message::{PayRequest, Payment};
use serde_json::{Value, json};

use crate::agreement_stage::{confirm_payment, status};
use crate::code_sender::{AWAY, CANNOT, CodeSender, FREE, SILENT, TAKES, proof, stack_that_asks};
use crate::harness::{Stack, code, ended, payment};
use crate::networks::SOON;
use crate::risk::{in_force, policy};
use crate::risk_step_ups::{awaits_code, large, seen};

/// It was not sent, and says why.
async fn unsent(stack: &Stack, paid: &Payment, why: &str) -> Result<()> {
    ensure!((paid.status, paid.failure_code.as_deref()) == (Failed, Some("StepUpFailed")), "{paid:?}");
    let known = seen(stack, &paid.order_id.to_string()).await?;
    assert_eq!(
        (&known["stepUp"]["status"], &known["stepUp"]["why"]),
        (&json!("Failed"), &json!(why)),
        "{known}"
    );
    ensure!(known["attempts"] == json!([]), "{known}");
    Ok(())
}

fn expiring(number: &str) -> PayRequest {
    PayRequest { expires_in_seconds: Some(60), ..large(number) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_whose_code_cannot_be_sent_ends_as_its_policy_says() -> Result<()> {
    let (mut stack, sender) = stack_that_asks("Block").await?;
    let app = Arc::new(stack.app("app1", 8)?);

    // They expire while the others are tried: one waits for its payer, one for a sender.
    ensure!(awaits_code(&app.pay(&expiring("late")).await?));
    in_force(&mut stack, json!([proof("Hold")])).await?;
    sender.answers(AWAY);
    let held = app.pay(&expiring("held")).await?;
    ensure!(held.status == Processing && held.action.is_none(), "{held:?}");
    let began = Instant::now();
    assert_eq!(code(confirm_payment(&app, "held", &wrong_for(&sender, "held")?).await), "WrongCode");
    waits(&mut stack, &sender, &app).await?;

    in_force(&mut stack, json!([proof("Block")])).await?;
    sender.answers(AWAY);
    unsent(&stack, &app.pay(&large("away")).await?, "SenderAway").await?;
    let asked = sender.asked("away");
    ensure!(asked.len() == 2 && asked[0] == asked[1], "asked twice for the same code: {asked:?}");
    sender.answers(CANNOT);
    unsent(&stack, &app.pay(&large("unreachable")).await?, "Unreachable").await?;
    assert_eq!(sender.asked("unreachable").len(), 1);
    unsent(&stack, &app.pay(&payment("nobody", FREE + 1)).await?, "NoPayer").await?;
    in_force(&mut stack, json!([proof("Hold")])).await?;
    unsent(&stack, &app.pay(&payment("nobody-held", FREE + 1)).await?, "NoPayer").await?;
    goes_on(&mut stack, &sender, &app).await?;
    is_chosen_live(&mut stack, &sender, &app).await?;

    tokio::time::sleep(Duration::from_secs(62).saturating_sub(began.elapsed())).await;
    for number in ["late", "held"] {
        let late = ended(&app, number, SOON).await?;
        assert_eq!((late.status, late.failure_code.as_deref()), (Failed, Some("Closed")), "{number}");
    }
    forgotten(&stack).await?;
    stack.check_agreement().await
}

fn wrong_for(sender: &CodeSender, number: &str) -> Result<String> {
    Ok(crate::risk_step_ups::wrong(&sender.code(number)?))
}

/// The code is sent again once its sender is back; only the latest counts.
async fn waits(stack: &mut Stack, sender: &CodeSender, app: &App) -> Result<()> {
    let waits = app.pay(&large("waits")).await?;
    ensure!(waits.status == Processing && waits.action.is_none(), "{waits:?}");
    let first = sender.code("waits")?;
    sender.answers(TAKES);
    sender.is_asked("waits", 3).await?;
    let second = sender.code("waits")?;
    if first != second {
        assert_eq!(code(confirm_payment(app, "waits", &first).await), "WrongCode");
    }
    let paid = confirm_payment(app, "waits", &second).await?;
    ensure!(status(&paid) == "Succeeded", "{paid}");
    let known = seen(stack, &waits.order_id.to_string()).await?;
    assert_eq!(known["stepUp"]["codesMade"], 2, "{known}");
    Ok(())
}

/// A policy that lets it go on lets it, once, and what blocks still blocks.
async fn goes_on(stack: &mut Stack, sender: &CodeSender, app: &App) -> Result<()> {
    in_force(stack, json!([proof("Allow")])).await?;
    for (number, answer, why) in [("allowed", AWAY, "SenderAway"), ("allowed-2", CANNOT, "Unreachable")] {
        sender.answers(answer);
        let paid = app.pay(&large(number)).await?;
        ensure!(paid.status == Succeeded, "{paid:?}");
        let known = seen(stack, &paid.order_id.to_string()).await?;
        assert_eq!((&known["stepUp"]["status"], &known["stepUp"]["why"]), (&json!("Allowed"), &json!(why)));
        assert_eq!(known["attempts"].as_array().map(Vec::len), Some(1), "{known}");
    }
    assert_eq!(app.pay(&payment("allowed-nobody", FREE + 1)).await?.status, Succeeded);
    // The strictest of two counts.
    let mut strict = proof("Block");
    strict["name"] = json!("strict");
    in_force(stack, json!([proof("Allow"), strict])).await?;
    sender.answers(AWAY);
    unsent(stack, &app.pay(&large("strict")).await?, "SenderAway").await?;

    // What goes on without a proof is not rid of a stricter policy that wants one by then.
    let rule = json!({"per": "Payer", "windowSeconds": 3_600, "paymentsMax": 1});
    let mut often = policy("often", "Velocity", &rule);
    (often["action"], often["onError"]) = (json!("StepUp"), json!("Block"));
    in_force(stack, json!([proof("Allow"), often])).await?;
    sender.answers(SILENT);
    let (one, two) = (large("beside-1"), large("beside-2"));
    let (one, two) = tokio::join!(app.pay(&one), app.pay(&two));
    let mut ends = [one?, two?].map(|paid| (paid.status == Succeeded, paid.failure_code));
    ends.sort();
    assert_eq!(ends, [(false, Some("StepUpFailed".to_owned())), (true, None)]);
    sender.answers(TAKES);
    Ok(())
}

/// Another sender is called from the next code on.
async fn is_chosen_live(stack: &mut Stack, sender: &CodeSender, app: &App) -> Result<()> {
    let other = CodeSender::start(stack).await?;
    stack.step_up = other.config();
    in_force(stack, json!([proof("Block")])).await?;
    ensure!(awaits_code(&app.pay(&large("moved")).await?) && sender.asked("moved").is_empty());
    let paid = confirm_payment(app, "moved", &other.code("moved")?).await?;
    ensure!(status(&paid) == "Succeeded", "{paid}");
    stack.step_up = Value::Null;
    in_force(stack, json!([proof("Block")])).await?;
    unsent(stack, &app.pay(&large("without")).await?, "SenderAway").await?;
    stack.step_up = sender.config();
    in_force(stack, json!([proof("Block")])).await
}

/// Nobody who paid, or did not, is left in the vault.
async fn forgotten(stack: &Stack) -> Result<()> {
    let began = Instant::now();
    while stack.count("SELECT count(*) FROM vault.secrets WHERE kind = 'Payer'").await? > 0 {
        ensure!(began.elapsed() < SOON, "who pays is not forgotten");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_sender_keeps_nobody_waiting_who_needs_no_code() -> Result<()> {
    let (stack, sender) = stack_that_asks("Block").await?;
    let app = Arc::new(stack.app("app1", 220)?);
    sender.answers(SILENT);
    let many = (0..200).map(|n| {
        let app = app.clone();
        tokio::spawn(async move { app.pay(&large(&format!("silent-{n}"))).await })
    });
    let many: Vec<_> = many.collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    for n in 0..20 {
        assert_eq!(app.pay(&payment(&format!("plain-{n}"), FREE)).await?.status, Succeeded);
    }
    ensure!(began.elapsed() < Duration::from_secs(5), "20 payments took {:?}", began.elapsed());
    for paid in join_all(many).await {
        let paid = paid??;
        ensure!(paid.failure_code.as_deref() == Some("StepUpFailed"), "{paid:?}");
    }
    stack.check_agreement().await
}
