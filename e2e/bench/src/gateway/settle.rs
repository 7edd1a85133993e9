//! After a run: what came of each payment, and whether books, orders and the network's
//! own record agree, to the cent.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use uuid::Uuid;

use super::backlog::owed;
use super::receiver::Receiver;
use super::register::admin;
use super::rig::Rig;
use crate::report::say;

/// A lease, in which a payment that was cut off lies still, and the time after it.
const SETTLED_MAX: Duration = Duration::from_secs(90);

/// Waits until nothing is owed any more; says how long that took.
pub(super) async fn wait(rig: &Rig) -> Result<Duration> {
    let (client, started) = (rig.postgres.connect("postgres").await?, Instant::now());
    loop {
        match owed(&client).await? {
            0 => return Ok(started.elapsed()),
            left if started.elapsed() > SETTLED_MAX => bail!("{left} are still owed after {SETTLED_MAX:?}"),
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

/// The orders of a run that have succeeded, and are found in the books: which, by their
/// numbers, and what for.
pub(super) async fn posted(rig: &Rig, run: &str) -> Result<HashMap<String, i64>> {
    let sql = "SELECT o.order_number, o.amount_minor FROM gateway.orders o
                 JOIN ledger.transactions t ON t.transaction_id = o.ledger_transaction_id AND t.kind = 'sale'
                WHERE o.status = 'Succeeded' AND starts_with(o.order_number, $1)";
    let client = rig.postgres.connect("postgres").await?;
    let rows = client.query(sql, &[&format!("{run}-")]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Everything since the stack was started. What the network took is compared one by one.
pub(super) async fn agreement(rig: &Rig) -> Result<()> {
    let (books, balanced) = booked(rig).await?;
    ensure!(balanced, "the trial balance does not balance");
    let client = rig.postgres.connect("postgres").await?;
    let sql =
        "SELECT a.attempt_id, o.amount_minor FROM gateway.orders o JOIN gateway.attempts a USING (order_id)
                WHERE o.status = 'Succeeded' AND a.status = 'Succeeded'";
    let rows = client.query(sql, &[]).await?;
    let read = |row: &tokio_postgres::Row| (row.get::<_, Uuid>(0).simple().to_string(), row.get::<_, i64>(1));
    let orders: HashMap<String, i64> = rows.iter().map(read).collect();
    let network = taken(rig).await?;
    let sum = |of: &HashMap<String, i64>| of.values().sum::<i64>();
    say(&format!(
        "agreement: books {books}, {} orders {}, {} payments in the network's record {}",
        orders.len(),
        sum(&orders),
        network.len(),
        sum(&network)
    ));
    for (number, amount) in &network {
        ensure!(orders.get(number) == Some(amount), "the network took {amount} for {number}: no such order");
    }
    ensure!(orders.len() == network.len(), "orders succeeded that the network does not know");
    ensure!(books == sum(&orders), "the books have {books}, the orders {}", sum(&orders));
    let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
    let Receiver { again, failures, .. } = &*rig.receiver;
    say(&format!("notifications: {} came again, {} told of failed payments", count(again), count(failures)));
    let forged = rig.receiver.forged();
    ensure!(forged == 0, "{forged} notifications did not verify");
    rig.nothing_is_wrong()
}

/// What the books say the channels owe, and whether they balance.
async fn booked(rig: &Rig) -> Result<(i64, bool)> {
    let url = format!("{}/admin/v1/trial-balance", rig.admin_url());
    let balance: Value = admin(rig)?.get(url).send().await?.error_for_status()?.json().await?;
    let minor = |value: &Value| value.as_i64().unwrap_or(0);
    let lines = balance["lines"].as_array().context("no lines")?;
    let channels: Vec<_> =
        rig.mix.lanes().iter().map(|lane| format!("channel:{}:receivable", lane.channel)).collect();
    let owed = lines.iter().filter(|line| channels.iter().any(|channel| line["account"] == **channel));
    let sum = owed.map(|line| minor(&line["debitMinor"]) - minor(&line["creditMinor"])).sum();
    Ok((sum, balance["balanced"] == true))
}

/// What the network took, by its own record: amounts by the numbers that it was asked with.
async fn taken(rig: &Rig) -> Result<HashMap<String, i64>> {
    let url = format!("http://127.0.0.1:{}/sim/v1/record", rig.record);
    let record: Value = reqwest::get(url).await?.json().await?;
    let payments = record["payments"].as_array().context("no payments")?;
    let succeeded = payments.iter().filter(|payment| payment["state"] == "Succeeded");
    let one =
        |payment: &Value| Some((payment["number"].as_str()?.to_owned(), payment["amountMinor"].as_i64()?));
    succeeded.map(|payment| one(payment).context("a payment of the record cannot be read")).collect()
}
