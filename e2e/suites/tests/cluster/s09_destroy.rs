//! Books are destroyed only by their own id, and then nothing at all is left.

use std::path::Path;
use std::time::Duration;

use payplane_e2e::{env, kubectl, tenant, wait};
use serde_json::{Value, json};

use crate::s03_payments::ready;
use crate::s09_books::{books_id, delete};

const GONE: Duration = Duration::from_secs(180);

/// Every object of the cluster, of whatever kind, that is this tenant's: by
/// namespace, name, label, owner or claim. Events are no objects that stay.
fn traces(name: &str) -> Vec<String> {
    let namespace = format!("ptn-{name}");
    let kinds = kubectl::ok(&["api-resources", "--verbs=list", "-o", "name"]);
    let kinds: Vec<_> =
        kinds.lines().filter(|kind| !kind.starts_with("events") && !kind.contains("metrics")).collect();
    let all = kubectl::list(&[&kinds.join(","), "-A"]);
    assert!(all.len() > 100, "a cluster has more objects than {}", all.len());
    let ours = |object: &Value| {
        let metadata = &object["metadata"];
        metadata["namespace"] == namespace.as_str()
            || metadata["name"] == namespace.as_str()
            || metadata["labels"]["payplane.io/tenant"] == name
            || metadata["ownerReferences"].as_array().into_iter().flatten().any(|owner| owner["name"] == name)
            || object["spec"]["claimRef"]["namespace"] == namespace.as_str()
            || (metadata["name"] == name && object["kind"] == "PaymentTenant")
    };
    let say = |object: &Value| format!("{} {}", object["kind"], object["metadata"]["name"]);
    all.iter().filter(|object| ours(object)).map(say).collect()
}

fn nothing_left(name: &str) {
    wait::until(&format!("every trace of {name} to go"), GONE, || {
        let left = traces(name);
        if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
    });
}

/// Where the lab keeps the volumes of a namespace's claims.
fn folders(namespace: &str) -> Vec<String> {
    let volumes = kubectl::list(&["pv"]);
    let own = volumes.iter().filter(|v| v["spec"]["claimRef"]["namespace"] == namespace);
    own.filter_map(|v| v["spec"]["local"]["path"].as_str().map(str::to_owned)).collect()
}

fn delete_as(id: &str) -> Value {
    json!({"spec": {"deletionPolicy": "Delete", "destroyBooks": id}})
}

#[test]
#[ignore = "long form: make e2e-full"]
fn a_forged_status_destroys_nothing() {
    if !env::cluster() {
        return;
    }
    let _ = ready("keeper", 60);
    let id = books_id("keeper");
    let other = "00000000-0000-4000-8000-000000000000";
    // The API server's rule compares with the status, which somebody may be able to write.
    operators(0);
    let forged = json!({"status": {"booksId": other}});
    kubectl::patch(&["ptn", "keeper", "--subresource=status"], &forged).expect("forged");
    kubectl::patch(&["ptn", "keeper"], &delete_as(other)).expect("the rule sees the forged id");
    let _ = kubectl::ok(&["delete", "ptn", "keeper", "--wait=false"]);
    operators(2);
    tenant::await_told(&["ptn", "keeper"], "DestroyBooksMismatch", &id, Duration::from_secs(60));
    assert!(kubectl::get(&["cluster.postgresql.cnpg.io", "database", "-n", "ptn-keeper"]).is_some());
    let retain = json!({"spec": {"deletionPolicy": "Retain", "destroyBooks": null}});
    kubectl::patch(&["ptn", "keeper"], &retain).expect("mended");
    tenant::await_healed(&["ptn", "keeper"], "DestroyBooksMismatch");
    wait::until("the tenant to go", GONE, || {
        kubectl::get(&["ptn", "keeper"]).map_or(Ok(()), |o| Err(o["status"].to_string()))
    });
    let _ = ready("keeper", 60);
    assert_eq!(books_id("keeper"), id, "the books are as they were");
}

#[test]
fn before_there_are_books_a_deletion_removes_everything() {
    if !env::cluster() {
        return;
    }
    let mut early = tenant::development("early");
    early["spec"]["database"] = json!({"managed": {"storage": {"className": "none-such"}}});
    tenant::apply(&early);
    tenant::await_reason(&["ptn", "early"], "Ready", "StorageClassMissing", Duration::from_secs(60));
    // Retain is the default: there is nothing to retain yet.
    delete("early");
    nothing_left("early");
    if !env::full() {
        return;
    }
    // The same with a database that is on its way.
    tenant::apply(&tenant::development("early"));
    wait::until("a database on its way", Duration::from_secs(60), || {
        kubectl::get(&["cluster.postgresql.cnpg.io", "database", "-n", "ptn-early"])
            .map(drop)
            .ok_or("not yet".into())
    });
    delete("early");
    nothing_left("early");
}

#[test]
fn destroyed_books_leave_nothing() {
    if !env::cluster() {
        return;
    }
    let app = ready("keeper", 60);
    app.pay(&format!("destroyed-{}", env::seed()), 100, "CNY").expect("paid");
    let delete_as = delete_as("00000000-0000-4000-8000-000000000000");
    let refused = kubectl::patch(&["ptn", "keeper"], &delete_as);
    assert!(refused.as_ref().is_err_and(|e| e.contains("spec.destroyBooks")), "{refused:?}");
    let folders = folders("ptn-keeper");
    let seen = traces("keeper");
    for kind in [
        "Namespace",
        "PaymentTenant",
        "Channel",
        "Cluster",
        "PersistentVolume\"",
        "PersistentVolumeClaim",
        "Secret",
    ] {
        assert!(seen.iter().any(|trace| trace.contains(kind)), "a {kind} is among the traces: {seen:?}");
    }
    let data = |path: &String| Path::new(path).join("pgdata").exists();
    if env::lab_cluster().is_some() {
        assert!(!folders.is_empty() && folders.iter().all(data), "the books' files: {folders:?}");
    }
    tenant::destroy("keeper");
    nothing_left("keeper");
    assert!(!folders.iter().any(|path| Path::new(path).exists()), "files are left: {folders:?}");
}

fn operators(count: u32) {
    let replicas = format!("--replicas={count}");
    let deployment = ["deployment/payplane-operator", "-n", "payplane-system"];
    let _ = kubectl::ok(&[&["scale", &replicas][..], &deployment].concat());
    if count == 0 {
        let gone = [
            "wait",
            "--for=delete",
            "pod",
            "-l",
            "app.kubernetes.io/name=payplane-operator",
            "-n",
            "payplane-system",
        ];
        let _ = kubectl::ok(&[&gone[..], &["--timeout=60s"]].concat());
    } else {
        let _ = kubectl::ok(&[&["rollout", "status", "--timeout=120s"][..], &deployment].concat());
    }
}
