//! A cluster without CloudNativePG: the tenant says so, and heals by itself
//! when it is installed. First of all suites: its kinds may go only while
//! there are no books.

use std::time::Duration;

use payplane_e2e::{env, kubectl, tenant};
use serde_json::{Value, json};

use crate::s03_payments::ready;

const KIND: &str = "clusters.postgresql.cnpg.io";

/// A manifest of what is there now.
fn manifest(mut live: Value) -> Value {
    let metadata = &live["metadata"];
    live["metadata"] = json!({
        "name": metadata["name"], "labels": metadata["labels"], "annotations": metadata["annotations"],
    });
    live.as_object_mut().map(|fields| fields.remove("status"));
    live
}

#[test]
fn a_tenant_waits_for_cloudnativepg_and_says_so() {
    if !env::cluster() {
        return;
    }
    if !kubectl::list(&[KIND, "-A"]).is_empty() {
        assert!(!env::required(), "this cluster holds books already: the suite comes first");
        println!("not run: this cluster holds books already");
        return;
    }
    let kind = manifest(kubectl::get(&["crd", KIND]).expect("CloudNativePG is there"));
    let _ = kubectl::ok(&["delete", "crd", KIND, "--timeout=60s"]);
    tenant::apply(&tenant::development("alpha"));
    let missing =
        tenant::await_reason(&["ptn", "alpha"], "Ready", "DatabaseOperatorMissing", Duration::from_secs(60));
    let (_, _, message) = tenant::condition(&missing, "Ready").expect("it has the condition");
    assert!(message.contains("Install CloudNativePG"), "{message}");

    tenant::apply(&kind);
    let operator = ["deploy/cnpg-controller-manager", "-n", "cnpg-system"];
    let _ = kubectl::ok(&[&["rollout", "restart"], &operator[..]].concat());
    let _ = kubectl::ok(&[&["rollout", "status", "--timeout=120s"], &operator[..]].concat());
    // The same generation: nobody touched the tenant.
    let healed = tenant::await_condition(&["ptn", "alpha"], "Ready", "True", Duration::from_secs(300));
    assert_eq!(healed["metadata"]["generation"], missing["metadata"]["generation"]);
    let _ = ready("alpha", 60);
}
