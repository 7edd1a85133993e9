//! What befalls gateway, ledger, database and simulated networks.

use std::time::{Duration, Instant};

use anyhow::Result;
use payplane_e2e::chaos::proxy;
use payplane_testkit::random::Random;

use super::counts::Counts;
use super::links::{NETWORKS, suffer};
use super::stage::{REPLICAS, Stage};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// SIGKILL, or an immediate shutdown of the database; and a start.
    Kill,
    /// SIGSTOP and SIGCONT.
    Freeze,
    /// Its connections are cut, silenced, torn or late; answers are lost, requests overtaken.
    Cut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    Gateway,
    Ledger,
    Database,
    Simulator,
}

pub(super) type Fault = (Kind, Target);

/// Each kind of fault at each target.
pub(super) fn all() -> Vec<Fault> {
    let targets = [Target::Gateway, Target::Ledger, Target::Database, Target::Simulator];
    let kinds = [Kind::Kill, Kind::Freeze, Kind::Cut];
    targets.into_iter().flat_map(|target| kinds.map(|kind| (kind, target))).collect()
}

const WAYS: [proxy::Fault; 6] = [
    proxy::Fault::Cut,
    proxy::Fault::Silence,
    proxy::Fault::LoseAnswers,
    proxy::Fault::Tear,
    proxy::Fault::Delay,
    proxy::Fault::Overtake,
];

/// How long, and how much, by the dice.
pub(super) struct Dice {
    which: usize,
    all_ways: bool,
    way: proxy::Fault,
    during: Duration,
    quits: bool,
}

impl Dice {
    /// In the long form some faults last longer than anybody waits for an answer (5 s),
    /// and some freezes of a gateway longer than what it took is its own (30 s).
    pub(super) fn throw((kind, target): Fault, random: &mut Random, is_long: bool) -> Self {
        let (least, most) = match random.between(1, 10) {
            1 if is_long && kind == Kind::Freeze && target == Target::Gateway => (31_000, 34_000),
            1..=3 if is_long => (5_500, 9_000),
            _ if is_long => (1_000, 4_000),
            _ => (600, 1_500),
        };
        Self {
            which: usize::try_from(random.draw() % REPLICAS as u64).unwrap_or(0),
            all_ways: random.between(0, 1) == 1,
            way: WAYS[usize::try_from(random.draw() % WAYS.len() as u64).unwrap_or(0)],
            during: Duration::from_millis(random.between(least, most)),
            quits: random.between(0, 1) == 1,
        }
    }

    pub(super) fn tell(&self, (kind, target): Fault) -> String {
        let Self { which, way, during, all_ways, quits } = self;
        let how = match (kind, target) {
            (Kind::Cut, _) => format!(" ({way:?}, all of them: {all_ways})"),
            (Kind::Kill, Target::Database) if *quits => " (immediate shutdown)".to_owned(),
            _ => String::new(),
        };
        let which = if matches!(target, Target::Gateway | Target::Ledger) { which } else { &0 };
        format!("{kind:?} {target:?} {which}{how} for {:.1} s", during.as_secs_f64())
    }
}

/// Inflicts a fault, and ends it. Says whether requests were under way when it struck.
pub(super) async fn inflict(
    (kind, target): Fault,
    dice: &Dice,
    stage: &Stage,
    counts: &Counts,
) -> Result<bool> {
    let gateway = (target == Target::Gateway).then_some(dice.which);
    match kind {
        Kind::Cut => {
            let links = links(target, dice, stage);
            let flying = under_way(counts, gateway).await;
            suffer(&links, Some(dice.way));
            tokio::time::sleep(dice.during).await;
            suffer(&links, None);
            Ok(flying)
        }
        _ if target == Target::Database => database(kind, dice, stage, counts).await,
        _ => {
            let process = match target {
                Target::Gateway => &stage.gateways[dice.which],
                Target::Ledger => &stage.ledgers[dice.which],
                _ => &stage.simulator,
            };
            let mut process = process.lock().await;
            let flying = under_way(counts, gateway).await;
            if kind == Kind::Kill {
                process.kill_9()?;
                tokio::time::sleep(dice.during / 3).await;
                process.start_again()?;
            } else {
                process.signal("STOP")?;
                tokio::time::sleep(dice.during).await;
                process.signal("CONT")?;
            }
            Ok(flying)
        }
    }
}

async fn database(kind: Kind, dice: &Dice, stage: &Stage, counts: &Counts) -> Result<bool> {
    let mut postgres = stage.postgres.lock().await;
    let flying = under_way(counts, None).await;
    match kind {
        Kind::Freeze => {
            postgres.freeze()?;
            tokio::time::sleep(dice.during).await;
            postgres.thaw()?;
        }
        _ => {
            if dice.quits {
                postgres.quit()?;
            } else {
                postgres.kill_9()?;
            }
            tokio::time::sleep(dice.during / 3).await;
            postgres.launch().await?;
        }
    }
    Ok(flying)
}

/// The ways to a target: of one replica, or all of them.
fn links<'a>(target: Target, dice: &Dice, stage: &'a Stage) -> Vec<&'a proxy::Proxy> {
    let links = &stage.links;
    let some = |all: Vec<&'a proxy::Proxy>| {
        let which = dice.which % all.len().max(1);
        if dice.all_ways { all } else { all.into_iter().skip(which).take(1).collect() }
    };
    match target {
        Target::Gateway => vec![&links.shop[dice.which], &links.notices],
        Target::Ledger => some(links.books.iter().collect()),
        Target::Database => some(links.gateway_database.iter().chain(&links.ledger_database).collect()),
        // The first channel's alone, so that the second has its turn; or all.
        Target::Simulator => {
            let taken = if dice.all_ways { NETWORKS } else { 1 };
            links.networks.iter().flat_map(|networks| networks.iter().take(taken)).collect()
        }
    }
}

/// Waits until requests are under way to a gateway, or to any; a moment at most.
async fn under_way(counts: &Counts, gateway: Option<usize>) -> bool {
    let until = Instant::now() + Duration::from_secs(2);
    while counts.in_flight(gateway) <= 0 {
        if Instant::now() > until {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    true
}
