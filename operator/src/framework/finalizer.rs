//! Our finalizer on tenants and channels: it keeps them until what is outside
//! of them is settled. Writes carry the resourceVersion that was read, so no
//! other client's finalizer is lost.

use kube::core::ApiResource;
use serde_json::{Value, json};

use super::cluster::{Cluster, ClusterError};

const FINALIZER: &str = "payplane.io/operator";

/// Does the object bear our finalizer?
#[must_use]
pub fn is_held(live: &Value) -> bool {
    all(live).any(|name| name == FINALIZER)
}

/// Adds our finalizer where it is missing.
pub async fn add(cluster: &Cluster, kind: &ApiResource, live: &Value) -> Result<(), ClusterError> {
    if is_held(live) {
        return Ok(());
    }
    write(cluster, kind, live, all(live).cloned().chain([FINALIZER.into()]).collect()).await
}

/// Removes our finalizer where it stands.
pub async fn remove(cluster: &Cluster, kind: &ApiResource, live: &Value) -> Result<(), ClusterError> {
    if !is_held(live) {
        return Ok(());
    }
    write(cluster, kind, live, all(live).filter(|name| **name != FINALIZER).cloned().collect()).await
}

fn all(live: &Value) -> impl Iterator<Item = &Value> {
    live["metadata"]["finalizers"].as_array().into_iter().flatten()
}

async fn write(
    cluster: &Cluster,
    kind: &ApiResource,
    live: &Value,
    finalizers: Vec<Value>,
) -> Result<(), ClusterError> {
    let metadata = &live["metadata"];
    let patch =
        json!({"metadata": {"finalizers": finalizers, "resourceVersion": metadata["resourceVersion"]}});
    let name = metadata["name"].as_str().unwrap_or_default();
    cluster.merge(kind, metadata["namespace"].as_str(), name, &patch).await
}
