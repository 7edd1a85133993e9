//! The operator is killed at its n-th write; whatever n is, the end is that of
//! an undisturbed run, object by object.

use std::time::Duration;

use payplane_e2e::killer::{self, Killer};
use payplane_e2e::random::Random;
use payplane_e2e::snapshot::{self, Snapshot};
use payplane_e2e::{audit, env, kubectl, tenant, wait};
use serde_json::json;

const NAME: &str = "crash";
const PHASES: [&str; 3] = ["creation", "edit", "deletion"];
const SETTLE_MAX: Duration = Duration::from_secs(180);

fn create() {
    tenant::ready(&tenant::development(NAME), 60);
}

fn edit() {
    let mut object = tenant::development(NAME);
    object["spec"]["displayName"] = json!("Edited");
    object["spec"]["components"] = json!({"ledger": {"replicas": 2}});
    object["spec"]["network"]["ingressFrom"]["namespaces"] = json!(["merchants", "simnet"]);
    tenant::apply(&object);
    tenant::apply(&tenant::channel(NAME, "sim", 75));
    tenant::await_condition(&["ptn", NAME], "Ready", "True", SETTLE_MAX);
    let target = ["pch", "sim", "-n", &format!("ptn-{NAME}")];
    tenant::await_condition(&target, "Ready", "True", SETTLE_MAX);
}

fn delete() {
    tenant::destroy(NAME);
    wait::until("the namespace to go", SETTLE_MAX, || {
        match kubectl::get(&["namespace", &format!("ptn-{NAME}")]) {
            None => Ok(()),
            Some(still) => Err(still["status"].to_string()),
        }
    });
}

/// The state at the end of each phase, and the writes that each took.
fn life(mut kills: [Vec<u32>; 3]) -> ([Snapshot; 3], [u32; 3]) {
    let log = std::env::var("LAB_AUDIT_LOG").expect("the lab names its audit log");
    let mut ends: [Snapshot; 3] = Default::default();
    let mut counts = [0; 3];
    for (at, phase) in [create as fn(), edit, delete].into_iter().enumerate() {
        let from = std::fs::metadata(&log).expect("the audit log is there").len();
        let wanted = std::mem::take(&mut kills[at]);
        let killer = (!wanted.is_empty()).then(|| Killer::arm(NAME, wanted.clone()));
        phase();
        // Kills that come after the last wanted state still count.
        std::thread::sleep(Duration::from_secs(2));
        let killed = killer.map(Killer::disarm).unwrap_or_default();
        assert_eq!(killed, wanted, "{}: the operator made fewer writes than the undisturbed one", PHASES[at]);
        if !killed.is_empty() && at < 2 {
            // What was cut off is taken up again.
            tenant::await_condition(&["ptn", NAME], "Ready", "True", SETTLE_MAX);
        }
        ends[at] = snapshot::of_tenant(NAME);
        let made = killer::writes(audit::read(&log, from).0, NAME);
        counts[at] = u32::try_from(made.len()).unwrap_or(u32::MAX);
        println!("figure: writes_of_{}={} writes, killed at {killed:?}", PHASES[at], counts[at]);
    }
    (ends, counts)
}

#[test]
fn the_end_is_the_same_wherever_the_operator_is_killed() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    tenant::destroy(NAME);
    let mut random = Random::printed("kills", env::seed());
    let (wanted, counts) = life(Default::default());
    assert!(wanted[0].len() > 20, "a snapshot of so few objects compares nothing: {}", wanted[0].len());
    assert!(wanted[2].is_empty(), "undisturbed, deletion leaves {:?}", wanted[2].keys());
    // Twenty numbers in five lives, none twice; four in one for the short form.
    let lives = if env::full() { 5 } else { 1 };
    let mut draw = |phase: usize, count: usize| {
        // The last one is left out: a disturbed run may need one less.
        let mut all: Vec<u32> = (1..counts[phase].max(2)).collect();
        random.shuffle(&mut all);
        // A phase of few writes is killed at each, and then again.
        all.into_iter().cycle().take(count).collect::<Vec<u32>>()
    };
    let [creation, edits, deletions] =
        [(0, 2 * lives), (1, lives), (2, lives)].map(|(phase, n)| draw(phase, n));
    for life_number in 0..lives {
        let mut first = creation[2 * life_number..2 * life_number + 2].to_vec();
        first.sort_unstable();
        let (found, _) = life([first, vec![edits[life_number]], vec![deletions[life_number]]]);
        for (at, phase) in PHASES.iter().enumerate() {
            let differences = snapshot::differences(&wanted[at], &found[at]);
            assert!(differences.is_empty(), "life {life_number}, after {phase}:\n{}", differences.join("\n"));
        }
    }
}
