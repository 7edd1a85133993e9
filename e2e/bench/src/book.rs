//! `bench book`: the same load on a book of many transactions as on an empty one,
//! and what reading and verifying such a book takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use payplane_api::ledger::v1::{GetDayStatementRequest, GetTrialBalanceRequest};
use payplane_ledger::writer::POST;

use crate::machine::peak_mb_of;
use crate::mix::{self, Mix};
use crate::open_loop::{self, Outcomes};
use crate::report::{figure, precise, say, settings};
use crate::rig::Rig;
use crate::{BookArgs, limits, machine, pace, reads, wal};

/// What differs from PostgreSQL's defaults. The log stays, to be counted after a run.
const SETTINGS: &[(&str, &str)] = &[
    ("shared_buffers", "4GB"),
    ("max_wal_size", "16GB"),
    ("checkpoint_timeout", "15min"),
    ("wal_compression", "lz4"),
    // As the operator has it.
    ("default_statistics_target", "10"),
    ("wal_keep_size", "16GB"),
];
const LOADERS: u64 = 4;
const BATCH: u64 = 512;
/// A loader waits while more batches than this are not sealed.
const UNSEALED_MAX: i64 = 2_000;
const WORST: usize = 10;
/// Every fourth batch of the large book is this merchant's alone.
const HOT: usize = 0;
/// Of all that is booked.
const DAY: &str = "2024-01-15";

pub(crate) async fn run(args: &BookArgs) -> Result<()> {
    settings(SETTINGS);
    let _early = machine::WritesEarly::set()?;
    let rig = Rig::start_with(args.accounts, SETTINGS).await?;
    let empty = under_load(&rig, args, "empty").await?;
    load(&rig, args).await?;
    let full = under_load(&rig, args, "full").await?;
    figure("book_average_ratio", full.0 / empty.0, "of the empty book's");
    figure("book_worst_10s_ratio", full.1 / empty.0, "of the empty book's average");
    let (reading, during) = (args.reads, Duration::from_secs(60));
    let account = mix::merchant(HOT);
    let (receiving, holds, read) = tokio::join!(
        open_loop::run(&rig, Mix::Spread, HOT + 1, 5_000, during),
        open_loop::run(&rig, Mix::Holds, HOT + 1, 100, during),
        reads::run(&rig, &account, reading, during)
    );
    read?;
    say(&format!("meanwhile {account} got: {:?} {:?}", receiving?.counts, holds?.counts));
    let since = Instant::now();
    let rows = rig.client()?.get_trial_balance(GetTrialBalanceRequest::default()).await?.into_inner().lines;
    figure(&format!("trial_balance({} accounts)", rows.len()), since.elapsed().as_secs_f64(), "s");
    let since = Instant::now();
    let asked = GetDayStatementRequest { day: DAY.into(), after: String::new() };
    let rows = rig.client()?.get_day_statement(asked).await?.into_inner().lines;
    figure(&format!("day_statement(page of {} accounts)", rows.len()), since.elapsed().as_secs_f64(), "s");
    verify(&rig).await
}

/// Booked a second on average, and in the worst ten seconds.
async fn under_load(rig: &Rig, args: &BookArgs, book: &str) -> Result<(f64, f64)> {
    let during = Duration::from_secs(args.seconds);
    let owner = rig.postgres.connect("postgres").await?;
    owner.batch_execute("CHECKPOINT").await?;
    let before = wal::position(&owner).await?;
    let half = async {
        tokio::time::sleep(during / 2).await;
        owner.batch_execute("CHECKPOINT").await
    };
    let run = open_loop::run(rig, Mix::Spread, args.accounts, args.rate, during);
    let (outcomes, checkpoint) = tokio::join!(run, half);
    checkpoint?;
    let outcomes = outcomes?;
    wal::figures(&owner, &before, book, outcomes.booked).await?;
    let (average, worst) = pace_of(&outcomes, args.seconds)?;
    say(&format!("{book} book at {}/s: late {}, {:?}", args.rate, outcomes.late, outcomes.counts));
    figure(&format!("book_{book}_average"), average, "1/s");
    figure(&format!("book_{book}_worst_10s"), worst, "1/s");
    figure(&format!("book_{book}_not_booked"), precise(outcomes.sent - outcomes.booked), "transfers");
    figure(&format!("book_{book}_p99_ms"), pace::ms(&outcomes.latency_us, 0.99), "ms");
    Ok((average, worst))
}

fn pace_of(outcomes: &Outcomes, seconds: u64) -> Result<(f64, f64)> {
    let whole = usize::try_from(seconds)?;
    ensure!(whole >= WORST, "--seconds: at least {WORST} are needed");
    // Seconds at the end in which nothing was booked count as well.
    let mut of = outcomes.per_second.clone();
    of.resize(whole, 0);
    let worst = of.windows(WORST).map(|window| window.iter().sum::<u64>()).min().unwrap_or(0);
    Ok((precise(of.iter().sum()) / precise(seconds), precise(worst) / precise(WORST as u64)))
}

/// Books through the product's own functions and triggers, by its own login, while
/// the ledger seals.
async fn load(rig: &Rig, args: &BookArgs) -> Result<()> {
    let (booked, since) = (Arc::new(AtomicU64::new(0)), Instant::now());
    let mut tasks = vec![];
    for _ in 0..LOADERS {
        let (client, booked) = (rig.postgres.connect("ledger").await?, booked.clone());
        let (accounts, wanted) = (args.accounts, args.transactions);
        tasks.push(tokio::spawn(async move {
            let post = client.prepare(POST).await?;
            let mut batches = 0_u64;
            while booked.load(Ordering::Relaxed) < wanted {
                let spread = if batches.is_multiple_of(4) { HOT + 1 } else { accounts };
                batches += 1;
                let good = limits::book(&client, &post, spread, usize::try_from(BATCH)?).await?;
                ensure!(good == BATCH, "a row was not booked");
                let before = booked.fetch_add(BATCH, Ordering::Relaxed);
                if before / 1_000_000 < (before + BATCH) / 1_000_000 {
                    let rate = precise(before) / since.elapsed().as_secs_f64();
                    say(&format!("loaded {} million, {rate:.0}/s", before / 1_000_000 + 1));
                }
                sealed(&client, UNSEALED_MAX).await?;
            }
            anyhow::Ok(())
        }));
    }
    for task in tasks {
        task.await??;
    }
    sealed(&rig.postgres.connect("ledger").await?, 0).await?;
    let took = since.elapsed().as_secs_f64();
    figure("book_loaded_and_sealed", precise(booked.load(Ordering::Relaxed)) / took, "1/s");
    Ok(())
}

/// Waits until at most so many batches are not sealed.
async fn sealed(client: &tokio_postgres::Client, most: i64) -> Result<()> {
    let open = "SELECT (SELECT count(*) FROM (SELECT FROM ledger.unsealed_batches LIMIT 10000) u)
              + (SELECT coalesce(max(position), 0) FROM ledger.positions) - (SELECT coalesce(max(position), 0) FROM ledger.chain)";
    while client.query_one(open, &[]).await?.get::<_, i64>(0) > most {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// `payplane ledger verify` against the heads that the ledger said.
async fn verify(rig: &Rig) -> Result<()> {
    let (since, mut verifier) = (Instant::now(), rig.verify()?);
    let mut peak = 0.0_f64;
    let status = loop {
        peak = peak.max(peak_mb_of(verifier.id()));
        if let Some(status) = verifier.try_wait()? {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    figure("book_verify", since.elapsed().as_secs_f64(), "s");
    figure("book_verify_memory", peak, "MB");
    ensure!(status.success(), "the books are not proven: {status}");
    Ok(())
}
