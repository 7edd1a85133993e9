//! One load from its first payment to what came of it, with what it took.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::backlog::{self, Backlog};
use super::outcome::Outcome;
use super::plan::Load;
use super::register::APP;
use super::rig::Rig;
use super::usage::Usage;
use super::{drive, plan, settle, statements};
use crate::report::{figure, precise, say};

const WARM_UP_SECONDS: u64 = 5;

pub(super) struct Attempt {
    pub(super) outcome: Outcome,
    pub(super) backlog: Backlog,
}

impl Attempt {
    pub(super) fn holds(&self, rate: u64) -> bool {
        self.outcome.is_good() && self.backlog.holds(rate)
    }
}

/// A load of the one app, settled and compared. `what` names its figures and its orders.
pub(super) async fn attempt(rig: &Rig, what: &str, load: Load) -> Result<Attempt> {
    let signed = plan::sign(rig, what, &load)?;
    statements::reset(rig).await?;
    let (usage, began, during) =
        (Usage::begin(rig).await?, Instant::now(), Duration::from_secs(load.seconds));
    let (run, backlog) = tokio::join!(drive::run(rig, what, load, signed), backlog::watch(rig, during));
    let (run, backlog) = (run?, backlog?);
    let settled = settle::wait(rig).await?;
    let took = began.elapsed().as_secs_f64();
    let outcome = Outcome::count(&run, &settle::posted(rig, what).await?)?;
    outcome.print(what, &run);
    say(&format!("{what}: {backlog:?}, nothing owed {:.1} s after the last answer", settled.as_secs_f64()));
    usage.figures(what, outcome.completed, took);
    usage.memory(what);
    statements::print(rig, outcome.completed).await?;
    figure(&format!("gateway_refused_yet_paid({what})"), precise(outcome.refused_yet_paid), "payments");
    settle::agreement(rig).await?;
    Ok(Attempt { outcome, backlog })
}

/// What connections, caches and plans need, before anything is measured.
pub(super) async fn warm_up(rig: &Rig, rate: u64) -> Result<()> {
    let load =
        Load { app: APP, merchants: rig.merchants, rate: (rate / 4).max(50), seconds: WARM_UP_SECONDS };
    drive::sign_and_run(rig, "warm", load).await?;
    settle::wait(rig).await?;
    Ok(())
}
