//! Volumes: removes what was released.

use std::path::Path;
use std::sync::Arc;

use k8s_openapi::api::core::v1::PersistentVolume;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt};
use serde_json::json;
use snafu::{ResultExt, Snafu};

use super::build::PROVISIONED_BY;
use super::context::Context;
use super::{FINALIZER, NAME, directory};

#[derive(Debug, Snafu)]
pub(super) enum Error {
    #[snafu(display("volume {name} keeps its directory"))]
    Directory { name: String, source: directory::Error },
    #[snafu(display("cannot {action} volume {name}"))]
    Api {
        action: &'static str,
        name: String,
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    #[snafu(display("the removal of volume {name} was cut short"))]
    CutShort { name: String, source: tokio::task::JoinError },
}

pub(super) async fn reconcile(volume: Arc<PersistentVolume>, context: Arc<Context>) -> Result<Action, Error> {
    match next_step(&volume) {
        Step::Nothing => {}
        Step::Delete => delete(&volume, &context).await?,
        Step::Finish { directory } => finish(&volume, directory, &context).await?,
    }
    context.succeeded(volume.as_ref());
    Ok(Action::await_change())
}

pub(super) fn capacity(volume: &PersistentVolume) -> Option<&Quantity> {
    volume.spec.as_ref()?.capacity.as_ref()?.get("storage")
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    /// Mark the volume as deleted.
    Delete,
    /// Remove the directory, where one is named, then let the volume go.
    Finish {
        directory: Option<String>,
    },
}

fn next_step(volume: &PersistentVolume) -> Step {
    let ours = volume.annotations().get(PROVISIONED_BY).is_some_and(|by| by == NAME);
    let Some(spec) = volume.spec.as_ref().filter(|_| ours) else { return Step::Nothing };
    let deletes = spec.persistent_volume_reclaim_policy.as_deref() == Some("Delete");
    if volume.metadata.deletion_timestamp.is_none() {
        let released = volume.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Released");
        return if released && deletes { Step::Delete } else { Step::Nothing };
    }
    // While a claim is bound to the volume, Kubernetes' own finalizer stands beside ours.
    if volume.finalizers() != [FINALIZER] {
        return Step::Nothing;
    }
    let directory = spec.local.as_ref().map(|local| local.path.clone());
    Step::Finish { directory: directory.filter(|_| deletes) }
}

async fn delete(volume: &PersistentVolume, context: &Context) -> Result<(), Error> {
    let name = &volume.name_any();
    // Whoever binds the volume again in this moment changes its version.
    let preconditions = Preconditions { uid: volume.uid(), resource_version: volume.resource_version() };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    match Api::<PersistentVolume>::all(context.client.clone()).delete(name, &params).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => other.map(drop).context(ApiSnafu { action: "delete", name }),
    }
}

async fn finish(
    volume: &PersistentVolume,
    directory: Option<String>,
    context: &Arc<Context>,
) -> Result<(), Error> {
    let name = &volume.name_any();
    if let Some(directory) = directory {
        let context = Arc::clone(context);
        // A database is many files.
        let remove = move || context.directories.remove(Path::new(&directory));
        let removed = tokio::task::spawn_blocking(remove).await.context(CutShortSnafu { name })?;
        removed.context(DirectorySnafu { name })?;
    }
    let patch = json!({"metadata": {"resourceVersion": volume.resource_version(), "finalizers": null}});
    let volumes = Api::<PersistentVolume>::all(context.client.clone());
    match volumes.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(error).context(ApiSnafu { action: "let go", name }),
        Ok(_) => {
            tracing::info!(volume = name, "removed a volume");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(phase: &str, policy: &str, deleted: bool, finalizers: &[&str]) -> PersistentVolume {
        serde_json::from_value(json!({
            "metadata": {"name": "pvc-1", "annotations": {PROVISIONED_BY: NAME}, "finalizers": finalizers,
                "deletionTimestamp": deleted.then_some("2026-01-01T00:00:00Z")},
            "spec": {"persistentVolumeReclaimPolicy": policy, "local": {"path": "/v/a-n1/pvc-1"}},
            "status": {"phase": phase},
        }))
        .unwrap()
    }

    #[test]
    fn only_a_released_volume_is_deleted() {
        assert_eq!(next_step(&volume("Released", "Delete", false, &[FINALIZER])), Step::Delete);
        for (phase, policy) in [("Bound", "Delete"), ("Available", "Delete"), ("Released", "Retain")] {
            assert_eq!(
                next_step(&volume(phase, policy, false, &[FINALIZER])),
                Step::Nothing,
                "{phase} {policy}"
            );
        }
    }

    #[test]
    fn the_directory_goes_when_nobody_else_holds_the_volume() {
        let protected = volume("Bound", "Delete", true, &["kubernetes.io/pv-protection", FINALIZER]);
        assert_eq!(next_step(&protected), Step::Nothing);
        let free = volume("Released", "Delete", true, &[FINALIZER]);
        assert_eq!(next_step(&free), Step::Finish { directory: Some("/v/a-n1/pvc-1".into()) });
        let kept = volume("Released", "Retain", true, &[FINALIZER]);
        assert_eq!(next_step(&kept), Step::Finish { directory: None });
    }

    #[test]
    fn a_stranger_is_left_alone() {
        let mut foreign = volume("Released", "Delete", false, &[]);
        foreign.metadata.annotations = None;
        assert_eq!(next_step(&foreign), Step::Nothing);
    }
}
