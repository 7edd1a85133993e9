//! Twice the highest rate: what is done meanwhile, how soon the rest is told to come again,
//! and whether all is as before 5 s later.

use std::time::Duration;

use anyhow::Result;

use super::GatewayArgs;
use super::attempt::warm_up;
use super::mix::Mix;
use super::outcome::Outcome;
use super::plan::Load;
use super::register::APP;
use super::rig::Rig;
use super::slots::Slot;
use super::{drive, settle};
use crate::pace;
use crate::report::{figure, precise, say};

const RECOVERED_AFTER: Duration = Duration::from_secs(5);
const AFTERWARDS_SECONDS: u64 = 10;

pub(super) async fn measure(args: &GatewayArgs, highest: u64) -> Result<()> {
    let rig = Rig::start(Mix::ecdsa(), args.merchants, args.statements).await?;
    warm_up(&rig, highest).await?;
    let load = Load { app: APP, merchants: args.merchants, rate: highest * 2, seconds: args.seconds };
    // Only that: half of what holds, while the backlog is worked off.
    let calm = Load { rate: (highest / 2).max(1), seconds: AFTERWARDS_SECONDS, ..load };
    let run = drive::sign_and_run(&rig, "over", load).await?;
    let during = load.seconds;
    tokio::time::sleep(RECOVERED_AFTER).await;
    let after = drive::sign_and_run(&rig, "after", calm).await?;
    let settled = settle::wait(&rig).await?;
    let outcome = Outcome::count(&run, &settle::posted(&rig, "over").await?)?;
    outcome.print("over", &run);
    let end = during * 1_000_000;
    let ratio = |at: fn(&Slot) -> Option<u64>| {
        let within = run.slots.iter().filter(|slot| at(slot).is_some_and(|at| at <= end)).count();
        precise(within as u64) / precise(during) / precise(highest.max(1))
    };
    // While it lasted. That each is posted and told of in the end is looked at below.
    figure("gateway_overload_completed_ratio", ratio(Slot::succeeded_us), "of the highest rate");
    figure("gateway_overload_notified_ratio", ratio(Slot::notified_us), "of the highest rate");
    figure("gateway_overload_failed", precise(outcome.failed()), "payments");
    figure("gateway_refusal_p99_ms", pace::ms(&outcome.refusal_us, 0.99), "ms");
    figure("gateway_accepted_p99_ms", outcome.p99_ms(), "ms");
    let afterwards = Outcome::count(&after, &settle::posted(&rig, "after").await?)?;
    afterwards.print("after", &after);
    figure("gateway_recovered", f64::from(u8::from(afterwards.is_good())), "of 1");
    say(&format!("overload: nothing owed {:.1} s later", settled.as_secs_f64()));
    settle::agreement(&rig).await
}
