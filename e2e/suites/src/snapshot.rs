//! All objects of a tenant, without what differs from run to run: the mask is
//! this file.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::kubectl;

/// Kinds that say what happened, or follow from other objects and addresses.
const KINDS_LEFT_OUT: [&str; 8] = [
    "events",
    "events.events.k8s.io",
    "endpoints",
    "endpointslices.discovery.k8s.io",
    "leases.coordination.k8s.io",
    "controllerrevisions.apps",
    "pods",
    "bindings",
];
/// Versions, and what an API server or controller fills in by chance. A config's
/// epoch counts its versions, and its hash and the probe's fingerprint cover it.
const FIELDS_LEFT_OUT: [&str; 17] = [
    "epoch",
    "hash",
    "probeFingerprint",
    "uid",
    "resourceVersion",
    "generation",
    "observedGeneration",
    "managedFields",
    "creationTimestamp",
    "deletionTimestamp",
    "clusterIP",
    "clusterIPs",
    "nodeName",
    "payplane.io/applied",
    "pv.kubernetes.io/bind-completed",
    "volume.kubernetes.io/selected-node",
    "deployment.kubernetes.io/revision",
];

/// Objects by kind and name.
pub type Snapshot = BTreeMap<String, Value>;

/// Every object in a tenant's namespace and the cluster-scoped ones that are its own.
#[must_use]
pub fn of_tenant(name: &str) -> Snapshot {
    let namespace = format!("ptn-{name}");
    let kinds = kubectl::ok(&["api-resources", "--namespaced", "--verbs=list", "-o", "name"]);
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !KINDS_LEFT_OUT.contains(kind)).collect();
    let mut objects = kubectl::list(&[&kinds.join(","), "-n", &namespace]);
    objects.extend(kubectl::get(&["ptn", name]));
    objects.extend(kubectl::get(&["namespace", &namespace]));
    let volumes = kubectl::list(&["pv"]);
    objects.extend(volumes.into_iter().filter(|v| v["spec"]["claimRef"]["namespace"] == namespace.as_str()));
    objects.extend(kubectl::list(&[
        "clusterroles,clusterrolebindings",
        "-l",
        &format!("payplane.io/tenant={name}"),
    ]));
    objects.into_iter().map(masked).collect()
}

/// What differs, one line each.
#[must_use]
pub fn differences(wanted: &Snapshot, found: &Snapshot) -> Vec<String> {
    let mut lines = vec![];
    for (key, value) in wanted {
        match found.get(key) {
            None => lines.push(format!("{key} is missing")),
            Some(other) => compare(key, value, other, &mut lines),
        }
    }
    let more = found.keys().filter(|key| !wanted.contains_key(*key));
    lines.extend(more.map(|key| format!("{key} should not be there")));
    lines
}

fn compare(path: &str, wanted: &Value, found: &Value, lines: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(a), Value::Object(b)) => {
            let none = Value::Null;
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (a, b) = (a.get(key).unwrap_or(&none), b.get(key).unwrap_or(&none));
                compare(&format!("{path}.{key}"), a, b, lines);
            }
        }
        _ if wanted == found => {}
        _ => lines.push(format!("{path}: {wanted} became {found}")),
    }
}

fn masked(mut object: Value) -> (String, Value) {
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    // A status is compared where it is ours; others' follow from the spec in time.
    if !matches!(kind.as_str(), "PaymentTenant" | "Channel") {
        object.as_object_mut().map(|fields| fields.remove("status"));
    }
    if kind == "Secret" {
        let generated = ["-app", "-superuser", "data-key"]
            .iter()
            .any(|end| object["metadata"]["name"].as_str().is_some_and(|n| n.ends_with(end)));
        secret(&mut object["data"], generated);
    }
    if kind == "PersistentVolume" {
        // On which node a volume lies is the scheduler's choice.
        for field in ["local", "nodeAffinity"] {
            object["spec"].as_object_mut().map(|spec| spec.remove(field));
        }
    }
    // Whether it is being deleted is no matter of chance, only when.
    let leaving = object["metadata"]["deletionTimestamp"].is_string();
    mask(&mut object);
    object["leaving"] = leaving.into();
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    (format!("{kind}/{name}"), object)
}

/// Key material is left out; what else a Secret holds is compared.
fn secret(data: &mut Value, generated: bool) {
    for value in data.as_object_mut().into_iter().flat_map(Map::values_mut) {
        let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let left_out = generated || text.contains("-----BEGIN");
        *value = if left_out {
            "<key material>".into()
        } else {
            serde_json::from_str(&text).unwrap_or(text.into())
        };
    }
}

fn mask(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| {
                !FIELDS_LEFT_OUT.contains(&key.as_str()) && !key.ends_with("controller-uid")
            });
            fields.values_mut().for_each(mask);
        }
        Value::Array(items) => items.iter_mut().for_each(mask),
        Value::String(text) => {
            if text.contains("-----BEGIN") {
                *text = "<key material>".to_owned();
            } else if text.parse::<Timestamp>().is_ok() {
                *text = "<time>".to_owned();
            } else {
                *text = without_ids(text);
            }
        }
        _ => {}
    }
}

/// UUIDs stand for the same thing in every run, and are never the same.
fn without_ids(text: &str) -> String {
    let is_id = |part: &str| uuid::Uuid::try_parse(part).is_ok();
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match rest.get(..36).filter(|part| is_id(part)) {
            Some(id) => {
                out += "<id>";
                rest = &rest[id.len()..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(object: Value) -> Snapshot {
        [masked(object)].into()
    }

    #[test]
    fn chance_is_masked_and_nothing_else() {
        let object = |uid: &str, replicas: u32| {
            json!({"kind": "Deployment", "metadata": {"name": "gateway", "uid": uid, "labels": {"a": "b"}},
                "spec": {"replicas": replicas, "volume": format!("pvc-{uid}")}, "status": {"replicas": 9}})
        };
        let (a, b) = (uuid::Uuid::from_u128(1).to_string(), uuid::Uuid::from_u128(2).to_string());
        let first = one(object(&a, 2));
        assert_eq!(differences(&first, &one(object(&b, 2))), Vec::<String>::new());
        assert_eq!(
            differences(&first, &one(object(&a, 3))),
            ["Deployment/gateway.spec.replicas: 2 became 3"]
        );
        assert_eq!(differences(&first, &Snapshot::new()), ["Deployment/gateway is missing"]);
        assert_eq!(differences(&Snapshot::new(), &first), ["Deployment/gateway should not be there"]);
    }

    #[test]
    fn a_volume_may_lie_on_any_node_but_not_be_kept_otherwise() {
        let volume = |node: &str, policy: &str| {
            json!({"kind": "PersistentVolume", "metadata": {"name": "a"}, "spec": {
                "local": {"path": format!("/{node}/a")}, "nodeAffinity": {"required": node},
                "persistentVolumeReclaimPolicy": policy,
            }})
        };
        let first = one(volume("n1", "Delete"));
        assert_eq!(differences(&first, &one(volume("n2", "Delete"))), Vec::<String>::new());
        assert_eq!(differences(&first, &one(volume("n2", "Retain"))).len(), 1);
    }

    #[test]
    fn keys_are_left_out_and_configs_compared() {
        let object = |text: &str| json!({"kind": "Secret", "metadata": {"name": "s"}, "data": {"f": STANDARD.encode(text)}});
        let key = |body: &str| one(object(&format!("-----BEGIN PRIVATE KEY-----\n{body}")));
        assert!(differences(&key("a"), &key("b")).is_empty());
        assert_eq!(differences(&one(object("{\"a\":1}")), &one(object("{\"a\":2}"))).len(), 1);
    }
}
