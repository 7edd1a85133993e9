//! Kills the operator's leader the moment the audit log shows its write number n.

use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use payplane_lab::cluster::Cluster;
use payplane_lab::pod::{Fault, Target};

use crate::audit::{self, OPERATOR, Request};
use crate::{env, faults};

/// The operator's writes about one tenant, events left out: a run that is disturbed tells more.
#[must_use]
pub fn writes(requests: Vec<Request>, tenant: &str) -> Vec<Request> {
    let namespace = format!("ptn-{tenant}");
    let about = |r: &Request| r.namespace == namespace || r.name == tenant || r.name == namespace;
    let counts = |r: &Request| r.user == OPERATOR && r.writes() && r.resource != "events";
    requests.into_iter().filter(|r| counts(r) && about(r)).collect()
}

/// Follows the log in a thread of its own.
pub struct Killer {
    thread: Option<JoinHandle<Vec<u32>>>,
    stop: Option<std::sync::mpsc::Sender<()>>,
}

impl Killer {
    /// Kills at each of these write numbers, counted from now on, in their order.
    #[must_use]
    pub fn arm(tenant: &str, mut numbers: Vec<u32>) -> Self {
        let log = std::env::var("LAB_AUDIT_LOG").expect("the lab names its audit log");
        let offset = std::fs::metadata(&log).expect("the audit log is there").len();
        numbers.sort_unstable();
        let (stop, stopped) = channel();
        let tenant = tenant.to_owned();
        let ready = target();
        let thread = std::thread::spawn(move || follow(&log, offset, &tenant, &numbers, ready, &stopped));
        Self { thread: Some(thread), stop: Some(stop) }
    }

    /// Ends, and gives back the numbers at which it killed.
    #[must_use]
    pub fn disarm(mut self) -> Vec<u32> {
        drop(self.stop.take());
        self.thread.take().map(|thread| thread.join().expect("the killer ends well")).unwrap_or_default()
    }
}

fn follow(
    log: &str,
    mut offset: u64,
    tenant: &str,
    numbers: &[u32],
    mut ready: Target,
    stopped: &Receiver<()>,
) -> Vec<u32> {
    let (mut seen, mut killed) = (0u32, vec![]);
    while let (Some(next), Err(std::sync::mpsc::TryRecvError::Empty)) =
        (numbers.get(killed.len()), stopped.try_recv())
    {
        let (requests, end) = audit::read(log, offset);
        offset = end;
        let mut due = false;
        for write in writes(requests, tenant) {
            seen += 1;
            if seen == *next {
                ready.inflict(Fault::Kill).expect("the leader is killed");
                println!("killed at write {seen}: {} {} {}", write.verb, write.resource, write.name);
                due = true;
            }
        }
        if due {
            killed.push(*next);
            ready = target();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    killed
}

/// The leader's processes; waited for, since a killed one comes back in a moment.
fn target() -> Target {
    let cluster = Cluster::open(&env::lab_cluster().expect("the lab kills")).expect("the cluster is there");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    crate::wait::until("the leader's processes", Duration::from_secs(60), || {
        let found = runtime.block_on(Target::find(&cluster, &faults::leader(), None));
        found.map_err(|error| error.to_string())
    })
}
