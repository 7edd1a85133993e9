//! What a tenant no longer has is swept: objects of every kind that bear its
//! label and name it as owner.

use std::time::Duration;

use payplane_e2e::{env, kubectl, tenant, wait};
use serde_json::{Value, json};

use crate::s03_payments::ready;

/// One object of each kind that a tenant's children are of.
fn leftovers() -> Vec<Value> {
    let pod = |more: &Value| {
        let mut spec = json!({"containers": [{"name": "a", "image": "none"}]});
        for (name, value) in more.as_object().into_iter().flatten() {
            spec[name] = value.clone();
        }
        json!({"metadata": {"labels": {"a": "left"}}, "spec": spec})
    };
    let selector = json!({"matchLabels": {"a": "left"}});
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "payplane-tenant-viewer"});
    let none = json!({"replicas": 0, "selector": selector, "template": pod(&json!({}))});
    let job = json!({"suspend": true, "template": pod(&json!({"restartPolicy": "Never"}))});
    vec![
        json!({"apiVersion": "v1", "kind": "ResourceQuota", "spec": {}}),
        json!({"apiVersion": "v1", "kind": "LimitRange", "spec": {"limits": []}}),
        json!({"apiVersion": "v1", "kind": "ServiceAccount"}),
        json!({"apiVersion": "v1", "kind": "ConfigMap"}),
        json!({"apiVersion": "v1", "kind": "Secret"}),
        json!({"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 1}]}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "roleRef": role}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": {"podSelector": selector}}),
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "spec": {"selector": selector}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": none}),
        json!({"apiVersion": "batch/v1", "kind": "Job", "spec": job}),
    ]
}

#[test]
fn leftovers_of_every_kind_are_swept_and_strangers_stay() {
    if !env::cluster() {
        return;
    }
    let _ = ready("alpha", 60);
    let uid = kubectl::get(&["ptn", "alpha"]).expect("it is there")["metadata"]["uid"].clone();
    let owner = json!({"apiVersion": "payplane.io/v1alpha1", "kind": "PaymentTenant", "name": "alpha", "uid": uid, "controller": true});
    let named = |name: &str| json!({"name": name, "namespace": "ptn-alpha", "labels": {"payplane.io/tenant": "alpha"}});
    for mut object in leftovers() {
        object["metadata"] = named("left");
        object["metadata"]["ownerReferences"] = json!([owner]);
        tenant::apply(&object);
    }
    // It bears the label, and nobody owns it.
    tenant::apply(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": named("strangers")}));
    // The parts change, so they are looked through.
    tenant::apply(&tenant::channel("alpha", "swept", 60));
    for object in leftovers() {
        let kind = object["kind"].as_str().expect("a kind");
        wait::until(&format!("{kind} left to be swept"), Duration::from_secs(30), || {
            match kubectl::get(&[kind, "left", "-n", "ptn-alpha"]) {
                None => Ok(()),
                Some(_) => Err("still there".to_owned()),
            }
        });
    }
    let _ = kubectl::ok(&["delete", "pch", "swept", "-n", "ptn-alpha", "--timeout=60s"]);
    let _ = kubectl::ok(&["delete", "configmap", "strangers", "-n", "ptn-alpha"]);
    tenant::await_condition(&["ptn", "alpha"], "Ready", "True", Duration::from_secs(60));
}
