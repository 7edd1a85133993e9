//! An operator's leader that was frozen, and wakes up when another one leads.

use std::sync::mpsc::{TryRecvError, channel};
use std::time::Duration;

use payplane_e2e::faults::{self, Frozen};
use payplane_e2e::{audit, env, kubectl, tenant, wait};
use serde_json::json;

use crate::s03_payments::ready;

/// The Lease runs out after 15 s, and is asked for every 2 s.
const ANOTHER_WITHIN: Duration = Duration::from_secs(25);
const WATCHED: Duration = Duration::from_secs(10);

#[test]
#[ignore = "long form: make e2e-full"]
fn a_leader_that_thaws_when_another_one_leads_writes_nothing() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let _ = ready("alpha", 60);
    // There is always something to restore: a leader is frozen and thaws in the middle of it.
    // The edits end with this sender, also where the test fails.
    let (going_on, ended) = channel::<()>();
    let edits = std::thread::spawn(move || {
        let edit = json!({"metadata": {"labels": {"payplane.io/component": "other"}}});
        while ended.try_recv() == Err(TryRecvError::Empty) {
            let _ = kubectl::patch(&["service", "gateway", "-n", "ptn-alpha"], &edit);
        }
    });
    for round in 0..2 {
        succeeded(round);
    }
    drop(going_on);
    edits.join().expect("the edits end");
    tenant::await_condition(&["ptn", "alpha"], "Ready", "True", Duration::from_secs(60));
}

/// Freezes the leader until another one leads, and reads what it writes once it is thawed.
fn succeeded(round: u32) {
    let old = faults::leader();
    let frozen = Frozen::freeze(vec![old.clone()]);
    let restarts = || faults::restarts(&faults::pod(&old));
    let asleep = restarts();
    wait::until("another leader", ANOTHER_WITHIN, || {
        let now = faults::leader();
        if now == old { Err(format!("still {now}")) } else { Ok(()) }
    });
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(restarts(), asleep, "the one that thaws is the one that was frozen");
    let offset = audit::end();
    drop(frozen);
    std::thread::sleep(WATCHED);
    let (by_old, by_new): (Vec<_>, Vec<_>) =
        audit::writes(offset).into_iter().partition(|write| old.ends_with(&format!("/{}", write.pod)));
    println!("figure: thawed_leader_writes({round})={}, by its successor {}", by_old.len(), by_new.len());
    assert!(by_old.is_empty(), "{by_old:#?}");
    assert!(by_new.iter().any(|write| write.resource == "services"), "{by_new:#?}");
    assert!(restarts() > asleep, "a leader whose time is over ends");
}
