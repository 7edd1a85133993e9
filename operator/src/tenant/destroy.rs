//! The removal of everything that a tenant had, books included.

use jiff::Timestamp;
use kube::core::ApiResource;
use payplane_api::names::ANNOTATION_BOOKS_ID;
use payplane_crds::condition::Reason;
use serde_json::{Value, json};

use crate::framework::cluster::{Cluster, ClusterError};
use crate::framework::finalizer;
use crate::framework::object::resource;
use crate::tenant::dereference::clusters;
use crate::tenant::validate::Refused;

/// Deletes what runs; true while any of it is there.
pub async fn stop(cluster: &Cluster, namespace: &str) -> Result<bool, ClusterError> {
    let mut there = false;
    for (api, kind, name) in [
        ("apps/v1", "Deployment", "gateway"),
        ("apps/v1", "Deployment", "ledger"),
        ("batch/v1", "Job", "migrate"),
    ] {
        let kind = resource(api, kind);
        if let Some(found) = cluster.get(&kind, Some(namespace), name).await? {
            there = true;
            if found["metadata"]["deletionTimestamp"].is_null() {
                cluster.delete(&kind, &found).await?;
            }
        }
    }
    Ok(there)
}

/// Marks first, then the objects, then the namespace.
pub async fn destroy(cluster: &Cluster, live: &Value, namespace: &str) -> Result<Refused, ClusterError> {
    let (claims, channels) =
        (resource("v1", "PersistentVolumeClaim"), resource("payplane.io/v1alpha1", "Channel"));
    for channel in cluster.list(&channels, Some(namespace), "").await? {
        finalizer::remove(cluster, &channels, &channel).await?;
    }
    let stopping = stop(cluster, namespace).await?;
    let database = cluster.get(&clusters(), Some(namespace), "database").await?;
    if let Some(database) = &database {
        unmark(cluster, &clusters(), database).await?;
        if database["metadata"]["deletionTimestamp"].is_null() {
            cluster.delete(&clusters(), database).await?;
        }
    }
    for claim in cluster.list(&claims, Some(namespace), "cnpg.io/cluster=database").await? {
        unmark(cluster, &claims, &claim).await?;
        if claim["metadata"]["deletionTimestamp"].is_null() {
            cluster.delete(&claims, &claim).await?;
        }
    }
    if !stopping && database.is_none() && !drains(cluster, namespace).await? {
        unmark(cluster, &resource("v1", "Namespace"), live).await?;
        cluster.delete(&resource("v1", "Namespace"), live).await?;
    }
    Ok(Refused::new(Reason::Deleting, "Its namespace is being removed."))
}

/// Whether pods still use their time to end. Kubernetes looks at a namespace
/// with such pods again only after half of the longest of these times.
async fn drains(cluster: &Cluster, namespace: &str) -> Result<bool, ClusterError> {
    let pods = cluster.list(&resource("v1", "Pod"), Some(namespace), "payplane.io/tenant").await?;
    let now = Timestamp::now();
    Ok(pods.iter().any(|pod| match pod["metadata"]["deletionTimestamp"].as_str() {
        // Its node may be gone: nothing is waited for longer than it was given.
        Some(end) => end.parse::<Timestamp>().is_ok_and(|end| end > now),
        None => !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")),
    }))
}

async fn unmark(cluster: &Cluster, kind: &ApiResource, live: &Value) -> Result<(), ClusterError> {
    let metadata = &live["metadata"];
    if metadata["annotations"][ANNOTATION_BOOKS_ID].is_null() {
        return Ok(());
    }
    let patch = json!({"metadata": {"annotations": {ANNOTATION_BOOKS_ID: null}}});
    cluster
        .merge(kind, metadata["namespace"].as_str(), metadata["name"].as_str().unwrap_or_default(), &patch)
        .await
}
