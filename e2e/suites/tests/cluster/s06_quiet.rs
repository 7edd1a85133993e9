//! A settled tenant costs no writes, whatever makes the operator look again, and
//! few writes make a tenant.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use payplane_e2e::{audit, books, env, kubectl, lab, rights, tenant, wait};

use crate::s03_payments::ready;
use crate::s06_children::built;

/// What the preparation caused may still be under way.
pub(crate) fn settled() -> u64 {
    let mut offset = audit::end();
    wait::until("ten quiet seconds", Duration::from_secs(90), || {
        std::thread::sleep(Duration::from_secs(10));
        let noise = audit::writes(offset);
        offset = audit::end();
        if noise.is_empty() { Ok(()) } else { Err(format!("{noise:#?}")) }
    });
    offset
}

#[test]
fn a_settled_tenant_costs_no_writes_over_a_relist_and_a_restart() {
    let (true, Some(cluster)) = (env::cluster(), env::lab_cluster()) else { return };
    let _ = ready("alpha", 60);
    let (offset, probes) = (settled(), books::probes("alpha"));
    let begun = Instant::now();
    rights::mark_api_restart();
    println!("{}", lab::run(&["cluster", "restart-api", &cluster]).trim());
    listed_anew(offset);
    let operator = ["deployment/payplane-operator", "-n", "payplane-system"];
    let _ = kubectl::ok(&[&["rollout", "restart"], &operator[..]].concat());
    let _ = kubectl::ok(&[&["rollout", "status", "--timeout=120s"], &operator[..]].concat());
    let (least, restarted) = (Duration::from_secs(if env::full() { 120 } else { 30 }), audit::end());
    // The new leader looks at everything, too.
    std::thread::sleep(least.saturating_sub(begun.elapsed()).max(Duration::from_secs(20)));
    let (since, _) = audit::read(&audit::path(), restarted);
    assert!(since.iter().any(|r| r.is_operators() && r.resource == "leases"), "nobody leads");
    let seen = audit::writes(offset);
    println!("figure: quiet_writes={} in {} s", seen.len(), begun.elapsed().as_secs());
    assert!(seen.is_empty(), "{seen:#?}");
    assert!(probes > 0 && books::probes("alpha") == probes, "nothing changed, so nothing is probed again");
}

/// Waits until the operator listed every kind that it keeps in order once more.
fn listed_anew(from: u64) {
    let plural = |kind: &str| match kind {
        "NetworkPolicy" => "networkpolicies".to_owned(),
        kind => format!("{}s", kind.to_lowercase()),
    };
    let mut wanted: BTreeSet<String> =
        built().iter().map(|object| plural(object["kind"].as_str().expect("a kind"))).collect();
    wanted.extend(["paymenttenants".to_owned(), "channels".to_owned()]);
    wait::until("a list of every kind", Duration::from_secs(90), || {
        let (requests, _) = audit::read(&audit::path(), from);
        let lists = requests
            .iter()
            .filter(|r| r.is_operators() && r.verb == "list" && r.code == 200)
            .filter(|r| r.namespace.is_empty() || r.resource == "secrets");
        // Lists of a single namespace are the reconcile's own.
        let listed: BTreeSet<_> = lists.map(|r| r.resource.clone()).collect();
        let missing: Vec<_> = wanted.difference(&listed).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("not listed again: {missing:?}")) }
    });
}

#[test]
fn few_writes_make_a_tenant() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    tenant::destroy("counted");
    let offset = audit::end();
    let _ = ready("counted", 60);
    let home = |r: &audit::Request| r.namespace == "ptn-counted" || r.name == "ptn-counted";
    let mine = |r: &audit::Request| r.resource != "events" && (home(r) || r.name == "counted");
    let mine: Vec<_> = audit::writes(offset).into_iter().filter(mine).collect();
    // What a write made answers 201.
    let made: BTreeSet<_> = mine.iter().filter(|r| r.code == 201).map(|r| (&r.resource, &r.name)).collect();
    let mut per_object: BTreeMap<_, u32> = BTreeMap::new();
    for write in &mine {
        *per_object.entry((&write.resource, &write.name)).or_default() += 1;
    }
    for (object, count) in per_object.iter().filter(|(object, count)| **count > 1 || !made.contains(*object))
    {
        println!("{object:?}: {count}");
    }
    let rate = mine.len() as f64 / made.len() as f64;
    println!("figure: writes_per_object={rate:.2} ({} writes, {} objects made)", mine.len(), made.len());
    tenant::destroy("counted");
    assert!(made.len() >= 30, "the log shows what was made: {made:?}");
    assert!(rate <= 1.3, "{rate:.2} writes per object");
}
