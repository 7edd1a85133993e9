//! A gateway is killed between every two commits of a payout; another one goes on, and the
//! money moves once.

use std::time::Duration;

use anyhow::Result;
use payplane_client::call::CallError;
use payplane_client::message::PaymentStatus::{self, Failed, Succeeded};
use payplane_client::message::Payout;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::harness::Stack;
use crate::networks::{NETWORKS, SOON};
use crate::payout_stage::{BANK, agree, bank, fund, paid_out, payout, sale};

const FUNDS: i64 = 1_000_000;
/// The bank's window of 70 s, and the resolver's longest interval.
const WINDOW_CLOSED: Duration = Duration::from_secs(140);

type Asked = JoinHandle<Result<Payout, CallError>>;

struct Scene {
    stack: Stack,
    owner: Client,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dead_gateway_left_of_a_payout_is_finished() -> Result<()> {
    let stack = bank().await?;
    fund(&stack, &sale("M1", FUNDS)).await?;
    let owner = stack.postgres.connect("postgres").await?;
    let mut scene = Scene { stack, owner };

    // Sent without an effect: its end takes longest.
    scene.asks("unsent", 19_003)?;
    scene.until_it("unsent", "status = 'Sending'").await?;
    scene.dies(None).await?;
    scene.stack.gateways[0].restart().await?;

    // Stored, and not debited.
    scene.stack.ledger.signal("STOP")?;
    scene.asks("stored", 10_000)?;
    scene.until_it("stored", "status = 'Requested'").await?;
    scene.dies(None).await?;
    scene.stack.ledger.signal("CONT")?;
    scene.ends("stored", (Succeeded, None)).await?;

    // Debited, and not marked as sent.
    scene.stack.ledger.signal("STOP")?;
    scene.asks("debited", 10_000)?;
    scene.until_it("debited", "status = 'Requested'").await?;
    let held = scene.holds("debited").await?;
    scene.stack.ledger.signal("CONT")?;
    scene.until_booked("debited", "payout").await?;
    scene.dies(Some(held)).await?;
    scene.ends("debited", (Succeeded, None)).await?;

    // Sent with an effect, and not answered.
    scene.asks("unanswered", 19_004)?;
    scene.until_it("unanswered", "status = 'Sending'").await?;
    tokio::time::sleep(Duration::from_millis(500)).await;
    scene.dies(None).await?;
    scene.ends("unanswered", (Succeeded, None)).await?;

    // Answered, and the answer not stored.
    scene.asks("answered", 19_007)?;
    scene.until_it("answered", "status = 'Sending'").await?;
    let held = scene.holds("answered").await?;
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.dies(Some(held)).await?;
    scene.ends("answered", (Succeeded, None)).await?;

    // Declined, and the debit not given back; given back, and that not stored.
    for (number, is_given_back) in [("declined", false), ("reversed", true)] {
        scene.is_declined(number).await?;
        let held = if is_given_back { Some(scene.holds(number).await?) } else { None };
        if is_given_back {
            scene.stack.ledger.signal("CONT")?;
            scene.until_booked(number, "payout-reversal").await?;
        }
        scene.dies(held).await?;
        scene.stack.ledger.signal("CONT")?;
        scene.ends(number, (Failed, Some("Declined"))).await?;
    }
    let unsent = paid_out(&scene.stack.app_of(1, 1)?, "unsent", WINDOW_CLOSED).await?;
    assert_eq!((unsent.status, unsent.failure_code.as_deref()), (Failed, Some("NotReceived")));
    agree(&scene.stack, BANK, FUNDS).await
}

/// The ledger is away for a while; the channel is taken out before anything is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_waits_for_the_books_and_not_for_its_channel() -> Result<()> {
    let mut stack = bank().await?;
    fund(&stack, &sale("M1", FUNDS)).await?;
    stack.ledger.kill_9()?;
    let app = stack.app_of(0, 1)?;
    let waits = tokio::spawn(async move { app.pay_out(&payout("waits", 10_000)).await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!waits.is_finished(), "it is not told before the books are asked");
    stack.ledger.restart().await?;
    assert_eq!(waits.await??.status, Succeeded);

    let owner = stack.postgres.connect("postgres").await?;
    let mut scene = Scene { stack, owner };
    scene.stack.ledger.signal("STOP")?;
    let asked = scene.asks("given-up", 10_000)?;
    scene.until_it("given-up", "status = 'Requested'").await?;
    let mut channel = NETWORKS[3].channel(&scene.stack)?;
    channel["enabled"] = json!(false);
    scene.stack.configure_channels(&[channel])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.stack.ledger.signal("CONT")?;
    let given_up = asked.await??;
    assert_eq!(
        (given_up.status, given_up.failure_code.as_deref()),
        (Failed, Some("ChannelUnavailable")),
        "{given_up:?}"
    );
    agree(&scene.stack, BANK, FUNDS).await
}

impl Scene {
    /// Asks the gateway that is to die.
    fn asks(&self, number: &str, amount_minor: i64) -> Result<Asked> {
        let (app, request) = (self.stack.app_of(0, 1)?, payout(number, amount_minor));
        Ok(tokio::spawn(async move { app.pay_out(&request).await }))
    }

    async fn until_it(&self, number: &str, is: &str) -> Result<()> {
        let sql = format!("SELECT count(*) FROM gateway.payouts WHERE payout_number = '{number}' AND {is}");
        self.stack.until(&sql, 1).await
    }

    async fn until_booked(&self, number: &str, key: &str) -> Result<()> {
        let sql = format!(
            "SELECT count(*) FROM ledger.transactions JOIN gateway.payouts ON key = '{key}:' || payout_id
             WHERE payout_number = '{number}'"
        );
        self.stack.until(&sql, 1).await
    }

    /// Holds its row: whoever wants to store something of it waits.
    async fn holds(&self, number: &str) -> Result<Client> {
        let client = self.stack.postgres.connect("postgres").await?;
        let lock = format!("BEGIN; SELECT FROM gateway.payouts WHERE payout_number = '{number}' FOR UPDATE");
        client.batch_execute(&lock).await?;
        Ok(client)
    }

    /// The bank declines, and the ledger is not there to give the debit back.
    async fn is_declined(&self, number: &str) -> Result<()> {
        self.stack.simulator.signal("STOP")?;
        self.asks(number, 19_001)?;
        self.until_it(number, "status = 'Sending'").await?;
        self.stack.ledger.signal("STOP")?;
        self.stack.simulator.signal("CONT")?;
        self.until_it(number, "status = 'Reversing'").await
    }

    /// Kills the gateway, and what it had asked of the database; another takes its work up
    /// at once.
    async fn dies(&mut self, held: Option<Client>) -> Result<()> {
        let waits = "FROM pg_stat_activity WHERE usename = 'gateway' AND wait_event_type = 'Lock'";
        let waiting = format!("SELECT count(*) {waits}");
        self.stack.until(&waiting, i64::from(held.is_some())).await?;
        self.stack.gateways[0].kill_9()?;
        self.owner.query(&format!("SELECT pg_terminate_backend(pid) {waits}"), &[]).await?;
        self.stack.until(&waiting, 0).await?;
        if let Some(held) = held {
            held.batch_execute("ROLLBACK").await?;
        }
        let due = "UPDATE gateway.payouts SET next_check_at = now() WHERE next_check_at IS NOT NULL";
        self.owner.batch_execute(due).await?;
        Ok(())
    }

    /// The other gateway brings it to its end. Then both are there again.
    async fn ends(&mut self, number: &str, end: (PaymentStatus, Option<&str>)) -> Result<()> {
        let ended = paid_out(&self.stack.app_of(1, 1)?, number, SOON).await?;
        assert_eq!((ended.status, ended.failure_code.as_deref()), end, "{number}: {ended:?}");
        self.stack.gateways[0].restart().await
    }
}
