//! Faults under load: whatever is killed or frozen, what was acknowledged is in
//! the books once, and payments go on.

use std::time::Duration;

use jiff::Timestamp;
use payplane_e2e::load::{Load, Options};
use payplane_e2e::merchant::App;
use payplane_e2e::random::Random;
use payplane_e2e::{books, env, faults, kubectl, tenant, wait};
use serde_json::json;

use crate::s05_live_config::two_gateways;

/// A killed process is back, and payments with it, within this time.
const RESTART_MAX: Duration = Duration::from_secs(60);
const WHOLE_AGAIN_MAX: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill(Victim),
    Freeze(Victim),
}

#[derive(Clone, Copy, Debug)]
enum Victim {
    Gateway,
    Ledger,
    Primary,
    Operator,
    Simulator,
}

impl Victim {
    fn pod(self, tenant: &str, random: &mut Random) -> String {
        let one_of = |names: Vec<String>, random: &mut Random| {
            let at = random.between(0, names.len().max(1) as u64 - 1);
            names.get(usize::try_from(at).unwrap_or(0)).expect("a pod runs").clone()
        };
        let namespace = format!("ptn-{tenant}");
        match self {
            Self::Gateway => one_of(faults::pods(&namespace, "payplane.io/component=gateway"), random),
            Self::Ledger => one_of(faults::pods(&namespace, "payplane.io/component=ledger"), random),
            Self::Primary => faults::primary(tenant),
            Self::Operator => faults::leader(),
            Self::Simulator => one_of(faults::pods("simnet", "app.kubernetes.io/name=simulator"), random),
        }
    }
}

/// Makes a fault, and waits until payments that came after it succeed.
fn suffer(fault: Fault, load: &Load, tenant: &str, random: &mut Random) {
    let (Fault::Kill(victim) | Fault::Freeze(victim)) = fault;
    let pod = wait::until("a pod that runs", RESTART_MAX, || {
        let pod = victim.pod(tenant, random);
        if faults::runs(&pod) { Ok(pod) } else { Err(format!("{pod} is down")) }
    });
    match fault {
        Fault::Kill(_) => faults::inflict("kill", &pod),
        Fault::Freeze(_) => {
            faults::inflict("freeze", &pod);
            std::thread::sleep(Duration::from_secs(random.between(2, 8)));
            faults::inflict("thaw", &pod);
        }
    }
    let again = load.await_success(Timestamp::now(), RESTART_MAX);
    println!("figure: pays_again_after({fault:?})={} ms", again.as_millis());
    std::thread::sleep(Duration::from_millis(random.between(1000, 4000)));
}

/// The network and the client that keeps the record live on a node that no fault meets.
pub(crate) fn outsiders_are_spared() {
    for namespace in ["simnet", "merchants"] {
        for pod in kubectl::list(&["pods", "-n", namespace]) {
            let node = pod["spec"]["nodeName"].as_str().expect("it runs");
            let labels = kubectl::get(&["node", node]).expect("a node")["metadata"]["labels"].clone();
            assert!(labels["e2e.payplane.io/spared"].is_string(), "{namespace} is out of the faults' way");
        }
    }
}

pub(crate) fn kills_and_freezes(app: &App, rounds: usize) {
    outsiders_are_spared();
    use Victim::{Gateway, Ledger, Operator, Primary, Simulator};
    let mut random = Random::printed("faults", env::seed());
    let load = Load::start(app, "faults", &Options::fifty(random.draw()));
    let began = Timestamp::now();
    for _ in 0..rounds {
        let mut order = [
            Fault::Kill(Gateway),
            Fault::Kill(Ledger),
            Fault::Kill(Primary),
            Fault::Kill(Operator),
            Fault::Kill(Simulator),
            Fault::Freeze(Gateway),
            Fault::Freeze(Ledger),
        ];
        random.shuffle(&mut order);
        for fault in order {
            suffer(fault, &load, &app.tenant, &mut random);
        }
    }
    let ended = Timestamp::now();
    let run = load.stop();
    println!("figure: longest_gap_under_kills={} ms", run.longest_gap(began, ended).as_millis());
    run.assert_booked();
    tenant::await_condition(&["ptn", &app.tenant], "Ready", "True", Duration::from_secs(60));
}

#[test]
fn killed_and_frozen_processes_lose_and_double_nothing() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    kills_and_freezes(&two_gateways("live"), if env::full() { 3 } else { 1 });
}

/// A Production-sized tenant, and its merchant's app.
pub(crate) fn production(name: &str) -> App {
    let mut object = tenant::development(name);
    object["spec"]["profile"] = json!("Production");
    tenant::ready(&object, 60);
    whole(name);
    crate::s03_payments::register(name)
}

/// Waits until every instance of the database is ready, PostgreSQL itself streams
/// to both standbys, and the tenant says so.
pub(crate) fn whole(name: &str) -> Duration {
    let began = std::time::Instant::now();
    wait::until("three healthy instances", WHOLE_AGAIN_MAX, || match faults::instances(name) {
        (3, 3) => {
            match books::try_sql(name, "select count(*) from pg_stat_replication where state = 'streaming'") {
                Ok(streaming) if streaming.trim() == "2" => Ok(()),
                other => Err(format!("streaming: {other:?}")),
            }
        }
        (ready, wanted) => Err(format!("{ready} of {wanted}")),
    });
    tenant::await_condition(&["ptn", name], "Ready", "True", Duration::from_secs(120));
    began.elapsed()
}
