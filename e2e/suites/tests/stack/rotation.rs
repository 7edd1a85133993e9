//! A bank changes its data key: what a former one seals is sealed anew while payments go on, a
//! metric tells when it may go, and one that went too early is told of once, and can come back.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use payplane_client::call::App;
use payplane_client::key::Algorithm;
use payplane_client::message::PaymentStatus::Succeeded;
use payplane_client::sign::Signer;
use serde_json::{Value, json};

use crate::agreement_stage::{ACCOUNT, active, agreement, by_agreement, end, pay, sign, status};
use crate::harness::{Stack, code};
use crate::networks::{NETWORKS, SOON};
use crate::payout_stage::{BANK, agree, bank, fund, paid_out, payout, sale};
use crate::secrets::nowhere;
use crate::vault::{FORMER, comes_to};

const AGREEMENTS: usize = 5;
const FUNDS: i64 = 1_000_000;
/// What the resolver has tried for a while is tried again in between.
const WAITS: Duration = Duration::from_secs(60);
/// Several turns of the keeper.
const SEALED_ANEW: Duration = Duration::from_secs(40);
const SECRET: &str = "c2hvcCBzaG9wIHNob3Agc2hvcCBzaG9wIHNob3Agc2g=";

fn key(byte: u8) -> String {
    STANDARD.encode([byte; 32])
}

/// Each gateway starts anew with these keys, one after the other.
async fn restart(stack: &mut Stack, keys: &[&str]) -> Result<()> {
    std::fs::write(stack.folder.path().join("data.key"), keys.join("\n"))?;
    for gateway in &mut stack.gateways {
        gateway.restart().await?;
    }
    Ok(())
}

/// Sealed rows by key, as a gateway tells them; none before it has counted.
async fn sealed(stack: &Stack, gateway: usize) -> Result<Vec<(String, i64)>> {
    let text = stack.metrics(gateway).await?;
    let lines = text.lines().filter_map(|line| line.strip_prefix("payplane_gateway_sealed_rows{key=\""));
    lines
        .map(|line| {
            let (key, count) = line.split_once("\"} ").context("a count")?;
            Ok((key.to_owned(), count.parse()?))
        })
        .collect()
}

/// Waits until both gateways say that `key` seals so much.
async fn until_sealed(stack: &Stack, key: &str, rows: i64) -> Result<()> {
    let started = Instant::now();
    for gateway in 0..2 {
        loop {
            let told = sealed(stack, gateway).await?;
            if told.contains(&(key.to_owned(), rows)) {
                break;
            }
            if started.elapsed() > SEALED_ANEW {
                bail!("{key} does not come to {rows} at gateway {gateway}: {told:?}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    Ok(())
}

/// The key that seals something.
async fn in_use(stack: &Stack) -> Result<String> {
    let sql = "SELECT key_id FROM vault.secrets GROUP BY key_id";
    Ok(stack.postgres.connect("postgres").await?.query_one(sql, &[]).await?.get(0))
}

/// Every agreement is paid by, and the app with the shared secret pays.
async fn all_pay(stack: &Stack, app: &App, shared: &Signer, round: &str) -> Result<()> {
    for n in 0..AGREEMENTS {
        let paid = pay(app, &by_agreement(&format!("{round}-{n}"), 10_000, &format!("a{n}"))).await?;
        ensure!(status(&paid) == "Succeeded", "{round}: {paid}");
    }
    let body = serde_json::to_string(&NETWORKS[3].order(&format!("{round}-shared"), 10_000))?;
    let (code, answer) = stack.signed(shared, &body, |request| request).await?;
    ensure!(code == 201, "{round}: {answer}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_key_is_changed_while_payments_go_on() -> Result<()> {
    let mut stack = bank().await?;
    let app = stack.app("app1", 2)?;
    fund(&stack, &sale("M1", FUNDS)).await?;
    for n in 1..AGREEMENTS {
        active(&app, &format!("a{n}")).await?;
    }
    let former = stack.postgres.connect("gateway").await?;
    former.batch_execute(FORMER).await?;
    // Its token stays where the release before finds it.
    active(&app, "a0").await?;
    // So it does when the bank notifies of it, too.
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(former);
    let keys = json!([{"keyId": "k1", "algorithm": "hmac-sha256", "secret": SECRET}]);
    let body = json!({"displayName": "Shared", "keys": keys});
    ensure!(stack.admin("admin-client", "PUT", "/admin/v1/apps/shared", &body).await?.0 == 200);
    stack.bind("shared", "M1").await?;
    let path = stack.folder.path().join("shared.secret");
    std::fs::write(&path, SECRET)?;
    let shared = Signer::with("shared", "k1", &path, Algorithm::Hmac)?;
    let all = i64::try_from(AGREEMENTS)? + 1;

    let [old, new] = [std::fs::read_to_string(stack.folder.path().join("data.key"))?, key(7)];
    let old_id = in_use(&stack).await?;
    until_sealed(&stack, &old_id, all).await?;
    restart(&mut stack, &[old.trim(), &new]).await?;
    all_pay(&stack, &app, &shared, "known").await?;
    until_sealed(&stack, &old_id, all).await?;
    restart(&mut stack, &[&new, old.trim()]).await?;
    all_pay(&stack, &app, &shared, "current").await?;
    until_sealed(&stack, &old_id, 0).await?;
    let new_id = in_use(&stack).await?;
    until_sealed(&stack, &new_id, all).await?;
    ensure!(new_id != old_id);
    let payer = |answer: &Value| answer["payerId"].as_str().map(str::to_owned);
    let (first, anew) = (agreement(&app, "a1").await?, active(&app, "anew").await?);
    ensure!(
        payer(&first).is_some() && payer(&first) == payer(&anew),
        "lists and limits go on: {first} {anew}"
    );
    ensure!(status(&end(&app, "anew").await?) == "Ended");
    let noted = "SELECT count(*) FROM gateway.registry_audit WHERE kind = 'key' AND subject = 'data-key'";
    ensure!(stack.count(noted).await? > 0, "the audit says why a secret's digest changed");

    restart(&mut stack, &[&new]).await?;
    all_pay(&stack, &app, &shared, "alone").await?;
    too_early(&mut stack, (&app, &shared), (&new, &new_id)).await?;
    all_pay(&stack, &app, &shared, "back").await?;
    nowhere(&stack, &[ACCOUNT, SECRET]).await?;
    stack.check_channel("bankdirect", "BankDirect").await
}

/// A key that is needed is gone: nothing is lost, and who looks is told once, whatever is asked.
async fn too_early(
    stack: &mut Stack,
    (app, shared): (&App, &Signer),
    (needed, needed_id): (&str, &str),
) -> Result<()> {
    let logs = ["gateway-0.log", "gateway-1.log"].map(|log| stack.folder.path().join(log));
    let before: Vec<_> = logs.iter().map(|log| std::fs::read_to_string(log).map(|text| text.len())).collect();
    stack.ledger.signal("STOP")?;
    let other = stack.app_of(0, 1)?;
    let cut_off = tokio::spawn(async move { other.pay_out(&payout("keyless", 10_000)).await });
    let waits = "SELECT count(*) FROM gateway.payouts WHERE status = 'Requested'";
    comes_to(stack, waits, 1, SOON).await?;
    restart(stack, &[&key(9)]).await?;
    stack.ledger.signal("CONT")?;
    let _ = cut_off.await?;
    for n in 0..20 {
        let refused = pay(app, &by_agreement(&format!("gone-{n}"), 10_000, "a0")).await;
        assert_eq!(code(refused), "Internal");
        let body = serde_json::to_string(&NETWORKS[3].order(&format!("gone-{n}-shared"), 10_000))?;
        let (status, answer) = stack.signed(shared, &body, |request| request).await?;
        assert_eq!((status, answer["code"].as_str()), (401, Some("UnknownKey")), "{answer}");
    }
    // In the vault, the payout's among them; a0's token and the app's secret open with no key that is here.
    until_sealed(stack, needed_id, i64::try_from(AGREEMENTS)?).await?;
    let stored = "SELECT count(*) FROM gateway.orders WHERE order_number LIKE 'gone-%'";
    assert_eq!(stack.count(stored).await?, 0);
    ensure!(
        status(&sign(app, "later", ACCOUNT).await?) == "AwaitingCode",
        "what needs no former key goes on"
    );
    for (log, before) in logs.iter().zip(before) {
        let text = std::fs::read_to_string(log)?;
        let errors: Vec<_> = text[before?..].lines().filter(|line| line.contains("\"ERROR\"")).collect();
        assert_eq!(errors.len(), 3, "for the vault, the token beside it, the shared secret: {errors:#?}");
        ensure!(errors.iter().all(|line| line.contains("data-key")), "{errors:#?}");
    }
    let started = Instant::now();
    while !std::fs::read_to_string(&logs[0])?.contains("NoKey")
        && !std::fs::read_to_string(&logs[1])?.contains("NoKey")
    {
        ensure!(started.elapsed() < WAITS, "nobody has tried it");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(stack.count(waits).await?, 1, "it waits for its key");
    restart(stack, &[needed]).await?;
    assert_eq!(paid_out(app, "keyless", WAITS).await?.status, Succeeded);
    agree(stack, BANK, FUNDS).await
}
