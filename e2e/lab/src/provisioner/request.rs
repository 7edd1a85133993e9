//! What a claim asks of this provisioner.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use super::NAME;
use super::directory::PREFIX;

/// The controller manager names the provisioner here once a claim needs one.
const PROVISIONER: &str = "volume.kubernetes.io/storage-provisioner";
/// The scheduler names the node here, because the class waits for the first pod.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    /// Not ours, or nothing to do yet.
    Nothing,
    Provision(NewVolume),
    /// A bound claim asks for more than it has.
    Expand {
        volume: String,
        storage: Quantity,
    },
    /// Ours, but not to be had here.
    Refuse(&'static str),
}

/// A claim for which a volume is to be made.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NewVolume {
    pub name: String,
    pub node: String,
    pub class: String,
    pub storage: Quantity,
    pub access_modes: Vec<String>,
    pub claim_namespace: String,
    pub claim_name: String,
    pub claim_uid: String,
}

pub(super) fn read(claim: &PersistentVolumeClaim) -> Request {
    let Some(spec) = &claim.spec else { return Request::Nothing };
    let storage = spec.resources.as_ref().and_then(|r| r.requests.as_ref()?.get("storage").cloned());
    let (Some(storage), None) = (storage, &claim.metadata.deletion_timestamp) else {
        return Request::Nothing;
    };
    if let Some(volume) = &spec.volume_name {
        return read_bound(claim, volume, storage);
    }
    let annotation = |name: &str| claim.annotations().get(name).cloned();
    if annotation(PROVISIONER).as_deref() != Some(NAME) {
        return Request::Nothing;
    }
    let Some(node) = annotation(SELECTED_NODE) else { return Request::Nothing };
    if spec.volume_mode.as_deref() == Some("Block") {
        return Request::Refuse("this class has no block volumes");
    }
    let access_modes = spec.access_modes.clone().unwrap_or_default();
    if access_modes.iter().any(|mode| mode == "ReadWriteMany" || mode == "ReadOnlyMany") {
        return Request::Refuse("a volume of this class belongs to one node: use ReadWriteOnce");
    }
    if spec.data_source.is_some() || spec.data_source_ref.is_some() {
        return Request::Refuse("this class has neither snapshots nor clones");
    }
    let (Some(claim_namespace), Some(claim_uid), Some(class)) =
        (claim.namespace(), claim.uid(), spec.storage_class_name.clone())
    else {
        return Request::Nothing;
    };
    let (name, claim_name) = (format!("{PREFIX}{claim_uid}"), claim.name_any());
    Request::Provision(NewVolume {
        name,
        node,
        class,
        storage,
        access_modes,
        claim_namespace,
        claim_name,
        claim_uid,
    })
}

/// Sizes are compared as text: the size of a volume is copied from its claim,
/// and a claim can only grow. Whether the volume is ours is read from itself.
fn read_bound(claim: &PersistentVolumeClaim, volume: &str, storage: Quantity) -> Request {
    let status = claim.status.as_ref();
    let bound = status.and_then(|s| s.phase.as_deref()) == Some("Bound");
    let has = status.and_then(|s| s.capacity.as_ref()?.get("storage"));
    match has {
        Some(has) if bound && *has != storage => Request::Expand { volume: volume.to_owned(), storage },
        _ => Request::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn claim(change: impl FnOnce(&mut Value)) -> PersistentVolumeClaim {
        let mut value = json!({
            "metadata": {"name": "data", "namespace": "ptn-a", "uid": "u1",
                "annotations": {PROVISIONER: NAME, SELECTED_NODE: "a-n1"}},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
                "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": "Pending"},
        });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_claim_with_a_node_gets_a_volume_named_by_its_uid() {
        let Request::Provision(new) = read(&claim(|_| {})) else { panic!("nothing to provision") };
        assert_eq!((new.name.as_str(), new.node.as_str()), ("pvc-u1", "a-n1"));
    }

    #[test]
    fn without_a_node_or_with_another_provisioner_nothing_happens() {
        let waiting = claim(|c| c["metadata"]["annotations"] = json!({PROVISIONER: NAME}));
        let foreign = claim(|c| c["metadata"]["annotations"][PROVISIONER] = json!("other"));
        let going = claim(|c| c["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"));
        for claim in [waiting, foreign, going] {
            assert_eq!(read(&claim), Request::Nothing);
        }
    }

    #[test]
    fn what_a_directory_cannot_be_is_refused() {
        let block = claim(|c| c["spec"]["volumeMode"] = json!("Block"));
        let shared = claim(|c| c["spec"]["accessModes"] = json!(["ReadWriteMany"]));
        for claim in [block, shared] {
            assert!(matches!(read(&claim), Request::Refuse(_)));
        }
    }

    #[test]
    fn a_bound_claim_is_expanded_once() {
        let bound = |has: &str| {
            claim(|c| {
                c["spec"]["volumeName"] = json!("pvc-u1");
                c["status"] = json!({"phase": "Bound", "capacity": {"storage": has}});
            })
        };
        assert_eq!(read(&bound("1Gi")), Request::Nothing);
        assert!(matches!(read(&bound("512Mi")), Request::Expand { .. }));
    }
}
