//! A Production-sized tenant: it grows out of a Development-sized one, stands on
//! nodes and zones of its own, and cannot shrink again.

use std::collections::BTreeSet;
use std::time::Instant;

use payplane_e2e::{books, env, kubectl, tenant};
use serde_json::{Value, json};

use crate::s03_payments::{ready, register};

const NAMESPACE: &str = "ptn-bank";

fn production() -> Value {
    let mut bank = tenant::development("bank");
    bank["spec"]["profile"] = json!("Production");
    bank
}

/// The nodes, and their zones, of pods with these labels.
fn places(labels: &str) -> (Vec<String>, BTreeSet<String>) {
    let pods = kubectl::list(&["pods", "-n", NAMESPACE, "-l", labels]);
    let nodes: Vec<_> =
        pods.iter().map(|pod| pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned()).collect();
    let zone = |node: &String| {
        let node = kubectl::get(&["node", node]).expect("the node is there");
        node["metadata"]["labels"]["topology.kubernetes.io/zone"].as_str().unwrap_or_default().to_owned()
    };
    let zones = nodes.iter().map(zone).collect();
    (nodes, zones)
}

fn distinct(nodes: &[String]) -> usize {
    nodes.iter().collect::<BTreeSet<_>>().len()
}

/// Nodes say where they stand, and together offer no more than the machine has.
fn nodes_are_believable() {
    let nodes = kubectl::list(&["nodes"]);
    let machine = std::fs::read_to_string("/proc/meminfo").expect("this machine's memory");
    let machine: u64 = machine.split_whitespace().nth(1).expect("MemTotal").parse().expect("kB");
    let mut memory = 0;
    for node in &nodes {
        for label in ["topology.kubernetes.io/zone", "topology.kubernetes.io/region"] {
            assert!(node["metadata"]["labels"][label].is_string(), "{label}: {}", node["metadata"]["name"]);
        }
        let kilobytes = node["status"]["allocatable"]["memory"].as_str().expect("it is told");
        memory += kilobytes.trim_end_matches("Ki").parse::<u64>().expect("kB");
    }
    assert!(memory <= machine, "{memory} kB of {machine} kB are offered");
}

/// What depends on another field, or may change with a release, is told as it was resolved.
fn defaults_are_told() {
    let effective = kubectl::get(&["ptn", "bank"]).expect("it is there")["status"]["effective"].clone();
    for (field, value) in [
        ("/profile", json!("Production")),
        ("/database/managed/instances", json!(3)),
        ("/database/managed/synchronousStandbys", json!(1)),
        ("/database/managed/storage/size", json!("10Gi")),
        ("/database/managed/parameters/max_connections", json!("100")),
        ("/components/gateway/replicas", json!(2)),
    ] {
        assert_eq!(effective.pointer(field), Some(&value), "{field} of {effective}");
    }
}

/// Three instances on three nodes and in three zones; one standby must have each commit.
fn database_stands() {
    let (nodes, zones) = places("cnpg.io/podRole=instance");
    assert_eq!((nodes.len(), distinct(&nodes), zones.len()), (3, 3, 3), "{nodes:?} {zones:?}");
    let names = books::sql("bank", "show synchronous_standby_names");
    assert!(names.trim().starts_with("ANY 1 ("), "{names}");
    let sync = "select count(*) from pg_stat_replication where state = 'streaming' and sync_state in ('quorum', 'sync')";
    assert_eq!(books::sql("bank", sync).trim(), "2", "both standbys can give the required copy");
    for (setting, value) in [("synchronous_commit", "on"), ("fsync", "on"), ("full_page_writes", "on")] {
        assert_eq!(books::sql("bank", &format!("show {setting}")).trim(), value, "{setting}");
    }
    let claims = kubectl::list(&["pvc", "-n", NAMESPACE, "-l", "cnpg.io/cluster=database"]);
    let sizes: Vec<_> = claims.iter().map(|claim| &claim["status"]["capacity"]["storage"]).collect();
    assert_eq!(sizes, [&json!("10Gi"); 3], "every volume has grown");
}

#[test]
fn a_development_tenant_grows_to_production_and_keeps_its_books() {
    if !env::cluster() {
        return;
    }
    tenant::destroy("bank");
    let started = Instant::now();
    let app = ready("bank", 60);
    let order = format!("small-{}", env::seed());
    let paid = app.pay(&order, 8_000, "CNY").expect("paid while it is small");
    let claim = kubectl::get(&["pvc", "database-1", "-n", NAMESPACE]).expect("a volume");
    println!("figure: development_ready={} s", started.elapsed().as_secs());
    // A standby is copied after a checkpoint, and PostgreSQL takes its time for one that nobody hurries.
    let _ = books::sql("bank", "CHECKPOINT");
    let grown = Instant::now();
    tenant::ready(&production(), 60);
    println!("figure: development_to_production={} s", grown.elapsed().as_secs());
    // Ready at this generation: no part of it is still on its way.
    database_stands();
    defaults_are_told();
    if env::lab_cluster().is_some() {
        nodes_are_believable();
    }
    let after = kubectl::get(&["pvc", "database-1", "-n", NAMESPACE]).expect("a volume");
    assert_eq!(after["metadata"]["uid"], claim["metadata"]["uid"], "the first volume is the same one");
    for component in ["gateway", "ledger"] {
        let (nodes, zones) = places(&format!("payplane.io/component={component}"));
        assert_eq!(
            (nodes.len(), distinct(&nodes), zones.len()),
            (2, 2, 2),
            "{component}: {nodes:?} {zones:?}"
        );
    }
    let app = register("bank");
    let date = paid["orderDate"].as_str().expect("a date");
    assert_eq!(
        app.refund(date, &order, "R1", 3_000).expect("the old payment is refunded")["status"],
        "Succeeded"
    );
    let paid = app.pay(&format!("large-{}", env::seed()), 9_000, "CNY").expect("paid");
    assert_eq!(paid["status"], "Succeeded", "{paid}");
    books::assert_balanced("bank");
    shrinks_in_no_way();
    // The chaos suite, which is the next one, goes on with it.
}

fn shrinks_in_no_way() {
    let refused = |patch: Value, words: &str| {
        let said = kubectl::patch(&["ptn", "bank", "--dry-run=server"], &json!({"spec": patch}));
        assert!(said.as_ref().is_err_and(|e| e.contains(words)), "{patch}: {said:?}");
    };
    refused(json!({"profile": "Development"}), "profile may grow, not shrink");
    refused(json!({"database": {"managed": {"instances": 2}}}), "at least 3 instances");
    refused(json!({"database": {"managed": {"storage": {"size": "9Gi"}}}}), "storage may only grow");
    refused(json!({"components": {"gateway": {"replicas": 1}}}), "at least 2 replicas");
}
