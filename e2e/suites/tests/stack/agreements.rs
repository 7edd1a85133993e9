//! Agreements with a bank, from the app's request to a payment by one and its end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::agreement_stage::{
    ACCOUNT, Answer, BANK, CARD, CODE, HOLDER, PHONE, Side, WRONG, account, agreement, at_bank, confirm, end,
    paid, pay, status, until,
};
use crate::harness::{Stack, code};
use crate::networks::SOON;
use crate::secrets::nowhere;

/// Agreements that are made until enough answers to commits are lost.
const ROUNDS_MAX: i64 = 40;
/// The bank's window of 70 s, and the resolver's longest interval.
const WINDOW_CLOSED: Duration = Duration::from_secs(140);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agreement_is_signed_confirmed_paid_by_and_ended() -> Result<()> {
    life(&BANK).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_card_is_opened_paid_by_and_closed() -> Result<()> {
    life(&CARD).await
}

async fn life(side: &Side) -> Result<()> {
    let stack = side.stack().await?;
    let app = stack.app("app1", 4)?;
    let signed = side.sign(&app, "a1", ACCOUNT).await?;
    assert_eq!((status(&signed), &signed["accountNumber"]), ("AwaitingCode", &json!("****0018")));
    assert_eq!(side.sign(&app, "a1", ACCOUNT).await?, signed, "the same again");
    assert_eq!(code(side.sign(&app, "a1", &account("0026")).await), "OrderConflict");
    // Its owner is kept where he is named again with the code, and lies sealed alone.
    kept(&stack, i64::from(!side.knows_unconfirmed)).await?;
    nowhere(&stack, &[ACCOUNT, HOLDER, PHONE]).await?;
    let early = side.by_agreement("early", 10_000, "a1");
    assert_eq!(code(pay(&app, &early).await), "AgreementNotActive");

    assert_eq!(code(confirm(&app, "a1", WRONG).await), "WrongCode");
    assert_eq!(agreement(&app, "a1").await?, signed, "nothing changed");
    let active = confirm(&app, "a1", CODE).await?;
    assert_eq!(status(&active), "Active");
    for again in [CODE, WRONG] {
        assert_eq!(confirm(&app, "a1", again).await?, active, "it needs none any more");
    }

    let first = side.by_agreement("first", 12_800, "a1");
    let paid = paid(&app, &first).await?;
    assert_eq!((status(&paid), &paid["channel"]), ("Succeeded", &json!(side.network.name)));
    refused(&stack, side).await?;
    if side.network.record == "UnionPay" {
        refused_by_cards(&app, side).await?;
    }

    let ended = end(&app, "a1").await?;
    assert_eq!(status(&ended), "Ended");
    assert_eq!(end(&app, "a1").await?, ended, "to end twice is to end");
    kept(&stack, 0).await?;
    assert_eq!(confirm(&app, "a1", CODE).await?, ended);
    assert_eq!(code(pay(&app, &early).await), "AgreementNotActive");
    assert_eq!(pay(&app, &first).await?, paid, "what was accepted stays accepted");
    let (at_bank, by_token) = at_bank(&stack, &ended).await?;
    ensure!(at_bank["details"]["endedAt"].is_string() && by_token.len() == 1, "{at_bank} {by_token:?}");
    told(&stack, &["agreement.active", "agreement.ended"]).await?;
    let token = at_bank["details"]["token"].as_str().unwrap_or("?");
    nowhere(&stack, &[ACCOUNT, HOLDER, PHONE, CODE, WRONG, token]).await?;
    side.check(&stack).await
}

/// Each once, of the only agreement.
async fn told(stack: &Stack, kinds: &[&str]) -> Result<()> {
    let all = stack.count("SELECT count(*) FROM gateway.outbox WHERE kind LIKE 'agreement.%'").await?;
    ensure!(all == i64::try_from(kinds.len())?, "{all} events");
    for kind in kinds {
        let sql = format!("SELECT count(*) FROM gateway.outbox WHERE kind = '{kind}'");
        ensure!(stack.count(&sql).await? == 1, "{kind}");
    }
    Ok(())
}

/// So many of an agreement's owners and tokens are kept, at once or a moment later.
async fn kept(stack: &Stack, wanted: i64) -> Result<()> {
    let sql = "SELECT count(*) FROM vault.secrets WHERE kind = 'Token'";
    for _ in 0..100 {
        if stack.count(sql).await? == wanted {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("{} are kept, not {wanted}", stack.count(sql).await?)
}

/// A card is paid by its agreement alone, and agreed on by a code alone.
async fn refused_by_cards(app: &payplane_client::call::App, side: &Side) -> Result<()> {
    let mut asked = side.request("refused", ACCOUNT);
    asked["phoneNumber"] = Value::Null;
    let refused: Answer = app.send("/v1/agreements", &asked).await;
    let why = refused.as_ref().err().map(ToString::to_string).unwrap_or_default();
    ensure!(why.contains("NoChannel") && why.contains("PhoneNumberMissing"), "{refused:?}");
    let mut payment = side.by_agreement("refused", 10_000, "a1");
    payment["agreement"] = Value::Null;
    assert_eq!(code(pay(app, &payment).await), "InvalidField");
    payment["payerId"] = "6235240000020837057".into();
    assert_eq!(code(pay(app, &payment).await), "InvalidField", "nobody names a token himself");
    Ok(())
}

/// Who may not pay by `a1`, and what no channel takes.
async fn refused(stack: &Stack, side: &Side) -> Result<()> {
    let (app, other) = (stack.app("app1", 1)?, stack.app("app2", 1)?);
    stack.register_merchant("M2", &json!({"displayName": "Other"})).await?;
    stack.bind("app1", "M2").await?;
    let with = |name: &str, value: Value| {
        let mut payment = side.by_agreement("refused", 10_000, "a1");
        payment[name] = value;
        payment
    };
    for (payment, why) in [
        (with("payerId", json!("6222")), "InvalidField"),
        (with("payerId", json!("agreement.00")), "InvalidField"),
        (with("merchantId", json!("M2")), "UnknownAgreement"),
        (with("method", json!("card")), "UnknownAgreement"),
        (with("agreement", json!({"date": "2026-11-24", "number": "a2"})), "UnknownAgreement"),
        (with("agreement", json!({"date": "2026-11-24"})), "InvalidField"),
        (with("agreement", json!("a1")), "InvalidField"),
        (with("currency", json!("USD")), "NoChannel"),
    ] {
        assert_eq!(code(pay(&app, &payment).await), why, "{payment}");
    }
    assert_eq!(
        code(pay(&other, &with("agreement", json!({"date": "2026-11-24", "number": "a1"}))).await),
        "UnknownAgreement"
    );
    assert_eq!(code(agreement(&other, "a1").await), "NotFound", "another app's");
    assert_eq!(code(end(&other, "a1").await), "NotFound");
    assert_eq!(code(confirm(&other, "a1", CODE).await), "NotFound");
    for (change, value, why) in [
        ("method", "card", "NoChannel"),
        ("merchantId", "M9", "UnknownMerchant"),
        ("accountNumber", "62 22", "InvalidField"),
        ("accountName", "", "InvalidField"),
    ] {
        let mut asked = side.request("refused", ACCOUNT);
        asked[change] = value.into();
        let answer: Answer = app.send("/v1/agreements", &asked).await;
        assert_eq!(code(answer), why, "{change}");
    }
    for bad in ["123", "12345678901234567", "12 45", ""] {
        assert_eq!(code(confirm(&app, "a1", bad).await), "InvalidField", "{bad}");
    }
    stack.admin("admin-client", "DELETE", "/admin/v1/apps/app2/merchants/M1", &Value::Null).await?;
    assert_eq!(code(side.sign(&other, "b1", ACCOUNT).await), "NotBound");
    stack.bind("app2", "M1").await?;
    let merchant = |verb: &str| {
        let path = format!("/admin/v1/merchants/M1/{verb}");
        async move { stack.admin("admin-client", "POST", &path, &json!({})).await }
    };
    ensure!(merchant("suspend").await?.0 == 200);
    assert_eq!(code(side.sign(&app, "a9", ACCOUNT).await), "MerchantNotActive");
    assert_eq!(code(pay(&app, &side.by_agreement("suspended", 100, "a1")).await), "MerchantNotActive");
    ensure!(merchant("resume").await?.0 == 200);
    assert_eq!(code(agreement(&app, "refused").await), "NotFound", "nothing was stored");
    Ok(())
}

/// Answers that are lost, forged or none, with an effect and without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_of_an_agreement_is_asked_for_and_never_guessed() -> Result<()> {
    never_guessed(&BANK).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_of_a_card_is_asked_for_and_never_guessed() -> Result<()> {
    never_guessed(&CARD).await
}

async fn never_guessed(side: &'static Side) -> Result<()> {
    let stack = side.stack().await?;
    let app = Arc::new(stack.app("app1", 8)?);
    let signing =
        [("never", "9003"), ("broken", "9005"), ("lost", "9004"), ("forged", "9006"), ("given-up", "9003")];
    let asked = signing.map(|(number, fault)| {
        let app = app.clone();
        async move { side.sign(&app, number, &account(fault)).await }
    });
    for (answer, (number, _)) in join_all(asked).await.into_iter().zip(signing) {
        assert_eq!(status(&answer?), "Processing", "{number}: unknown is never failed");
    }
    if side.knows_unconfirmed {
        assert_eq!(code(confirm(&app, "never", CODE).await), "StateConflict");
    }
    let declined = side.sign(&app, "declined", &account("9001")).await?;
    assert_eq!((status(&declined), &declined["failureCode"]), ("Failed", &json!(side.unknown)));
    for number in ["lost", "forged"] {
        until(&app, number, "AwaitingCode", SOON).await?;
        assert_eq!(status(&confirm(&app, number, CODE).await?), "Active", "{number}");
    }
    // Whether it ever comes, the bank signs it no more.
    assert_eq!(status(&end(&app, "given-up").await?), "Ended");

    codes(&app, side).await?;
    ends((&stack, side), &app).await?;
    for number in ["never", "broken"] {
        if side.knows_unconfirmed {
            let never = until(&app, number, "Failed", WINDOW_CLOSED).await?;
            assert_eq!(never["failureCode"], "NotReceived", "{number}");
        } else {
            // Its owner may have been sent a code: who brings one is told that it opened nothing.
            until(&app, number, "AwaitingCode", SOON).await?;
            assert_eq!(status(&confirm(&app, number, CODE).await?), "AwaitingCode", "{number}");
            assert_eq!(status(&end(&app, number).await?), "Ended", "{number}");
        }
    }
    let open = "SELECT count(*) FROM gateway.agreements WHERE status NOT IN ('Active', 'Ended', 'Failed')";
    assert_eq!(stack.count(open).await?, 0);
    let active = "SELECT count(*) FROM gateway.agreements WHERE status = 'Active'";
    kept(&stack, stack.count(active).await?).await?;
    // Codes can be guessed, and strangers be sent messages, so often a day and account.
    let mut asked = 0;
    let refused = loop {
        let signed = side.sign(&app, &format!("often{asked}"), ACCOUNT).await;
        match signed {
            Ok(signed) if asked < 20 => assert_eq!(
                status(&end(&app, signed["agreementNumber"].as_str().unwrap_or_default()).await?),
                "Ended"
            ),
            other => break code(other),
        }
        asked += 1;
    };
    assert_eq!(refused, "TooManyAgreements");
    let all: Vec<_> = ["9001", "9003", "9004", "9005", "9006", "9023", "9024"].map(account).into();
    let all = all.iter().map(String::as_str).chain([ACCOUNT, PHONE, "80QX9003", "80QX9004", "90QZ9004"]);
    nowhere(&stack, &all.collect::<Vec<_>>()).await
}

/// Codes whose answer is lost, that are wrong, and that come many at once.
async fn codes(app: &Arc<payplane_client::call::App>, side: &'static Side) -> Result<()> {
    side.sign(app, "codes", ACCOUNT).await?;
    for unsure in ["80QX9003", "90QZ9004"] {
        assert_eq!(status(&confirm(app, "codes", unsure).await?), "AwaitingCode", "{unsure}");
    }
    assert_eq!(status(&confirm(app, "codes", "80QX9004").await?), "Active", "a query says it");

    side.sign(app, "wrong", ACCOUNT).await?;
    for _ in 0..4 {
        assert_eq!(code(confirm(app, "wrong", WRONG).await), "WrongCode");
    }
    let failed = confirm(app, "wrong", WRONG).await?;
    assert_eq!((status(&failed), &failed["failureCode"]), ("Failed", &json!(side.guessed)));
    assert_eq!(confirm(app, "wrong", CODE).await?, failed, "also with the right one");

    let many = |times: usize| (0..times).map(|_| app.clone());
    let same = many(30).map(|app| async move { side.sign(&app, "many", ACCOUNT).await });
    let mut ids = BTreeSet::new();
    for answer in join_all(same).await {
        ids.insert(answer?["agreementId"].to_string());
    }
    assert_eq!(ids.len(), 1, "one agreement");
    until(app, "many", "AwaitingCode", SOON).await?;
    for answer in join_all(many(20).map(|app| async move { confirm(&app, "many", CODE).await })).await {
        assert_eq!(status(&answer?), "Active");
    }
    Ok(())
}

/// Ends whose answer is lost, of one that is not confirmed, and by its owner at the bank.
async fn ends((stack, side): (&Stack, &Side), app: &payplane_client::call::App) -> Result<()> {
    side.sign(app, "unconfirmed", ACCOUNT).await?;
    assert_eq!(status(&end(app, "unconfirmed").await?), "Ended");
    assert_eq!(status(&confirm(app, "unconfirmed", CODE).await?), "Ended", "too late");
    // A bank goes by what it is for, UnionPay by the card.
    for (number, fault, card) in [("end-lost", "9003", "9023"), ("end-untold", "9004", "9024")] {
        let mut asked = side.request(number, &account(card));
        asked["description"] = format!("rent {fault}").into();
        let _: Value = app.send("/v1/agreements", &asked).await?;
        assert_eq!(status(&confirm(app, number, CODE).await?), "Active");
        // Nobody says that it ended: unless the resolver is faster than the answer.
        let told = end(app, number).await?;
        ensure!(["Ending", "Ended"].contains(&status(&told)), "{told}");
        assert_eq!(code(pay(app, &side.by_agreement(number, 100, number)).await), "AgreementNotActive");
        let ended = until(app, number, "Ended", SOON).await?;
        ensure!(at_bank(stack, &ended).await?.0["details"]["endedAt"].is_string(), "{number}");
    }
    Ok(())
}

/// One event each, whoever commits it how often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agreements_commit_whose_answer_is_lost_is_asked_for_again() -> Result<()> {
    lost_commits(&BANK).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cards_commit_whose_answer_is_lost_is_asked_for_again() -> Result<()> {
    lost_commits(&CARD).await
}

async fn lost_commits(side: &Side) -> Result<()> {
    use crate::lost_answers::{Lost, lose, seen, standby};
    let stack = side.stack().await?;
    let app = stack.app("app1", 1)?;
    let postgres = stack.postgres.connect("postgres").await?;
    standby(&postgres, "nobody").await?;
    let lost: Lost = std::sync::Mutex::default();
    let commits =
        || -> u32 { seen(&lost).iter().filter(|(query, _)| query.contains("COMMIT")).map(|(_, n)| *n).sum() };
    let mut rounds = 0;
    tokio::select! {
        stopped = lose(&postgres, &lost) => stopped?,
        done = async {
            // How many are met depends on what else waits for the standby.
            for round in 0..ROUNDS_MAX {
                if round >= 12 && commits() >= 20 {
                    break;
                }
                rounds += 1;
                let number = format!("r{round}");
                side.active(&app, &number).await?;
                let paid = paid(&app, &side.by_agreement(&number, 10_000 + round, &number)).await?;
                ensure!(status(&paid) == "Succeeded", "{paid}");
                let ended = end(&app, &number).await?;
                ensure!(status(&ended) == "Ended", "{ended}");
            }
            anyhow::Ok(())
        } => done?,
    }
    standby(&postgres, "").await?;
    ensure!(commits() >= 20, "too few commits were lost: {lost:?}");
    for kind in ["agreement.active", "agreement.ended"] {
        let sql = format!("SELECT count(*) FROM gateway.outbox WHERE kind = '{kind}'");
        assert_eq!(stack.count(&sql).await?, rounds, "{kind}");
    }
    side.check(&stack).await
}
