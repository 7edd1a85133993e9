//! Removal of children that the tenant no longer has: they bear its label and
//! its uid as owner, and were not among the objects of a complete apply. What
//! holds books has no owner, so it is never found here.

use crate::framework::cluster::{Cluster, ClusterError};
use crate::framework::object::resource;
use crate::tenant::validate::Tenant;

/// Kinds that children are of.
const KINDS: [(&str, &str); 11] = [
    ("v1", "ResourceQuota"),
    ("v1", "LimitRange"),
    ("v1", "ServiceAccount"),
    ("v1", "ConfigMap"),
    ("v1", "Secret"),
    ("v1", "Service"),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("apps/v1", "Deployment"),
    ("policy/v1", "PodDisruptionBudget"),
    ("batch/v1", "Job"),
];

/// Deletes what is ours and not among `parts` (`Kind/name`).
pub async fn orphans(cluster: &Cluster, tenant: &Tenant, parts: &[String]) -> Result<(), ClusterError> {
    let label = format!("{}={}", payplane_api::names::LABEL_TENANT, tenant.name);
    for (api_version, kind) in KINDS {
        let resource = resource(api_version, kind);
        for live in cluster.list(&resource, Some(&tenant.namespace), &label).await? {
            let owners = live["metadata"]["ownerReferences"].as_array().into_iter().flatten();
            let ours = owners.into_iter().any(|o| o["uid"] == tenant.uid.as_str() && o["controller"] == true);
            let name = live["metadata"]["name"].as_str().unwrap_or_default();
            let wanted = parts.contains(&format!("{kind}/{name}"));
            let ending = live["metadata"]["deletionTimestamp"].is_string();
            if ours && !wanted && !ending {
                tracing::info!(tenant = tenant.name, kind, name, "orphan removed");
                cluster.delete(&resource, &live).await?;
            }
        }
    }
    Ok(())
}
