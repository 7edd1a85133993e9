//! What befalls the ledger, its database, and what is between them and their callers.

use std::time::{Duration, Instant};

use payplane_lab::cluster::Cluster;
use payplane_lab::pod::{Fault as Signal, Target};

use super::caller::CALL_MAX;
use super::callers::Callers;
use super::counts::Counts;
use super::proxy;
use crate::random::Random;
use crate::{faults, kubectl, lab, wait};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    KillLedger,
    FreezeLedger,
    /// kill -9 of everything in the primary's pod.
    KillDatabase,
    /// The primary's pod is deleted by force.
    LosePrimary,
    /// No packet passes between a ledger's node and the primary's.
    CutDatabase,
    Connections(proxy::Fault),
}

impl Fault {
    pub const ALL: [Self; 8] = [
        Self::KillLedger,
        Self::FreezeLedger,
        Self::KillDatabase,
        Self::LosePrimary,
        Self::CutDatabase,
        Self::Connections(proxy::Fault::Cut),
        Self::Connections(proxy::Fault::Silence),
        Self::Connections(proxy::Fault::LoseAnswers),
    ];

    #[must_use]
    pub fn is_the_databases(self) -> bool {
        matches!(self, Self::KillDatabase | Self::LosePrimary | Self::CutDatabase)
    }
}

/// What faults are about.
pub struct Scene {
    pub cluster: Cluster,
    pub namespace: String,
    /// In the order of the callers' ledgers: `namespace/name`.
    pub ledgers: Vec<String>,
}

impl Scene {
    /// The processes of a pod, found beforehand: a signal meets what is in flight then.
    ///
    /// # Panics
    /// Where it has none for a minute.
    #[must_use]
    pub fn target(&self, pod: &str) -> Target {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        wait::until("the pod's processes", Duration::from_secs(60), || {
            runtime.block_on(Target::find(&self.cluster, pod, None)).map_err(|error| error.to_string())
        })
    }

    /// Inflicts it. Says whether requests were in flight to what it befell.
    ///
    /// # Panics
    /// Where it cannot be inflicted.
    #[must_use]
    pub fn inflict(&self, fault: Fault, callers: &Callers, primary: &str, random: &mut Random) -> bool {
        let which = usize::try_from(random.draw()).unwrap_or(0) % self.ledgers.len();
        let during = Duration::from_millis(random.between(2_000, 6_000));
        let counts = callers.counts();
        match fault {
            Fault::KillLedger => {
                let target = self.target(&self.ledgers[which]);
                at(counts, Some(which), || signal(&target, Signal::Kill))
            }
            Fault::KillDatabase => {
                let target = self.target(primary);
                at(counts, None, || signal(&target, Signal::Kill))
            }
            Fault::FreezeLedger => {
                let target = self.target(&self.ledgers[which]);
                let flying = at(counts, Some(which), || signal(&target, Signal::Freeze));
                let thaw = scopeguard::guard(target, |target| signal(&target, Signal::Thaw));
                std::thread::sleep(during);
                drop(thaw);
                flying
            }
            Fault::LosePrimary => {
                let name = primary.split('/').next_back().unwrap_or_default();
                let delete = ["delete", "pod", name, "-n", &self.namespace, "--grace-period=0", "--force"];
                at(counts, None, || drop(kubectl::ok(&delete)))
            }
            Fault::CutDatabase => {
                let node = faults::node_of(primary);
                let elsewhere = |n: &usize| faults::node_of(&self.ledgers[*n]) != node;
                let far = (0..self.ledgers.len()).find(elsewhere).expect("they are spread");
                let other = faults::node_of(&self.ledgers[far]);
                let flying =
                    at(counts, Some(far), || drop(lab::run(&["link", "cut", &other, "--from", &node])));
                let heal =
                    scopeguard::guard((), |()| drop(lab::run(&["link", "heal", &other, "--from", &node])));
                std::thread::sleep(during);
                drop(heal);
                flying
            }
            // Longer than callers wait for an answer, and for a sign of life.
            Fault::Connections(proxy::Fault::Silence) => {
                at(counts, None, || callers.suffer(proxy::Fault::Silence, CALL_MAX + Duration::from_secs(3)))
            }
            Fault::Connections(fault) => at(counts, None, || callers.suffer(fault, during / 2)),
        }
    }
}

fn signal(target: &Target, signal: Signal) {
    let met = target.inflict(signal).expect("its processes can be signalled");
    assert!(met > 0, "nothing was met by {signal:?}");
}

/// Does it once requests are in flight to a ledger, or to any; says whether they were.
fn at(counts: &Counts, ledger: Option<usize>, act: impl FnOnce()) -> bool {
    let until = Instant::now() + Duration::from_secs(2);
    loop {
        let flying = counts.in_flight(ledger) > 0;
        if flying || Instant::now() > until {
            act();
            return flying;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
