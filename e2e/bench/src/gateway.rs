//! `bench gateway`: payments of merchants over two gateways, open loop. A payment counts
//! only when it has succeeded, is posted, and its signed notification was taken; latency
//! is from the moment at which it was to be sent to the first word of its success.

mod attempt;
mod backlog;
mod drive;
mod fair;
mod mix;
mod outcome;
mod overload;
mod parts;
mod plan;
mod process;
mod receiver;
mod register;
mod rig;
mod search;
mod settle;
mod slots;
mod statements;
mod usage;

use std::time::Duration;

use anyhow::{Result, ensure};

use self::attempt::{attempt, warm_up};
use self::mix::Mix;
use self::plan::Load;
use self::register::APP;
use self::rig::Rig;
use crate::pace;
use crate::report::{figure, precise, settings};
use crate::{machine, signs};

#[derive(clap::Args)]
pub(crate) struct GatewayArgs {
    /// How long a rate must hold.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Payments a second of the first run, and where the search for the highest rate begins.
    #[arg(long, default_value_t = 1_000)]
    rate: u64,
    /// Merchants that are paid, in turn.
    #[arg(long, default_value_t = 1_000)]
    merchants: usize,
    /// Only this part.
    #[arg(long)]
    only: Option<Part>,
    /// Take --rate for the highest rate that holds, without looking for it.
    #[arg(long)]
    no_search: bool,
    /// Print what each payment cost PostgreSQL, by statement.
    #[arg(long)]
    statements: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// The rate, once spread over all merchants, and once on a single one.
    Run1,
    /// 300 a second over all networks in equal shares, three of them with RSA-2048 and
    /// payments that their notifications tell of.
    Mixed,
    /// The rate over UnionPay with an SM3 key and a bank's core, in equal shares.
    Keyed,
    /// The highest rate that holds.
    Max,
    /// Twice that rate.
    Overload,
    /// An app that behaves beside one that floods.
    Fair,
}

pub(crate) async fn run(args: &GatewayArgs) -> Result<()> {
    ensure!(args.merchants > 0 && args.rate > 0 && args.seconds > 0, "there must be something to do");
    settings(rig::SETTINGS);
    let _early = machine::WritesEarly::set()?;
    limits()?;
    let wanted = |part| args.only.is_none_or(|only| only == part);
    let errors = if wanted(Part::Run1) { first(args).await? } else { 0 };
    let errors = if wanted(Part::Mixed) { errors + mixed(args).await? } else { errors };
    let errors = if wanted(Part::Keyed) { errors + keyed(args).await? } else { errors };
    let searched = wanted(Part::Max) && !args.no_search;
    let highest = if searched { search::highest(args).await? } else { args.rate };
    if wanted(Part::Overload) {
        overload::measure(args, highest).await?;
    }
    if wanted(Part::Fair) {
        fair::measure(args, highest).await?;
    }
    ensure!(errors == 0, "{errors} payments of the first runs were refused, failed or not told of");
    Ok(())
}

/// Payments a second over all networks, where none is asked for.
const MIXED_RATE: u64 = 300;

/// What this machine gives, on the spot.
fn limits() -> Result<()> {
    let second = Duration::from_secs(1);
    let (syncs, p99_ms) = machine::fdatasync(second)?;
    figure("fdatasync", syncs, "1/s");
    figure("fdatasync_p99", p99_ms, "ms");
    figure("rsa_2048_signs(one core)", signs::rsa_2048(second)?, "1/s");
    figure("ecdsa_p256_signs(one core)", signs::ecdsa_p256(second)?, "1/s");
    Ok(())
}

/// All networks in equal shares.
async fn mixed(args: &GatewayArgs) -> Result<u64> {
    let rate = if args.only == Some(Part::Mixed) { args.rate } else { MIXED_RATE };
    let rig = Rig::start(Mix::all(), args.merchants, args.statements).await?;
    warm_up(&rig, rate).await?;
    let load = Load { app: APP, merchants: args.merchants, rate, seconds: args.seconds };
    let outcome = attempt(&rig, "mixed", load).await?.outcome;
    figure("gateway_mixed_tps", outcome.tps(load.seconds), "1/s");
    figure("gateway_mixed_p99_ms", outcome.p99_ms(), "ms");
    figure("gateway_mixed_errors", precise(outcome.sent - outcome.completed), "payments");
    Ok(outcome.sent - outcome.completed)
}

/// UnionPay by an SM3 key, and a bank's core.
async fn keyed(args: &GatewayArgs) -> Result<u64> {
    let rig = Rig::start(Mix::keyed(), args.merchants, args.statements).await?;
    warm_up(&rig, args.rate).await?;
    let load = Load { app: APP, merchants: args.merchants, rate: args.rate, seconds: args.seconds };
    let outcome = attempt(&rig, "keyed", load).await?.outcome;
    figure("gateway_keyed_tps", outcome.tps(load.seconds), "1/s");
    figure("gateway_keyed_p99_ms", outcome.p99_ms(), "ms");
    figure("gateway_keyed_errors", precise(outcome.sent - outcome.completed), "payments");
    Ok(outcome.sent - outcome.completed)
}

/// The rate that is asked for, on all merchants and on a hot one; says how many errors there were.
async fn first(args: &GatewayArgs) -> Result<u64> {
    let rig = Rig::start(Mix::ecdsa(), args.merchants, args.statements).await?;
    warm_up(&rig, args.rate).await?;
    let spread = Load { app: APP, merchants: args.merchants, rate: args.rate, seconds: args.seconds };
    let hot = Load { merchants: 1, ..spread };
    let mut errors = 0;
    for (what, prefix, load) in [("run1", "gateway", spread), ("hot", "gateway_hot", hot)] {
        let outcome = attempt(&rig, what, load).await?.outcome;
        let wrong = outcome.sent - outcome.completed;
        figure(&format!("{prefix}_tps"), outcome.tps(load.seconds), "1/s");
        figure(&format!("{prefix}_p99_ms"), outcome.p99_ms(), "ms");
        figure(&format!("{prefix}_errors"), precise(wrong), "payments");
        figure(&format!("{prefix}_notify_p99_ms"), pace::ms(&outcome.notify_us, 0.99), "ms");
        figure(&format!("{prefix}_notify_late"), precise(outcome.late_notifications), "notifications");
        errors += wrong;
    }
    Ok(errors)
}
