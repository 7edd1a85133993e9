//! Builds the volume of a claim.

use std::path::Path;

use k8s_openapi::api::core::v1::{
    LocalVolumeSource, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, ObjectReference,
    PersistentVolume, PersistentVolumeSpec, VolumeNodeAffinity,
};
use kube::core::ObjectMeta;

use super::request::NewVolume;
use super::{FINALIZER, NAME};

/// Says to the controller manager that deleting the volume is not its work.
pub(super) const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

pub(super) fn build_volume(new: &NewVolume, directory: &Path, reclaim_policy: &str) -> PersistentVolume {
    let on_node = NodeSelectorRequirement {
        key: "kubernetes.io/hostname".to_owned(),
        operator: "In".to_owned(),
        values: Some(vec![new.node.clone()]),
    };
    let term = NodeSelectorTerm { match_expressions: Some(vec![on_node]), match_fields: None };
    PersistentVolume {
        metadata: ObjectMeta {
            name: Some(new.name.clone()),
            annotations: Some([(PROVISIONED_BY.to_owned(), NAME.to_owned())].into()),
            finalizers: Some(vec![FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeSpec {
            access_modes: Some(new.access_modes.clone()),
            capacity: Some([("storage".to_owned(), new.storage.clone())].into()),
            claim_ref: Some(ObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("PersistentVolumeClaim".to_owned()),
                namespace: Some(new.claim_namespace.clone()),
                name: Some(new.claim_name.clone()),
                uid: Some(new.claim_uid.clone()),
                ..ObjectReference::default()
            }),
            local: Some(LocalVolumeSource { path: directory.to_string_lossy().into_owned(), fs_type: None }),
            node_affinity: Some(VolumeNodeAffinity {
                required: Some(NodeSelector { node_selector_terms: vec![term] }),
            }),
            persistent_volume_reclaim_policy: Some(reclaim_policy.to_owned()),
            storage_class_name: Some(new.class.clone()),
            volume_mode: Some("Filesystem".to_owned()),
            ..PersistentVolumeSpec::default()
        }),
        status: None,
    }
}
