//! What somebody else edits or deletes comes back within 10 s, and nothing else
//! is written for it. The list of children is what the operator's build makes:
//! the snapshot that its own test keeps current.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use payplane_e2e::{audit, env, kubectl, manifests::merged, tenant, wait};
use serde_json::{Value, json};

use crate::s03_payments::ready;
use crate::s06_quiet::settled;

const RESTORED_WITHIN: Duration = Duration::from_secs(10);
const HOLDS_BOOKS: [&str; 2] = ["Namespace", "Cluster"];

/// Every object that the build makes of the sample tenant.
pub(crate) fn built() -> Vec<Value> {
    let path = env::root().join("operator/tests/objects/demo.yaml");
    let text = std::fs::read_to_string(path).expect("the snapshot of the build is there");
    let documents = serde_yaml::Deserializer::from_str(&text);
    let read = |document| <Value as serde::Deserialize>::deserialize(document).expect("YAML");
    let objects: Vec<Value> = documents.map(read).filter(|object| !object.is_null()).collect();
    assert!(objects.len() >= 25, "the snapshot holds the build");
    objects
}

/// A field of each kind that the operator owns, and that does no harm for seconds.
fn edit(kind: &str) -> Value {
    let own = match kind {
        "Namespace" => {
            json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce-version": "v1.30"}}})
        }
        "RoleBinding" => json!({"metadata": {"labels": {"payplane.io/component": "other"}}}),
        "ResourceQuota" => json!({"spec": {"hard": {"pods": "63"}}}),
        "LimitRange" => json!({"spec": {"limits": [{"type": "Container", "default": {"memory": "300Mi"}}]}}),
        "ServiceAccount" => json!({"automountServiceAccountToken": true}),
        // What selects is whole: a label more is another selection.
        "NetworkPolicy" => {
            json!({"spec": {"policyTypes": ["Ingress"], "podSelector": {"matchLabels": {"more": "x"}}}})
        }
        "PodDisruptionBudget" => {
            json!({"spec": {"maxUnavailable": 2, "selector": {"matchLabels": {"more": "x"}}}})
        }
        "Deployment" => json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": 2}}}}),
        "Service" => json!({"spec": {"selector": {"more": "x"}}}),
        "Cluster" => json!({"spec": {"switchoverDelay": 31}}),
        // What pods read stays as it is.
        "ConfigMap" | "Secret" | "Job" => json!({}),
        other => panic!("the build makes {other}: say here which of its fields to edit"),
    };
    let labels =
        json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody-else", "foreign": "kept"}}});
    merged(&own, &labels)
}

#[test]
fn children_that_others_edit_or_delete_come_back_and_nothing_else_is_written() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let app = ready("alpha", 60);
    let _ = settled();
    let (mut kinds, mut slowest) = (BTreeSet::new(), Duration::ZERO);
    // And what follows from its Channel and its CA.
    let more = [("NetworkPolicy", "channel-sim"), ("ConfigMap", "trust-bundle")];
    let more = more.map(|(kind, name)| json!({"kind": kind, "metadata": {"name": name}}));
    for object in built().into_iter().chain(more) {
        let (kind, name) = (text(&object["kind"]), text(&object["metadata"]["name"]));
        let first = kinds.insert(kind.clone());
        let target = Target::new(&kind, &name.replace("ptn-demo", "ptn-alpha"));
        let Some(live) = target.get() else {
            assert!(!first, "{kind} {name}, the first of its kind, is not there");
            continue;
        };
        // The short form takes one object of each kind.
        if !first && !env::full() {
            continue;
        }
        slowest = slowest.max(target.edited(&live));
        if HOLDS_BOOKS.contains(&kind.as_str()) {
            target.is_kept();
        } else {
            slowest = slowest.max(target.deleted(&live));
        }
    }
    println!("figure: restored_slowest={} ms over {} kinds", slowest.as_millis(), kinds.len());
    tenant::await_condition(&["ptn", "alpha"], "Ready", "True", Duration::from_secs(120));
    let paid = app.pay(&format!("restored-{}", env::seed()), 100, "CNY").expect("paid");
    assert_eq!(paid["status"], "Succeeded", "{paid}");
}

/// One child of alpha.
struct Target {
    kind: String,
    name: String,
}

impl Target {
    fn new(kind: &str, name: &str) -> Self {
        let group =
            if kind == "Cluster" { "cluster.postgresql.cnpg.io".to_owned() } else { kind.to_lowercase() };
        Self { kind: group, name: name.to_owned() }
    }

    /// The kind as requests name it.
    fn resource(&self) -> String {
        let kind = self.kind.split('.').next().unwrap_or_default();
        kind.strip_suffix('y').map_or_else(|| format!("{kind}s"), |stem| format!("{stem}ies"))
    }

    fn args(&self) -> [&str; 4] {
        [&self.kind, &self.name, "-n", "ptn-alpha"]
    }

    fn get(&self) -> Option<Value> {
        kubectl::get(&self.args())
    }

    /// Edits it; the operator's fields come back, the stranger's stays.
    fn edited(&self, before: &Value) -> Duration {
        let (offset, began) = (audit::end(), Instant::now());
        let edit = edit(&text(&before["kind"]));
        kubectl::patch(&self.args(), &edit)
            .unwrap_or_else(|said| panic!("{} {}: {said}", self.kind, self.name));
        let edited = merged(&own(before), &json!({"metadata": {"labels": {"foreign": "kept"}}}));
        wait::until(&format!("{} {} to be restored", self.kind, self.name), RESTORED_WITHIN, || {
            let now = own(&self.get().ok_or("gone")?);
            if now == edited { Ok(()) } else { Err(format!("{now}\ninstead of\n{edited}")) }
        });
        let took = began.elapsed();
        self.only_this_was_written(offset);
        let clean = json!({"metadata": {"labels": {"foreign": null}}});
        kubectl::patch(&self.args(), &clean).expect("a stranger takes back what is his");
        took
    }

    fn deleted(&self, before: &Value) -> Duration {
        let (offset, began) = (audit::end(), Instant::now());
        let _ = kubectl::ok(&[&["delete", "--wait=false"], &self.args()[..]].concat());
        wait::until(&format!("{} {} to come back", self.kind, self.name), RESTORED_WITHIN, || {
            let now = self.get().ok_or("gone")?;
            let same = now["metadata"]["uid"] == before["metadata"]["uid"];
            if same { Err("the old one is still there".to_owned()) } else { Ok(()) }
        });
        let took = began.elapsed();
        let back = ["ptn", "alpha"];
        tenant::await_condition(&back, "Ready", "True", Duration::from_secs(120));
        self.only_this_was_written(offset);
        took
    }

    fn is_kept(&self) {
        let said = kubectl::attempt(&[&["delete", "--wait=false"], &self.args()[..]].concat());
        assert!(said.as_ref().is_err_and(|e| e.contains("books")), "{}: {said:?}", self.kind);
    }

    /// The operator wrote this object, and beside it nothing but status and the
    /// event that tells of its turn.
    fn only_this_was_written(&self, offset: u64) {
        std::thread::sleep(Duration::from_secs(1));
        let writes = audit::writes(offset);
        let (status, others): (Vec<_>, Vec<_>) =
            writes.into_iter().partition(|r| r.resource.ends_with("/status") || r.resource == "events");
        assert!(status.iter().all(|r| r.group == "payplane.io" || r.resource == "events"), "{status:#?}");
        assert!(!others.is_empty(), "{} {} was restored by somebody else", self.kind, self.name);
        let own = |r: &audit::Request| r.name == self.name && r.resource == self.resource();
        assert!(others.iter().all(own), "{} {}: {others:#?}", self.kind, self.name);
    }
}

/// The part of an object that somebody means: no status, no bookkeeping of the server.
fn own(object: &Value) -> Value {
    let server = json!({"uid": null, "resourceVersion": null, "generation": null, "managedFields": null,
        "creationTimestamp": null});
    merged(object, &json!({"status": null, "metadata": server}))
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
