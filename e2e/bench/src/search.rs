//! The highest rate that holds, and the latency at 80 % of it.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::LedgerArgs;
use crate::machine::{cpu_seconds, resident_mb};
use crate::mix::{CHANNEL, Mix};
use crate::open_loop::{self, Outcomes};
use crate::report::{figure, precise, say};
use crate::rig::Rig;
use crate::{confirm, pace, reads};

/// The rates lie this far apart.
const STEP: f64 = 1.1;
const STEPS_MAX: u32 = 12;
const WARM_UP: Duration = Duration::from_secs(5);
/// Sealing may not fall behind by more.
const LAG_MAX_MS: f64 = 5_000.0;

/// The highest rate that holds; 0 where none did.
pub(crate) async fn highest(args: &LedgerArgs, mix: Mix) -> Result<u64> {
    let rig = Rig::start(args.accounts).await?;
    let during = Duration::from_secs(args.seconds);
    let _ = open_loop::run(&rig, mix, args.accounts, args.rate / 2, WARM_UP).await?;
    let mut best = None;
    let mut rate = args.rate;
    for _ in 0..if args.fixed { 1 } else { STEPS_MAX } {
        let (outcomes, lag_ms) = attempt(&rig, args, mix, rate, during).await?;
        let holds = outcomes.holds() && lag_ms < LAG_MAX_MS;
        let known = best;
        if holds {
            best = Some(rate);
        }
        rate = match (holds, known) {
            (true, Some(known)) if known > rate => break,
            (true, _) => stepped(rate, STEP),
            (false, Some(_)) => break,
            (false, None) => stepped(rate, 1.0 / STEP),
        };
    }
    let best = best.unwrap_or(0);
    figure(&format!("ledger_{}_tps", mix.name()), precise(best), "1/s");
    if best > 0 && !args.fixed {
        let (calm, _) = attempt(&rig, args, mix, best * 4 / 5, during).await?;
        figure(&format!("ledger_{}_p99_ms", mix.name()), pace::ms(&calm.latency_us, 0.99), "ms");
    }
    figure("ledger_memory_peak", resident_mb("payplane ledger"), "MB");
    rig.check().await?;
    Ok(best)
}

/// What became of it, and how far sealing was behind at most.
async fn attempt(
    rig: &Rig,
    args: &LedgerArgs,
    mix: Mix,
    rate: u64,
    during: Duration,
) -> Result<(Outcomes, f64)> {
    const PROCESSES: [(&str, &str); 3] =
        [("ledger", "payplane ledger"), ("postgresql", "postgres"), ("client", "bench ledger")];
    let before = PROCESSES.map(|(_, text)| cpu_seconds(text));
    let batches_before = batches(rig).await?;
    let reading =
        async { if args.reads > 0 { reads::run(rig, CHANNEL, args.reads, during).await } else { Ok(()) } };
    let running = open_loop::run(rig, mix, args.accounts, rate, during);
    let (outcomes, read, lag_ms) = tokio::join!(running, reading, seal_lag(rig, during));
    read?;
    let lag_ms = lag_ms?;
    let outcomes = outcomes?;
    say(&format!(
        "{} at {rate}/s: {}, p99 {:.1} ms, {:?}",
        mix.name(),
        if outcomes.holds() { "holds" } else { "does not hold" },
        pace::ms(&outcomes.latency_us, 0.99),
        outcomes.counts
    ));
    figure(&format!("seal_lag_max({} {rate}/s)", mix.name()), lag_ms, "ms");
    let refused = precise(outcomes.refused.len() as u64) / precise(outcomes.answered.max(1)) * 100.0;
    figure(&format!("refused({} {rate}/s)", mix.name()), refused, "%");
    let near_the_floor = mix != Mix::HotMerchant || (5.0..=20.0).contains(&refused);
    ensure!(near_the_floor, "{refused:.1} % were refused: the hot merchant's mix is of 5 to 20 %");
    confirm::refusals(rig, outcomes.refused.clone()).await?;
    for ((name, text), before) in PROCESSES.iter().zip(before) {
        let used = (cpu_seconds(text) - before) * 1e6 / precise(outcomes.answered.max(1));
        figure(&format!("cpu_per_transfer({} {rate}/s {name})", mix.name()), used, "us");
    }
    let batches_after = batches(rig).await?;
    for ((name, units, unit), (after, before)) in BATCHES.iter().zip(batches_after.iter().zip(batches_before))
    {
        let mean = (after[0] - before[0]) / (after[1] - before[1]).max(1.0);
        figure(&format!("mean_{name}({} {rate}/s)", mix.name()), mean * units, unit);
    }
    Ok((outcomes, lag_ms))
}

/// The most that sealing was behind, looked at each second.
async fn seal_lag(rig: &Rig, during: Duration) -> Result<f64> {
    let mut most = 0.0_f64;
    for _ in 0..during.as_secs() {
        tokio::time::sleep(Duration::from_secs(1)).await;
        most = most.max(rig.metric("ledger_seal_lag_milliseconds").await?);
    }
    Ok(most)
}

/// The ledger's histograms of its batches, and what is printed of each: how many of a unit one of theirs is.
const BATCHES: [(&str, f64, &str); 3] = [
    ("ledger_batch_items", 1.0, "transfers"),
    ("ledger_batch_seconds", 1e3, "ms"),
    ("ledger_queue_seconds", 1e3, "ms"),
];

async fn batches(rig: &Rig) -> Result<Vec<[f64; 2]>> {
    let mut all = vec![];
    for (name, ..) in BATCHES {
        all.push([rig.metric(&format!("{name}_sum")).await?, rig.metric(&format!("{name}_count")).await?]);
    }
    Ok(all)
}

fn stepped(rate: u64, by: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate of thousands")]
    let next = (precise(rate) * by / 100.0).round() as u64;
    next * 100
}
