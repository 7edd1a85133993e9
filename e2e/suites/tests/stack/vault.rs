//! The vault: whose account it is stands there and nowhere else, as long as it is needed, whoever
//! dies, and while a release that knows no vault still runs beside this one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use payplane_client::message::PaymentStatus::{Failed, Succeeded};

use crate::agreement_stage::{ACCOUNT, CODE, active, by_agreement, confirm, end, pay, sign, status, until};
use crate::harness::{Stack, code};
use crate::networks::{NETWORKS, SOON};
use crate::payout_stage::{BANK, agree, bank, fund, paid_out, payout, sale};
use crate::payouts::nobody_is_named;

const FUNDS: i64 = 1_000_000;
/// The vault is waited for, for 3 s.
const SOON_REFUSED: Duration = Duration::from_secs(5);
/// The session of a gateway of a release that knows no vault.
pub(crate) const FORMER: &str = "SET application_name = 'gateway'";

/// What it comes to within a while.
pub(crate) async fn comes_to(stack: &Stack, sql: &str, wanted: i64, max: Duration) -> Result<()> {
    let started = Instant::now();
    loop {
        let found = stack.count(sql).await?;
        if found == wanted {
            return Ok(());
        }
        ensure!(started.elapsed() < max, "{found} instead of {wanted}: {sql}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The vault's login is locked out, and its sessions end.
pub(crate) async fn lock(stack: &Stack) -> Result<()> {
    let away = "ALTER ROLE payplane_vault NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE usename = 'payplane_vault'";
    Ok(stack.postgres.connect("postgres").await?.batch_execute(away).await?)
}

pub(crate) async fn unlock(stack: &Stack) -> Result<()> {
    let back = "ALTER ROLE payplane_vault LOGIN";
    Ok(stack.postgres.connect("postgres").await?.batch_execute(back).await?)
}

/// So many rows of a kind within a while: what a dead process left is swept.
pub(crate) async fn vault_has(stack: &Stack, kind: &str, rows: i64) -> Result<()> {
    let sql = format!("SELECT count(*) FROM vault.secrets WHERE kind = '{kind}'");
    comes_to(stack, &sql, rows, Duration::from_secs(20)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payee_is_in_the_vault_until_his_payout_is_signed() -> Result<()> {
    let mut stack = bank().await?;
    fund(&stack, &sale("M1", FUNDS)).await?;
    // The books are away: both wait, one of whose gateway dies.
    stack.ledger.signal("STOP")?;
    for number in ["waits", "old-place"] {
        let app = stack.app_of(0, 1)?;
        tokio::spawn(async move { app.pay_out(&payout(number, 10_000)).await });
    }
    comes_to(&stack, "SELECT count(*) FROM gateway.payouts WHERE status = 'Requested'", 2, SOON).await?;
    vault_has(&stack, "Payee", 2).await?;
    let elsewhere = "SELECT count(*) FROM gateway.payouts WHERE payee_sealed IS NOT NULL";
    assert_eq!(stack.count(elsewhere).await?, 0, "the vault alone has it");
    let postgres = stack.postgres.connect("postgres").await?;
    let touched = postgres.execute("UPDATE gateway.payouts SET checks = checks + 1", &[]).await?;
    assert_eq!(touched, 0, "a release that knows no vault does not get at it");

    stack.gateways[0].kill_9()?;
    rolled_back(&stack).await?;
    // As that release stores its own.
    let moved = "SET payplane.knows = 'vault';
         UPDATE gateway.payouts SET payee_sealed = s.sealed FROM vault.secrets s
            WHERE owner_id = payout_id AND payout_number = 'old-place';
         DELETE FROM vault.secrets WHERE owner_id =
            (SELECT payout_id FROM gateway.payouts WHERE payout_number = 'old-place')";
    postgres.batch_execute(moved).await?;
    // What nobody came back for: a row that belongs to nothing, young and old.
    let orphans = "INSERT INTO vault.secrets SELECT 'Payee', gen_random_uuid(), sealed, key_id, now() - age
         FROM vault.secrets, (VALUES (interval '169 hours'), (interval '167 hours')) a (age)";
    postgres.batch_execute(orphans).await?;
    stack.ledger.signal("CONT")?;
    stack.gateways[0].start_again()?;
    let app = stack.app_of(1, 1)?;
    for number in ["waits", "old-place"] {
        assert_eq!(paid_out(&app, number, SOON).await?.status, Succeeded, "{number}");
    }
    vault_has(&stack, "Payee", 1).await?;
    postgres.batch_execute("UPDATE vault.secrets SET kept_at = now() - interval '8 days'").await?;
    agree(&stack, BANK, FUNDS).await?;
    nobody_is_named(&stack).await
}

/// What the owner does where the release is rolled back, as docs/gateway.md has it: what the release
/// before cannot take does not stand first in its queue, until this one is back.
async fn rolled_back(stack: &Stack) -> Result<()> {
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/gateway.md"))?;
    let statement = |begin: &str| -> Result<String> {
        let (_, rest) = docs.split_once(begin).context("no such statement")?;
        let (statement, _) = rest.split_once("```").context("no end")?;
        Ok(statement.to_owned())
    };
    let owner = stack.postgres.connect("payplane_owner").await?;
    let due = "SELECT count(*) FROM gateway.payouts WHERE next_check_at < 'infinity'";
    owner.batch_execute(&statement("```sql\n-- back\n")?).await?;
    assert_eq!(stack.count(due).await?, 0);
    owner.batch_execute(&statement("```sql\n-- forward\n")?).await?;
    assert_eq!(stack.count(due).await?, 2);
    Ok(())
}

/// Whatever was acknowledged is answered, and what needs no vault goes on; what is new and needs it
/// is refused soon, and a person is told once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vault_that_is_away_holds_up_nothing_but_what_needs_it() -> Result<()> {
    let stack = bank().await?;
    fund(&stack, &sale("M1", FUNDS)).await?;
    let app = Arc::new(stack.app("app1", 8)?);
    active(&app, "a1").await?;
    let paid = pay(&app, &by_agreement("paid", 10_000, "a1")).await?;
    let out = app.pay_out(&payout("out", 10_000)).await?;
    ensure!(status(&paid) == "Succeeded" && out.status == Succeeded, "{paid} {out:?}");

    lock(&stack).await?;
    let locked = Instant::now();
    let waiting: Vec<_> = (0..24)
        .map(|n| {
            let (app, order) = (app.clone(), by_agreement(&format!("new-{n}"), 100, "a1"));
            tokio::spawn(async move { (code(pay(&app, &order).await), Instant::now()) })
        })
        .collect();
    for n in 0..20 {
        let (began, plain) = (Instant::now(), NETWORKS[3].order(&format!("plain-{n}"), 100));
        ensure!(stack.app_of(n % 2, 1)?.pay(&plain).await?.status == Succeeded);
        ensure!(began.elapsed() < SOON_REFUSED, "a plain payment took {:?}", began.elapsed());
    }
    for waits in waiting {
        let (code, ended) = waits.await?;
        assert_eq!(code, "Overloaded");
        ensure!(ended - locked < 3 * SOON_REFUSED, "{:?}", ended - locked);
    }
    let began = Instant::now();
    assert_eq!(pay(&app, &by_agreement("paid", 10_000, "a1")).await?, paid, "a repetition");
    assert_eq!(app.pay_out(&payout("out", 10_000)).await?, out, "a repetition");
    ensure!(status(&confirm(&app, "a1", CODE).await?) == "Active");
    ensure!(began.elapsed() < SOON_REFUSED, "{:?}", began.elapsed());
    assert_eq!(code(app.pay_out(&payout("out", 10_001)).await), "OrderConflict");
    assert_eq!(code(app.pay_out(&payout("new", 10_000)).await), "Overloaded");
    assert_eq!(stack.count("SELECT count(*) FROM gateway.orders WHERE order_number LIKE 'new-%'").await?, 0);
    assert_eq!(stack.count("SELECT count(*) FROM gateway.payouts").await?, 1);

    let words = "the vault's login does not get through";
    for (seconds, told) in [(50, [0, 0]), (75, [1, 1]), (85, [1, 1])] {
        tokio::time::sleep(Duration::from_secs(seconds).saturating_sub(locked.elapsed())).await;
        assert_eq!(errors(&stack, words)?, told, "after {seconds} s");
    }
    ensure!(away_seconds(&stack).await? >= 60.0);
    unlock(&stack).await?;
    let begun = Instant::now();
    while away_seconds(&stack).await? > 0.0 {
        ensure!(begun.elapsed() < Duration::from_secs(20), "the vault is back");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    ensure!(status(&pay(&app, &by_agreement("new-0", 100, "a1")).await?) == "Succeeded");
    assert_eq!(app.pay_out(&payout("new", 10_000)).await?.status, Succeeded);

    // A token that is gone is no reason to deny what it paid before.
    let gone = "DELETE FROM vault.secrets WHERE kind = 'Token'";
    stack.postgres.connect("postgres").await?.batch_execute(gone).await?;
    assert_eq!(pay(&app, &by_agreement("paid", 10_000, "a1")).await?, paid);
    assert_eq!(code(pay(&app, &by_agreement("more", 100, "a1")).await), "Internal");
    agree(&stack, BANK, FUNDS).await?;
    stack.check_channel("bankdirect", "BankDirect").await
}

/// How many ERRORs each gateway has logged that say so.
fn errors(stack: &Stack, words: &str) -> Result<[usize; 2]> {
    let mut found = [0; 2];
    for (n, found) in found.iter_mut().enumerate() {
        let log = std::fs::read_to_string(stack.folder.path().join(format!("gateway-{n}.log")))?;
        *found = log.lines().filter(|line| line.contains("\"ERROR\"") && line.contains(words)).count();
    }
    Ok(found)
}

async fn away_seconds(stack: &Stack) -> Result<f64> {
    let text = stack.metrics(0).await?;
    let value = text.lines().find_map(|line| line.strip_prefix("payplane_gateway_vault_away_seconds "));
    Ok(value.context("no such metric")?.parse()?)
}

/// Money that cannot be sent, as nobody knows whom to, goes back; while the vault is away it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_waits_for_the_vault_and_is_given_back_without_its_payee() -> Result<()> {
    let stack = bank().await?;
    fund(&stack, &sale("M1", FUNDS)).await?;
    let postgres = stack.postgres.connect("postgres").await?;
    stack.ledger.signal("STOP")?;
    let (stored, lost) = (stack.app_of(0, 2)?, stack.app_of(0, 2)?);
    let stored = tokio::spawn(async move { stored.pay_out(&payout("stored", 10_000)).await });
    let lost = tokio::spawn(async move { lost.pay_out(&payout("lost", 10_000)).await });
    comes_to(&stack, "SELECT count(*) FROM gateway.payouts WHERE status = 'Requested'", 2, SOON).await?;
    let gone = "DELETE FROM vault.secrets WHERE owner_id =
            (SELECT payout_id FROM gateway.payouts WHERE payout_number = 'lost')";
    postgres.batch_execute(gone).await?;
    lock(&stack).await?;
    stack.ledger.signal("CONT")?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let open = "SELECT count(*) FROM gateway.payouts WHERE status = 'Requested'";
    assert_eq!(stack.count(open).await?, 2, "nothing is given up for a vault that is away");
    unlock(&stack).await?;
    let (_, _) = (stored.await?, lost.await?);
    let app = stack.app_of(1, 1)?;
    assert_eq!(paid_out(&app, "stored", SOON).await?.status, Succeeded);
    let lost = paid_out(&app, "lost", SOON).await?;
    assert_eq!((lost.status, lost.failure_code.as_deref()), (Failed, Some("ChannelUnavailable")));
    agree(&stack, BANK, FUNDS).await?;
    nobody_is_named(&stack).await
}

/// A process that froze between the vault and its row writes no row: its secret may be swept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_froze_after_the_vault_writes_no_row() -> Result<()> {
    let stack = bank().await?;
    fund(&stack, &sale("M1", FUNDS)).await?;
    let app = stack.app("app1", 1)?;
    sign(&app, "a1", ACCOUNT).await?;
    let frozen = "CREATE FUNCTION vault.frozen() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            NEW.kept_at := now() - interval '11 minutes'; RETURN NEW; END $$;
         CREATE TRIGGER frozen BEFORE INSERT OR UPDATE ON vault.secrets FOR EACH ROW
            EXECUTE FUNCTION vault.frozen()";
    let postgres = stack.postgres.connect("postgres").await?;
    postgres.batch_execute(frozen).await?;
    assert_eq!(code(app.pay_out(&payout("late", 10_000)).await), "Overloaded");
    assert_eq!(stack.count("SELECT count(*) FROM gateway.payouts").await?, 0);
    ensure!(status(&confirm(&app, "a1", CODE).await?) == "AwaitingCode", "it is asked for again");
    postgres.batch_execute("DROP TRIGGER frozen ON vault.secrets").await?;
    assert_eq!(app.pay_out(&payout("late", 10_000)).await?.status, Succeeded);
    until(&app, "a1", "Active", SOON).await?;
    let paid = pay(&app, &by_agreement("after", 10_000, "a1")).await?;
    ensure!(status(&paid) == "Succeeded", "{paid}");
    agree(&stack, BANK, FUNDS).await
}

/// A release that knows no vault finds every token that was made while it ran, also if it comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_a_former_release_may_need_stays_where_it_looks() -> Result<()> {
    let stack = bank().await?;
    let app = stack.app("app1", 2)?;
    let former = stack.postgres.connect("gateway").await?;
    former.batch_execute(FORMER).await?;
    active(&app, "beside").await?;
    vault_has(&stack, "Token", 0).await?;
    let column = "SELECT count(*) FROM gateway.agreements WHERE token_sealed IS NOT NULL";
    assert_eq!(stack.count(column).await?, 1, "where that release looks for it");
    let paid = pay(&app, &by_agreement("first", 10_000, "beside")).await?;
    ensure!(status(&paid) == "Succeeded", "{paid}");
    drop(former);
    let gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'gateway'";
    comes_to(&stack, gone, 0, SOON).await?;
    active(&app, "after").await?;
    vault_has(&stack, "Token", 1).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stack.count(column).await?, 1, "it stays there");
    lock(&stack).await?;
    let second = pay(&app, &by_agreement("second", 10_000, "beside")).await?;
    ensure!(status(&second) == "Succeeded", "it needs no vault: {second}");
    unlock(&stack).await?;
    for agreement in ["after", "beside"] {
        let order = by_agreement(&format!("by-{agreement}"), 10_000, agreement);
        let paid = pay(&app, &order).await?;
        ensure!(status(&paid) == "Succeeded", "{paid}");
        ensure!(status(&end(&app, agreement).await?) == "Ended");
        assert_eq!(pay(&app, &order).await?, paid);
    }
    vault_has(&stack, "Token", 0).await?;
    assert_eq!(stack.count(column).await?, 0, "it ends with its agreement");
    stack.check_channel("bankdirect", "BankDirect").await
}
