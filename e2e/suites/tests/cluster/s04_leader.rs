//! An operator's leader that was frozen, and wakes up when another one leads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use payplane_e2e::faults::{self, Frozen};
use payplane_e2e::{audit, env, kubectl, wait};
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
    let old = faults::leader();
    let frozen = Frozen::freeze(vec![old.clone()]);
    wait::until("another leader", ANOTHER_WITHIN, || {
        let now = faults::leader();
        if now == old { Err(format!("still {now}")) } else { Ok(()) }
    });
    // From now on there is always something to restore.
    let ended = Arc::new(AtomicBool::new(false));
    let edits = std::thread::spawn({
        let ended = ended.clone();
        move || {
            let edit = json!({"metadata": {"labels": {"payplane.io/component": "other"}}});
            while !ended.load(Ordering::Relaxed) {
                let _ = kubectl::patch(&["service", "gateway", "-n", "ptn-alpha"], &edit);
            }
        }
    });
    let offset = audit::end();
    std::thread::sleep(Duration::from_secs(2));
    drop(frozen);
    std::thread::sleep(WATCHED);
    ended.store(true, Ordering::Relaxed);
    edits.join().expect("the edits end");
    let (by_old, by_new): (Vec<_>, Vec<_>) =
        audit::writes(offset).into_iter().partition(|write| old.ends_with(&format!("/{}", write.pod)));
    println!("figure: thawed_leader_writes={}, by its successor {}", by_old.len(), by_new.len());
    assert!(by_old.is_empty(), "{by_old:#?}");
    assert!(by_new.iter().any(|write| write.resource == "services"), "{by_new:#?}");
}
