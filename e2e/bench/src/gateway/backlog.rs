//! What is owed while a load runs: orders without an end, and notifications that nobody
//! has taken yet. Where it grows, the rate does not hold.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio_postgres::Client;

use super::rig::Rig;

const EVERY: Duration = Duration::from_millis(500);
const EARLY: Duration = Duration::from_secs(10);
/// Both are looked at for so long, as what is under way differs from one moment to the next.
const LOOK: Duration = Duration::from_secs(2);

/// At 10 s, and at the end.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Backlog {
    pub(super) early: u64,
    pub(super) end: u64,
}

impl Backlog {
    /// What a tenth of a second brings is under way, not owed: half of what an answer may take.
    pub(super) fn holds(&self, rate: u64) -> bool {
        self.end <= self.early.max(rate / 10)
    }
}

/// Looks until the load has been sent.
pub(super) async fn watch(rig: &Rig, during: Duration) -> Result<Backlog> {
    let (client, started) = (rig.postgres.connect("postgres").await?, Instant::now());
    let (mut early, mut late) = (vec![], vec![]);
    while started.elapsed() < during {
        tokio::time::sleep(EVERY).await;
        let at = started.elapsed();
        if at + LOOK >= during {
            late.push(owed(&client).await?);
        } else if at.abs_diff(EARLY.min(during / 3)) <= LOOK {
            early.push(owed(&client).await?);
        }
    }
    Ok(Backlog { early: median(early), end: median(late) })
}

/// Orders and notifications that are owed now.
pub(super) async fn owed(client: &Client) -> Result<u64> {
    let sql = "SELECT (SELECT count(*) FROM gateway.orders WHERE status = 'Processing')
                    + (SELECT count(*) FROM gateway.deliveries WHERE status = 'Pending')";
    Ok(u64::try_from(client.query_one(sql, &[]).await?.get::<_, i64>(0))?)
}

fn median(mut of: Vec<u64>) -> u64 {
    of.sort_unstable();
    of.get(of.len() / 2).copied().unwrap_or(0)
}
