//! At the end of the run: what the operator asked of the API server in all the
//! suites before. Nothing was forbidden, and every right was needed.

use std::time::Duration;

use payplane_e2e::audit::{self, Request};
use payplane_e2e::rights::{forbidden, rights, unused};
use payplane_e2e::{env, kubectl, tenant, wait};
use serde_json::{Value, json};

/// The tenant and the StorageClass of the planted faults: their refusals are meant.
const PLANTED: &str = "planted";

fn since(offset: u64) -> Vec<Request> {
    audit::read(&audit::path(), offset).0
}

fn meant(request: &Request) -> bool {
    request.name == PLANTED || request.namespace == format!("ptn-{PLANTED}")
}

#[test]
fn nothing_was_forbidden_and_every_right_was_needed() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let all = since(0);
    let operators: Vec<_> = all.iter().filter(|r| r.is_operators()).cloned().collect();
    let refused: Vec<_> = forbidden(&all).into_iter().filter(|r| !meant(r)).collect();
    println!("figure: operator_requests={} forbidden={}", operators.len(), refused.len());
    let (mut granted, mut idle) = (0, vec![]);
    for (kind, role) in [
        ("ClusterRole", &["clusterrole", "payplane-operator"][..]),
        ("ClusterRole", &["clusterrole", "payplane-operator-tenant"]),
        ("Role", &["role", "payplane-operator", "-n", "payplane-system"]),
    ] {
        let live = kubectl::get(role).expect("the chart brings it");
        let by = format!("{kind} {}", role[1]);
        let found = rights(&live["rules"]);
        granted += found.len();
        idle.extend(
            unused(&found, &by, &operators).into_iter().map(|right| format!("{}: {right:?}", role[1])),
        );
        // A right too many, planted in a copy, is found: one that nobody uses, and
        // one that is used by another role, in fewer places.
        let mut more = live["rules"].clone();
        let planted = json!({"apiGroups": ["apps"], "resources": ["daemonsets"], "verbs": ["get"]});
        more.as_array_mut().expect("rules").push(planted);
        let leases = json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["delete", "get"]});
        more.as_array_mut().expect("rules").push(leases);
        let more = rights(&more);
        let found = unused(&more, &by, &operators);
        assert!(found.iter().any(|right| right.resource == "daemonsets"));
        assert!(
            kind == "Role" || found.iter().any(|right| right.resource == "leases" && right.verb == "get")
        );
    }
    println!("figure: rights={granted} unused={}", idle.len());
    assert!(refused.is_empty(), "{refused:#?}");
    assert!(idle.is_empty(), "nobody needed:\n{}", idle.join("\n"));
}

/// A tenant that stops short of a database.
fn small() -> Value {
    let mut small = tenant::development(PLANTED);
    small["spec"]["database"] = json!({"managed": {"storage": {"className": PLANTED}}});
    small
}

/// Takes rules away for as long as `during` runs.
fn without(rule: impl Fn(&Value) -> bool, during: impl FnOnce()) {
    let before = kubectl::get(&["clusterrole", "payplane-operator"]).expect("the chart brings it");
    let mut less = before.clone();
    less["rules"].as_array_mut().expect("rules").retain(|r| !rule(r));
    assert_ne!(less["rules"], before["rules"], "there was such a rule");
    write_role(&less);
    std::thread::sleep(Duration::from_secs(2));
    let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(during));
    write_role(&before);
    if let Err(said) = said {
        std::panic::resume_unwind(said);
    }
}

/// As helm, so that its next upgrade finds nobody else's fields.
fn write_role(role: &Value) {
    let metadata = &role["metadata"];
    let metadata = json!({
        "name": metadata["name"], "labels": metadata["labels"], "annotations": metadata["annotations"],
    });
    let applied = json!({
        "apiVersion": role["apiVersion"], "kind": role["kind"], "metadata": metadata, "rules": role["rules"],
    });
    let args = ["apply", "--server-side", "--field-manager=helm", "--force-conflicts", "-f", "-"];
    kubectl::told(&kubectl::run(&args, Some(&applied.to_string()))).expect("an administrator may");
}

#[test]
fn without_bind_no_tenant_is_made_and_it_heals() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    without(
        |rule| rule["verbs"] == json!(["bind"]),
        || {
            tenant::apply(&small());
            let said =
                tenant::await_reason(&["ptn", PLANTED], "Ready", "ApplyFailed", Duration::from_secs(60));
            let (_, _, message) = tenant::condition(&said, "Ready").expect("just seen");
            assert!(message.contains("RoleBinding") && message.contains("Forbidden"), "{message}");
        },
    );
    tenant::await_reason(&["ptn", PLANTED], "Ready", "StorageClassMissing", Duration::from_secs(60));
    tenant::destroy(PLANTED);
}

#[test]
#[ignore = "long form: make e2e-full"]
fn a_rule_that_is_removed_is_found_in_the_log() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let offset = audit::end();
    without(
        |rule| rule["resources"] == json!(["storageclasses"]),
        || {
            tenant::apply(&small());
            wait::until("the refusal in the log", Duration::from_secs(60), || {
                let all = since(offset);
                let found = forbidden(&all).into_iter().any(|r| r.resource == "storageclasses");
                if found { Ok(()) } else { Err("none".to_owned()) }
            });
        },
    );
    tenant::await_reason(&["ptn", PLANTED], "Ready", "StorageClassMissing", Duration::from_secs(60));
    tenant::destroy(PLANTED);
}
