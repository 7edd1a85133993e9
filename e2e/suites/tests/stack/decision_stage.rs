//! A network that falls silent, what is then open, and two persons who decide it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::harness::{Stack, read};

pub(crate) const MAKER: &str = "admin-client";
pub(crate) const CHECKER: &str = "admin-checker";
const STEP_MAX: Duration = Duration::from_secs(20);

/// A proposal, without the receipt of a success.
pub(crate) fn proposal(item: &Value, outcome: &str) -> Value {
    json!({"kind": item["kind"], "itemId": item["itemId"], "outcome": outcome,
        "reason": "the network's clerk said so", "reference": "ticket 4711"})
}

impl Stack {
    /// Waits until a number is what it is to be.
    pub(crate) async fn until(&self, sql: &str, count: i64) -> Result<()> {
        let began = Instant::now();
        while self.count(sql).await? != count {
            ensure!(began.elapsed() < STEP_MAX, "it does not come so far: {sql}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(())
    }

    /// The network does what it was asked for, and then says nothing any more; its record.
    pub(crate) async fn falls_silent(&self) -> Result<Vec<Value>> {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let record = self.record().await;
        self.simulator.signal("STOP")?;
        record
    }

    /// Whatever is with a network was sent an hour ago, and no payer has a turn any more.
    pub(crate) async fn an_hour_later(&self) -> Result<()> {
        let owner = self.postgres.connect("postgres").await?;
        owner
            .batch_execute(
                "SET payplane.knows = 'top-ups';
                 UPDATE gateway.attempts SET signed_at = signed_at - interval '1 hour'
                     WHERE status IN ('Sending', 'Processing', 'Unknown');
                 UPDATE gateway.orders SET expires_at = least(expires_at, now()) - interval '1 hour'
                     WHERE status = 'Processing';
                 UPDATE gateway.refunds SET signed_at = signed_at - interval '1 hour' WHERE status = 'Sending';
                 UPDATE gateway.payouts SET signed_at = signed_at - interval '1 hour' WHERE status = 'Sending'",
            )
            .await?;
        Ok(())
    }

    /// What is open of a kind, for persons.
    pub(crate) async fn open(&self, kind: &str) -> Result<Vec<Value>> {
        let path = format!("/admin/v1/open-items?kind={kind}");
        let (status, all) = self.admin(MAKER, "GET", &path, &Value::Null).await?;
        ensure!(status == 200, "{all}");
        all["items"].as_array().cloned().context("a list")
    }

    /// The only open one of a kind.
    pub(crate) async fn only(&self, kind: &str) -> Result<Value> {
        let mut all = self.open(kind).await?;
        ensure!(all.len() == 1, "{all:?}");
        all.pop().context("one")
    }

    pub(crate) async fn proposed(&self, by: &str, body: &Value) -> Result<Value> {
        let (status, decision) = self.admin(by, "POST", "/admin/v1/decisions", body).await?;
        ensure!(status == 200 && decision["status"] == "Proposed", "{status} {decision}");
        Ok(decision)
    }

    /// Judges a decision at one of the gateways.
    pub(crate) async fn judge(
        &self,
        (gateway, by): (usize, &str),
        verb: &str,
        decision: &Value,
    ) -> Result<(u16, Value)> {
        let id = decision["decisionId"].as_str().context("an id")?;
        let port = self.ports[gateway * 3 + 1];
        let url = format!("https://localhost:{port}/admin/v1/decisions/{id}/{verb}");
        read(self.https(Some(by))?.post(url).json(&json!({"version": decision["version"]}))).await
    }

    /// One proposes, another approves.
    pub(crate) async fn decide(&self, body: &Value) -> Result<Value> {
        let decision = self.proposed(MAKER, body).await?;
        let (status, approved) = self.judge((0, CHECKER), "approve", &decision).await?;
        ensure!(status == 200 && approved["status"] == "Approved", "{status} {approved}");
        Ok(approved)
    }

    /// The proposal of a success, as the network's own record has it.
    pub(crate) fn success(&self, item: &Value, record: &[Value]) -> Result<Value> {
        let number = item["itemId"].as_str().context("an id")?.replace('-', "");
        let known = record.iter().find(|entry| entry["number"] == number.as_str()).context("on record")?;
        let mut body = proposal(item, "Succeeded");
        body["networkId"] = known["networkId"].clone();
        body["networkTime"] = known["networkTime"].clone();
        Ok(body)
    }
}
