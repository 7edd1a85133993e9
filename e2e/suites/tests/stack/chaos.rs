//! Gateways, ledgers, database and networks are killed, frozen and cut off from each other
//! at random while a merchant pays over both gateways. In the end the merchant's record,
//! the orders, the books and the networks' own record say the same.
//!
//! `make test` runs the short form; `make chaos-gateway` the long one, which goes on until
//! enough has happened for it to count. docs/testing-faults.md has both.

#![expect(clippy::print_stdout, reason = "figures, faults, and the seed that repeats them")]

mod caller;
mod config;
mod counts;
mod end;
mod faults;
mod form;
mod judge;
mod life;
mod links;
mod logs;
mod plan;
mod record;
mod rest;
mod stage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use payplane_e2e::env;
use payplane_e2e::receiver::Mood;
use payplane_testkit::random::Random;

use self::caller::Caller;
use self::counts::Counts;
use self::faults::{Dice, Fault, all, inflict};
use self::form::Form;
use self::life::Buyer;
use self::stage::Stage;

/// Answers come again so long after a fault, at the latest.
const AGAIN_WITHIN: Duration = Duration::from_secs(60);
/// So many of them are awaited before the next fault.
const AGAIN: u64 = 15;

/// Faults that met requests under way, by what they were.
type Met = BTreeMap<Fault, u64>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_fails_merchant_orders_books_and_networks_agree() -> Result<()> {
    let form = Form::of_environment()?;
    let mut random = Random::printed("chaos-gateway", env::seed());
    let stage = Stage::start().await?;
    stage.receiver.becomes(Mood::Wavers);
    let record = stage.folder().join("record.jsonl");
    let counts = Arc::new(Counts::new());
    let caller = Arc::new(Caller::new(&stage, &record, counts.clone())?);
    let stop = Arc::new(AtomicBool::new(false));
    let buyer = |n: u64, random: &mut Random| Buyer {
        name: format!("b{n}"),
        caller: caller.clone(),
        random: Random::new(random.draw()),
        stop: stop.clone(),
        every: form.every(),
    };
    let buyers: Vec<_> = (0..form.buyers).map(|n| tokio::spawn(buyer(n, &mut random).run())).collect();

    let done = inflict_enough(&stage, &counts, &form, &mut random).await;
    stop.store(true, Ordering::Release);
    stage.links.heal();
    for buyer in buyers {
        buyer.await??;
    }
    let seconds = counts.seconds();
    let met = done.or_else(|error| logs::keep(&stage, &record).and(Err(error)))?;

    let rested = rest::come_to_rest(&stage, &caller, &record, &form).await;
    let told = form.tell(&met, &counts, seconds);
    let judged = async {
        rested?;
        let end = end::End::read(&stage).await?;
        judge::agree(&record::read(&record)?, &end, &form)?;
        logs::nothing_unlisted(&stage, &end)
    };
    judged.await.or_else(|error| logs::keep(&stage, &record).and(Err(error)))?;
    told
}

/// One fault after the other, sometimes two at once, until the result counts.
async fn inflict_enough(stage: &Stage, counts: &Counts, form: &Form, random: &mut Random) -> Result<Met> {
    let mut met = Met::new();
    flows(stage, counts).await.context("before any fault")?;
    for _ in 0..form.rounds_max() {
        let mut order = all();
        random.shuffle(&mut order);
        while let Some(fault) = order.pop() {
            if form.missing(&met, counts).is_empty() {
                return Ok(met);
            }
            // Another one, at something else, at the same time.
            let other = order.iter().rposition(|other| other.1 != fault.1);
            let other = other.filter(|_| random.between(1, 10) <= 3).map(|place| order.remove(place));
            let began = Instant::now();
            for (fault, flying) in both(fault, other, stage, counts, (form, random)).await? {
                *met.entry(fault).or_default() += u64::from(flying);
            }
            flows(stage, counts).await.with_context(|| format!("after {fault:?} and {other:?}"))?;
            println!("  answers again {:.1} s after it began", began.elapsed().as_secs_f64());
        }
    }
    Ok(met)
}

async fn both(
    fault: Fault,
    other: Option<Fault>,
    stage: &Stage,
    counts: &Counts,
    (form, random): (&Form, &mut Random),
) -> Result<Vec<(Fault, bool)>> {
    let dice = Dice::throw(fault, random, form.is_long);
    println!("{}", dice.tell(fault));
    let Some(other) = other else { return Ok(vec![(fault, inflict(fault, &dice, stage, counts).await?)]) };
    let more = Dice::throw(other, random, form.is_long);
    println!("  and {}", more.tell(other));
    let (one, two) =
        tokio::try_join!(inflict(fault, &dice, stage, counts), inflict(other, &more, stage, counts))?;
    Ok(vec![(fault, one), (other, two)])
}

/// Waits until requests are answered again, and no process has ended by itself.
async fn flows(stage: &Stage, counts: &Counts) -> Result<()> {
    let (began, before) = (Instant::now(), counts.answered());
    while counts.answered() < before + AGAIN {
        ensure!(began.elapsed() < AGAIN_WITHIN, "no answers for {AGAIN_WITHIN:?}");
        rest::nobody_ended(stage).await?;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
