//! A paused tenant: the operator writes nothing but renewed certificates and
//! status, payments go on, a deletion waits.

use std::time::Duration;

use payplane_e2e::audit::{self, OPERATOR};
use payplane_e2e::{env, kubectl, tenant, wait};
use serde_json::{Value, json};

use crate::s03_payments::ready;

const NAMESPACE: &str = "ptn-alpha";

/// Alpha, paused or not, with so many gateways.
fn alpha(paused: bool, gateways: u32) {
    let mut alpha = tenant::development("alpha");
    alpha["spec"]["paused"] = json!(paused);
    alpha["spec"]["components"] = json!({"gateway": {"replicas": gateways}});
    tenant::apply(&alpha);
    let status = if paused { "True" } else { "False" };
    tenant::await_condition(&["ptn", "alpha"], "Paused", status, Duration::from_secs(30));
}

fn get(kind: &str, name: &str) -> Option<Value> {
    kubectl::get(&[kind, name, "-n", NAMESPACE])
}

/// What the operator wrote in this namespace or on this tenant since then.
fn writes(from: u64) -> Vec<String> {
    let log = std::env::var("LAB_AUDIT_LOG").expect("the lab names its audit log");
    let own = |r: &audit::Request| r.namespace == NAMESPACE || r.name == NAMESPACE || r.name == "alpha";
    let (requests, _) = audit::read(&log, from);
    let seen =
        requests.iter().filter(|r| r.user == OPERATOR && r.writes() && own(r) && r.resource != "events");
    seen.map(|r| format!("{} {}", r.resource, r.name)).collect()
}

#[test]
fn a_paused_tenant_pays_and_is_written_to_only_for_certificates_and_status() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let app = ready("alpha", 60);
    let mut going = tenant::channel("alpha", "going", 0);
    going["spec"]["methods"] = json!([{"name": "qr", "fees": [{"currency": "CNY", "basisPoints": 0}]}]);
    tenant::apply(&going);
    tenant::await_condition(&["pch", "going", "-n", NAMESPACE], "Ready", "True", Duration::from_secs(60));
    alpha(true, 1);
    let log = std::env::var("LAB_AUDIT_LOG").expect("the lab names its audit log");
    let from = audit::read(&log, 0).1;
    // Edits of the tenant and its channel wait; what somebody else removes stays away.
    alpha(true, 2);
    tenant::apply(&tenant::channel("alpha", "sim", 333));
    let _ = kubectl::ok(&["delete", "networkpolicy", "migrate", "-n", NAMESPACE]);
    let sim = ["pch", "sim", "-n", NAMESPACE];
    tenant::await_told(&sim, "TenantPaused", "spec.paused", Duration::from_secs(30));
    // A certificate that is due, here because it is gone, is issued all the same.
    let before = get("secret", "admin-client").expect("it is there");
    let _ = kubectl::ok(&["delete", "secret", "admin-client", "-n", NAMESPACE]);
    wait::until("the certificate to be issued anew", Duration::from_secs(30), || {
        match get("secret", "admin-client") {
            Some(now) if now["metadata"]["uid"] != before["metadata"]["uid"] => Ok(()),
            _ => Err("not yet".to_owned()),
        }
    });
    let paid = app.pay(&format!("paused-{}", env::seed()), 10_000, "CNY").expect("payments go on");
    assert_eq!(
        (&paid["status"], &paid["feeMinor"]),
        (&json!("Succeeded"), &json!(60)),
        "on the old fee: {paid}"
    );
    // A deleted channel waits too, with its flow: its payments may be open.
    let _ = kubectl::ok(&["delete", "pch", "going", "-n", NAMESPACE, "--wait=false"]);
    tenant::await_reason(
        &["pch", "going", "-n", NAMESPACE],
        "Ready",
        "TenantPaused",
        Duration::from_secs(30),
    );
    // Long after the edit the ledger still takes what the pods' old config decides.
    std::thread::sleep(Duration::from_secs(10));
    let paid = app.pay(&format!("still-{}", env::seed()), 10_000, "CNY").expect("payments still go on");
    assert_eq!(paid["status"], "Succeeded", "{paid}");
    assert!(get("pch", "going").is_some() && get("networkpolicy", "channel-going").is_some());
    let all = writes(from);
    // Paused, certificate and waiting edits: each condition turns once or twice.
    let status = all.iter().filter(|write| write.contains("/status ")).count();
    assert!(status <= 12, "{status} writes of status: {all:#?}");
    let other: Vec<_> = all
        .into_iter()
        .filter(|write| !write.contains("/status "))
        .filter(|write| !write.starts_with("secrets ") || write.ends_with("-config"))
        .collect();
    assert!(other.is_empty(), "{other:?}");
    assert!(get("networkpolicy", "migrate").is_none(), "it is not restored");
    assert_eq!(get("deployment", "gateway").expect("it is there")["spec"]["replicas"], 1);
    alpha(false, 2);
    tenant::await_healed(&sim, "TenantPaused");
    tenant::await_condition(&["ptn", "alpha"], "Ready", "True", Duration::from_secs(120));
    tenant::await_condition(&sim, "Ready", "True", Duration::from_secs(60));
    assert!(get("networkpolicy", "migrate").is_some(), "now it is restored");
    wait::until("the deleted channel to go", Duration::from_secs(60), || {
        get("pch", "going").map_or(Ok(()), |channel| Err(channel["status"].to_string()))
    });
    assert_eq!(get("deployment", "gateway").expect("it is there")["spec"]["replicas"], 2);
    let paid = app.pay(&format!("resumed-{}", env::seed()), 10_000, "CNY").expect("paid");
    assert_eq!(paid["feeMinor"], 333, "{paid}");
    let _ = ready("alpha", 60);
}

#[test]
#[ignore = "long form: make e2e-full"]
fn the_deletion_of_a_paused_tenant_waits() {
    if !env::cluster() {
        return;
    }
    let app = ready("keeper", 60);
    kubectl::patch(&["ptn", "keeper"], &json!({"spec": {"paused": true}})).expect("accepted");
    tenant::await_condition(&["ptn", "keeper"], "Paused", "True", Duration::from_secs(30));
    let _ = kubectl::ok(&["delete", "ptn", "keeper", "--wait=false"]);
    tenant::await_reason(&["ptn", "keeper"], "Ready", "DeletionPaused", Duration::from_secs(30));
    let paid = app.pay(&format!("waits-{}", env::seed()), 100, "CNY").expect("payments go on");
    assert_eq!(paid["status"], "Succeeded", "{paid}");
    tenant::await_condition(&["ptn", "keeper"], "Available", "True", Duration::from_secs(30));
    kubectl::patch(&["ptn", "keeper"], &json!({"spec": {"paused": false}})).expect("accepted");
    wait::until("the tenant to go", Duration::from_secs(180), || {
        kubectl::get(&["ptn", "keeper"]).map_or(Ok(()), |object| Err(object["status"].to_string()))
    });
}
