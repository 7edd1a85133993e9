//! A gateway is killed between every two commits of a step-up: another one makes a new code, or fails
//! the order; nothing is sent that was not proven, and nothing twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use payplane_client::call::App;
use payplane_client::message::PaymentStatus::{Failed, Succeeded};
use tokio_postgres::Client;

use crate::agreement_stage::{confirm_payment, status};
use crate::code_sender::{CodeSender, SILENT, TAKES, stack_that_asks};
use crate::harness::{Stack, code, ended};
use crate::lost_answers::{Lost, lose, lost_enough, standby};
use crate::networks::SOON;
use crate::risk_step_ups::{awaits_code, large, wrong};

const STEP_MAX: Duration = Duration::from_secs(20);
const LOCKED: &str =
    "FROM pg_stat_activity WHERE usename IN ('gateway', 'payplane_vault') AND wait_event_type = 'Lock'";

struct Scene {
    stack: Stack,
    sender: Arc<CodeSender>,
    hand: Client,
    other: App,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_gateway_left_of_a_step_up_is_finished_or_failed() -> Result<()> {
    let (stack, sender) = stack_that_asks("Block").await?;
    let (hand, other) = (stack.postgres.connect("postgres").await?, stack.app_of(1, 4)?);
    let mut scene = Scene { stack, sender, hand, other };

    // The verdict is there, and who pays is not kept: nobody can be asked.
    scene.hand.batch_execute("BEGIN; LOCK TABLE vault.secrets").await?;
    scene.pays("asked")?;
    scene.until_it("asked", "step_ups.status = 'Asked'").await?;
    scene.dies().await?;
    scene.interrupted("asked").await?;

    // A code is on its way: another one is made, and the first counts no more.
    scene.sender.answers(SILENT);
    scene.pays("sending")?;
    scene.sender.is_asked("sending", 1).await?;
    scene.hand.batch_execute("BEGIN").await?;
    scene.dies().await?;
    scene.sender.answers(TAKES);
    scene.anew("sending").await?;

    // It was taken, and that is not noted.
    scene.sender.answers(SILENT);
    scene.pays("taken")?;
    scene.sender.is_asked("taken", 1).await?;
    let held = "BEGIN; SELECT FROM gateway.orders WHERE order_number = 'taken' FOR UPDATE";
    scene.hand.batch_execute(held).await?;
    scene.sender.answers(TAKES);
    scene.is_locked().await?;
    scene.dies().await?;
    scene.anew("taken").await?;

    // The payer has proven himself, and the payment is not begun: it waits for the merchant's terms.
    ensure!(awaits_code(&scene.other.pay(&large("confirmed")).await?));
    scene.hand.batch_execute("BEGIN; LOCK TABLE gateway.merchant_terms").await?;
    let (first, right) = (scene.stack.app_of(0, 1)?, scene.sender.code("confirmed")?);
    let confirming = tokio::spawn(async move { confirm_payment(&first, "confirmed", &right).await });
    scene.until_it("confirmed", "step_ups.status = 'Confirmed'").await?;
    scene.dies().await?;
    ensure!(confirming.await?.is_err(), "it was answered");
    scene.interrupted("confirmed").await?;

    // Nobody died: as ever.
    ensure!(awaits_code(&scene.other.pay(&large("after")).await?));
    let paid = confirm_payment(&scene.other, "after", &scene.sender.code("after")?).await?;
    ensure!(status(&paid) == "Succeeded", "{paid}");
    scene.stack.check_agreement().await
}

/// Each commit of a step-up is asked for again where its answer is lost, and moves it once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_counts_once_though_its_answers_are_lost() -> Result<()> {
    const ROUNDS: i64 = 16;
    let (stack, sender) = stack_that_asks("Block").await?;
    let (app, postgres) = (stack.app("app1", 1)?, stack.postgres.connect("postgres").await?);
    let lost = Lost::default();
    standby(&postgres, "nobody").await?;
    tokio::select! {
        stopped = lose(&postgres, &lost) => stopped?,
        done = async {
            for round in 0..ROUNDS {
                let number = format!("n{round}");
                ensure!(awaits_code(&app.pay(&large(&number)).await?), "{number}");
                let right = sender.code(&number)?;
                assert_eq!(code(confirm_payment(&app, &number, &wrong(&right)).await), "WrongCode", "{number}");
                let paid = confirm_payment(&app, &number, &right).await?;
                ensure!(status(&paid) == "Succeeded", "{paid}");
            }
            anyhow::Ok(())
        } => done?,
    }
    standby(&postgres, "").await?;
    lost_enough(&lost)?;
    let once = "SELECT count(*) FROM gateway.step_ups WHERE status = 'Confirmed' AND sends = 1 AND tries = 1";
    assert_eq!(stack.count(once).await?, ROUNDS, "counted otherwise than once");
    assert_eq!(stack.count("SELECT count(*) FROM gateway.attempts").await?, ROUNDS);
    assert_eq!(stack.count("SELECT count(*) FROM gateway.risk_journal").await?, ROUNDS);
    let asked: usize = (0..ROUNDS).map(|round| sender.asked(&format!("n{round}")).len()).sum();
    assert_eq!(i64::try_from(asked)?, ROUNDS, "sent otherwise than once");
    stack.check_agreement().await
}

impl Scene {
    /// Asks the gateway that is to die.
    fn pays(&self, number: &str) -> Result<()> {
        let (app, request) = (self.stack.app_of(0, 1)?, large(number));
        tokio::spawn(async move { app.pay(&request).await });
        Ok(())
    }

    async fn until_it(&self, number: &str, is: &str) -> Result<()> {
        let sql = format!(
            "SELECT count(*) FROM gateway.step_ups JOIN gateway.orders USING (order_id)
             WHERE order_number = '{number}' AND {is}"
        );
        self.until(&sql).await
    }

    async fn is_locked(&self) -> Result<()> {
        self.until(&format!("SELECT count(*) {LOCKED}")).await
    }

    async fn until(&self, sql: &str) -> Result<()> {
        let began = Instant::now();
        while self.stack.count(sql).await? == 0 {
            ensure!(began.elapsed() < STEP_MAX, "it does not come so far: {sql}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Kills the gateway, and what it had asked of the database; another takes its work up at once.
    async fn dies(&mut self) -> Result<()> {
        self.stack.gateways[0].kill_9()?;
        let owner = self.stack.postgres.connect("postgres").await?;
        owner.query(&format!("SELECT pg_terminate_backend(pid) {LOCKED}"), &[]).await?;
        self.hand.batch_execute("ROLLBACK").await?;
        let due = "UPDATE gateway.orders SET next_check_at = now() WHERE status = 'Processing'";
        self.hand.execute(due, &[]).await?;
        Ok(())
    }

    async fn interrupted(&mut self, number: &str) -> Result<()> {
        let dead = ended(&self.other, number, SOON).await?;
        ensure!((dead.status, dead.failure_code.as_deref()) == (Failed, Some("Interrupted")), "{dead:?}");
        self.attempts(number, 0).await?;
        self.stack.gateways[0].restart().await
    }

    /// Another code is sent, and is the one that counts.
    async fn anew(&mut self, number: &str) -> Result<()> {
        let first = self.sender.code(number)?;
        let before = self.sender.asked(number).len();
        self.sender.is_asked(number, before + 1).await?;
        let second = self.sender.code(number)?;
        self.until_it(number, "step_ups.status = 'AwaitingCode' AND sends = 2").await?;
        self.attempts(number, 0).await?;
        if first != second {
            assert_eq!(code(confirm_payment(&self.other, number, &first).await), "WrongCode");
        }
        let paid = confirm_payment(&self.other, number, &second).await?;
        ensure!(status(&paid) == "Succeeded", "{paid}");
        ensure!(ended(&self.other, number, SOON).await?.status == Succeeded);
        self.attempts(number, 1).await?;
        self.stack.gateways[0].restart().await
    }

    async fn attempts(&self, number: &str, times: i64) -> Result<()> {
        let sql = format!(
            "SELECT count(*) FROM gateway.attempts JOIN gateway.orders USING (order_id) WHERE order_number = '{number}'"
        );
        ensure!(self.stack.count(&sql).await? == times, "{number}");
        Ok(())
    }
}
