//! The vault: whose account it is stands there and nowhere else, as long as it is needed, whoever
//! dies, and while a release that knows no vault still runs beside this one.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use payplane_client::message::PaymentStatus::{Failed, Succeeded};

use crate::agreement_stage::{ACCOUNT, CODE, active, by_agreement, confirm, end, pay, sign, status, until};
use crate::harness::{Stack, code};
use crate::networks::SOON;
use crate::payout_stage::{BANK, agree, bank, fund, paid_out, payout, sale};
use crate::payouts::nobody_is_named;

const FUNDS: i64 = 1_000_000;
/// A release that knows no vault is gone for so long before its tokens are moved, and some turns.
const MOVED: Duration = Duration::from_secs(90);
/// The session of a gateway of that release.
const FORMER: &str = "SET application_name = 'gateway'";

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
    // As that release stores its own.
    let moved = "SET payplane.knows = 'vault';
         UPDATE gateway.payouts SET payee_sealed = s.sealed FROM vault.secrets s
            WHERE owner_id = payout_id AND payout_number = 'old-place';
         DELETE FROM vault.secrets WHERE owner_id =
            (SELECT payout_id FROM gateway.payouts WHERE payout_number = 'old-place')";
    postgres.batch_execute(moved).await?;
    // What nobody came back for: a row that belongs to nothing, young and old.
    let orphans = "INSERT INTO vault.secrets SELECT 'Payee', gen_random_uuid(), sealed, key_id, now() - age
         FROM vault.secrets, (VALUES (interval '61 min'), (interval '59 min')) a (age)";
    postgres.batch_execute(orphans).await?;
    stack.ledger.signal("CONT")?;
    stack.gateways[0].start_again()?;
    let app = stack.app_of(1, 1)?;
    for number in ["waits", "old-place"] {
        assert_eq!(paid_out(&app, number, SOON).await?.status, Succeeded, "{number}");
    }
    vault_has(&stack, "Payee", 1).await?;
    postgres.batch_execute("UPDATE vault.secrets SET kept_at = now() - interval '2 h'").await?;
    agree(&stack, BANK, FUNDS).await?;
    nobody_is_named(&stack).await
}

/// Money that cannot be sent, as nobody knows whom to, goes back; while the vault is away it waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_waits_for_the_vault_and_is_given_back_without_its_payee() -> Result<()> {
    let stack = bank().await?;
    fund(&stack, &sale("M1", FUNDS)).await?;
    let postgres = stack.postgres.connect("postgres").await?;
    let away = "ALTER ROLE payplane_vault NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE usename = 'payplane_vault'";
    postgres.batch_execute(away).await?;
    let app = stack.app_of(0, 1)?;
    let waits = tokio::spawn(async move { app.pay_out(&payout("waits", 10_000)).await });
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(stack.count("SELECT count(*) FROM gateway.payouts").await?, 0, "the vault comes first");
    postgres.batch_execute("ALTER ROLE payplane_vault LOGIN").await?;
    assert_eq!(waits.await??.status, Succeeded);

    stack.ledger.signal("STOP")?;
    let (stored, lost) = (stack.app_of(0, 2)?, stack.app_of(0, 2)?);
    let stored = tokio::spawn(async move { stored.pay_out(&payout("stored", 10_000)).await });
    let lost = tokio::spawn(async move { lost.pay_out(&payout("lost", 10_000)).await });
    comes_to(&stack, "SELECT count(*) FROM gateway.payouts WHERE status = 'Requested'", 2, SOON).await?;
    let gone = "DELETE FROM vault.secrets WHERE owner_id =
            (SELECT payout_id FROM gateway.payouts WHERE payout_number = 'lost')";
    postgres.batch_execute(gone).await?;
    postgres.batch_execute(away).await?;
    stack.ledger.signal("CONT")?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let open = "SELECT count(*) FROM gateway.payouts WHERE status = 'Requested'";
    assert_eq!(stack.count(open).await?, 2, "nothing is given up for a vault that is away");
    postgres.batch_execute("ALTER ROLE payplane_vault LOGIN").await?;
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

/// A release that knows no vault finds every token, as long as it runs; then all are moved.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_moved_once_no_former_release_looks_for_them() -> Result<()> {
    let stack = bank().await?;
    let app = stack.app("app1", 2)?;
    active(&app, "before").await?;
    vault_has(&stack, "Token", 1).await?;
    let column = "SELECT count(*) FROM gateway.agreements WHERE token_sealed IS NOT NULL";
    assert_eq!(stack.count(column).await?, 0);

    let former = stack.postgres.connect("gateway").await?;
    former.batch_execute(FORMER).await?;
    active(&app, "beside").await?;
    vault_has(&stack, "Token", 1).await?;
    assert_eq!(stack.count(column).await?, 1, "where that release looks for it");
    let paid = pay(&app, &by_agreement("first", 10_000, "beside")).await?;
    ensure!(status(&paid) == "Succeeded", "{paid}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(stack.count(column).await?, 1, "that release is still there");
    drop(former);
    comes_to(&stack, column, 0, MOVED).await?;
    vault_has(&stack, "Token", 2).await?;
    for agreement in ["before", "beside"] {
        let order = format!("after-{agreement}");
        let paid = pay(&app, &by_agreement(&order, 10_000, agreement)).await?;
        ensure!(status(&paid) == "Succeeded", "{paid}");
        ensure!(status(&end(&app, agreement).await?) == "Ended");
        assert_eq!(pay(&app, &by_agreement(&order, 10_000, agreement)).await?, paid);
    }
    vault_has(&stack, "Token", 0).await?;
    stack.check_channel("bankdirect", "BankDirect").await
}
