//! Calls of their own, outside any stream: many at a rate, and one after the other.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use payplane_api::ledger::v1::Outcome;

use crate::LedgerArgs;
use crate::mix::Mix;
use crate::open_loop::{DEADLINE, today};
use crate::pace;
use crate::report::figure;
use crate::rig::Rig;

const RATE: u64 = 5_000;
const CONNECTIONS: usize = 8;
const ALONE: usize = 1_000;

pub(crate) async fn measure(args: &LedgerArgs, fdatasync_p99_ms: f64) -> Result<()> {
    let rig = Rig::start(args.accounts).await?;
    let (date, accounts) = (today()?, args.accounts);
    let today = date.clone();
    let clients = (0..CONNECTIONS).map(|_| rig.client()).collect::<Result<Vec<_>>>()?;
    let turn = Arc::new(AtomicUsize::new(0));
    let call = move || {
        let mut client = clients[turn.fetch_add(1, Ordering::Relaxed) % CONNECTIONS].clone();
        let request = Mix::Spread.request(accounts, &today, &mut vec![]);
        async move {
            Ok(client.post(request).await.is_ok_and(|post| post.get_ref().outcome() == Outcome::Created))
        }
    };
    let _ = pace::at_rate(RATE / 2, Duration::from_secs(5), call.clone()).await?;
    let (took, booked) = pace::at_rate(RATE, Duration::from_secs(args.seconds), call).await?;
    let late = took.len() - took.count_between(0, u64::try_from(DEADLINE.as_micros())?);
    let failed = booked.iter().filter(|booked| !**booked).count();
    figure(&format!("ledger_unary_late_or_failed({RATE}/s)"), (late as f64) + (failed as f64), "calls");
    figure(&format!("ledger_unary_p99_ms({RATE}/s)"), pace::ms(&took, 0.99), "ms");

    let (mut client, mut alone) = (rig.client()?, pace::histogram()?);
    for _ in 0..ALONE {
        let (request, since) = (Mix::Spread.request(accounts, &date, &mut vec![]), Instant::now());
        let answer = client.post(request).await?.into_inner();
        alone.saturating_record(u64::try_from(since.elapsed().as_micros())?);
        ensure!(answer.outcome() == Outcome::Created, "{answer:?}");
    }
    figure(&format!("ledger_lone_p99_ms({ALONE} calls)"), pace::ms(&alone, 0.99), "ms");
    figure("ledger_lone_limit_ms(2 x p99 fdatasync + 4)", 2.0 * fdatasync_p99_ms + 4.0, "ms");
    rig.check().await
}
