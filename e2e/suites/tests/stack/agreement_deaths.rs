//! A gateway is killed between every two commits of an agreement's life; another one goes on.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use payplane_client::message::PaymentStatus::Succeeded;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::agreement_stage::{
    ACCOUNT, Answer, BANK, CARD, CODE, Side, account, agreement, at_bank, confirm, end, pay, status, until,
};
use crate::harness::{Stack, ended};
use crate::networks::SOON;

const STEP_MAX: Duration = Duration::from_secs(20);

struct Scene {
    side: &'static Side,
    stack: Stack,
    owner: Client,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_gateway_left_of_an_agreement_is_finished() -> Result<()> {
    finished(&BANK).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_gateway_left_of_a_card_is_finished() -> Result<()> {
    finished(&CARD).await
}

async fn finished(side: &'static Side) -> Result<()> {
    let stack = side.stack().await?;
    let owner = stack.postgres.connect("postgres").await?;
    let mut scene = Scene { side, stack, owner };

    // Asked for with an effect, and not answered.
    let asked =
        scene.of_the_first(|app| async move { side.sign(&app, "unanswered", &account("9004")).await })?;
    scene.until_it("unanswered", "status = 'Processing'").await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.dies(asked, None).await?;
    scene.stands("unanswered", "AwaitingCode").await?;

    // Answered, and the answer not stored.
    let asked =
        scene.of_the_first(|app| async move { side.sign(&app, "answered", &account("9007")).await })?;
    scene.until_it("answered", "status = 'Processing'").await?;
    let held = scene.holds("answered").await?;
    scene.dies(asked, Some(held)).await?;
    scene.stands("answered", "AwaitingCode").await?;

    // The code was taken, and that not stored.
    side.sign(&scene.stack.app_of(1, 1)?, "confirmed", ACCOUNT).await?;
    let held = scene.holds("confirmed").await?;
    let asked = scene.of_the_first(|app| async move { confirm(&app, "confirmed", CODE).await })?;
    scene.dies(asked, Some(held)).await?;
    scene.stands("confirmed", "Active").await?;

    // Its end was asked for, and the bank not told; told, and that not stored.
    side.active(&scene.stack.app_of(1, 1)?, "ending").await?;
    scene.stack.simulator.signal("STOP")?;
    let asked = scene.of_the_first(|app| async move { end(&app, "ending").await })?;
    scene.until_it("ending", "status = 'Ending'").await?;
    scene.dies(asked, None).await?;
    scene.stack.simulator.signal("CONT")?;
    scene.stands("ending", "Ended").await?;

    side.active(&scene.stack.app_of(1, 1)?, "told").await?;
    scene.stack.simulator.signal("STOP")?;
    let asked = scene.of_the_first(|app| async move { end(&app, "told").await })?;
    scene.until_it("told", "status = 'Ending'").await?;
    let held = scene.holds("told").await?;
    scene.stack.simulator.signal("CONT")?;
    scene.dies(asked, Some(held)).await?;
    scene.stands("told", "Ended").await?;
    if side.tells_late {
        // Its notification would be before the death.
        return side.check(&scene.stack).await;
    }
    scene.payment_of_the_dead().await
}

impl Scene {
    /// Asks the gateway that is to die.
    fn of_the_first<F>(&self, ask: impl FnOnce(payplane_client::call::App) -> F) -> Result<JoinHandle<Answer>>
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        Ok(tokio::spawn(ask(self.stack.app_of(0, 1)?)))
    }

    async fn until_it(&self, number: &str, is: &str) -> Result<()> {
        self.until(
            &format!("SELECT count(*) FROM gateway.agreements WHERE agreement_number = '{number}' AND {is}"),
            1,
        )
        .await
    }

    async fn until(&self, sql: &str, count: i64) -> Result<()> {
        let began = Instant::now();
        while self.stack.count(sql).await? != count {
            ensure!(began.elapsed() < STEP_MAX, "it does not come so far: {sql}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// Holds its row: whoever wants to store something of it waits.
    async fn holds(&self, number: &str) -> Result<Client> {
        let client = self.stack.postgres.connect("postgres").await?;
        let lock =
            format!("BEGIN; SELECT FROM gateway.agreements WHERE agreement_number = '{number}' FOR UPDATE");
        client.batch_execute(&lock).await?;
        Ok(client)
    }

    /// Kills the gateway, and what it had asked of the database; another takes its work up
    /// at once.
    async fn dies(&mut self, asked: JoinHandle<Answer>, held: Option<Client>) -> Result<()> {
        let waits = "FROM pg_stat_activity WHERE usename = 'gateway' AND wait_event_type = 'Lock'";
        // Of a code that was taken the bank's notification waits, too.
        let waiting = format!("SELECT least(count(*), 1) {waits}");
        self.until(&waiting, i64::from(held.is_some())).await?;
        self.stack.gateways[0].kill_9()?;
        self.owner.query(&format!("SELECT pg_terminate_backend(pid) {waits}"), &[]).await?;
        self.until(&waiting, 0).await?;
        if let Some(held) = held {
            held.batch_execute("ROLLBACK").await?;
        }
        ensure!(asked.await?.is_err(), "it was answered");
        let due = "UPDATE gateway.agreements SET next_check_at = now() WHERE next_check_at IS NOT NULL";
        Ok(self.owner.batch_execute(due).await?)
    }

    /// The other gateway brings it so far. Then both are there again.
    async fn stands(&mut self, number: &str, wanted: &str) -> Result<()> {
        until(&self.stack.app_of(1, 1)?, number, wanted, SOON).await?;
        self.stack.gateways[0].restart().await
    }

    /// A gateway dies with a payment on its way: the end waits until it is known what became
    /// of that.
    async fn payment_of_the_dead(&mut self) -> Result<()> {
        let app = self.stack.app_of(1, 1)?;
        self.side.active(&app, "paying").await?;
        // It is paid at once, and that is answered a second later.
        let payment = self.side.by_agreement("dead", 19_007, "paying");
        let asked = self.of_the_first(|app| async move { pay(&app, &payment).await })?;
        self.until("SELECT count(*) FROM gateway.attempts WHERE status = 'Sending'", 1).await?;
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.dies(asked, None).await?;
        let ends = tokio::spawn({
            let app = self.stack.app_of(1, 1)?;
            async move { end(&app, "paying").await }
        });
        self.until_it("paying", "status = 'Ending'").await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let (signed, _) = at_bank(&self.stack, &agreement(&app, "paying").await?).await?;
        ensure!(signed["details"]["endedAt"].is_null(), "the bank was told before: {signed}");
        let due = "UPDATE gateway.orders SET next_check_at = now() WHERE status = 'Processing'";
        self.owner.batch_execute(due).await?;
        let last = ended(&app, "dead", SOON).await?;
        assert_eq!(last.status, Succeeded, "what became of it is found");
        let ending = ends.await??;
        assert_eq!(status(&ending), "Ended", "it waited for that");
        let over = agreement(&app, "paying").await?;
        let (_, by_token) = at_bank(&self.stack, &over).await?;
        ensure!(by_token.len() == 1 && by_token[0]["state"] == "Succeeded", "{by_token:?}");
        self.stack.gateways[0].restart().await?;
        self.side.check(&self.stack).await
    }
}
