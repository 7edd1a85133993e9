//! A renewed leaf reaches running pods at once. By itself the kubelet looks
//! after a minute or more, which certificates that live for minutes do not have.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::framework::cluster::ClusterError;
use crate::framework::object::resource;
use crate::pki;
use crate::tenant::certificates::Certificates;
use crate::tenant::context::Context;
use crate::tenant::observe::running;
use crate::tenant::validate::Tenant;

const ANNOTATION: &str = "payplane.io/certificates";
/// The Secrets that a component's pods mount.
const MOUNTED: [(&str, &[&str]); 2] =
    [("gateway", &["gateway-tls", "db-gateway", "db-vault"]), ("ledger", &["ledger-tls", "db-ledger"])];

/// Touches each pod that is older than a leaf or the CA that it mounts, once for each renewal.
pub async fn touch(
    context: &Context,
    tenant: &Tenant,
    certificates: &Certificates,
) -> Result<(), ClusterError> {
    for (component, names) in MOUNTED {
        let mounted = certificates.leaves.iter().filter(|(name, _)| names.contains(name));
        let mounted: Vec<&str> = mounted.map(|(_, certificate)| certificate.as_str()).collect();
        // The bundle begins with the current CA.
        let all = mounted.iter().copied().chain([certificates.bundle.as_str()]);
        let Some(newest) = all.filter_map(pki::issued).max() else {
            continue;
        };
        let mark = hex::encode(&Sha256::digest(mounted.concat() + &certificates.bundle)[..8]);
        for pod in running(&context.cluster, &tenant.name, component).await? {
            if let Some(name) = is_behind(&pod, newest, &mark) {
                let patch = json!({"metadata": {"annotations": {ANNOTATION: mark}}});
                context.cluster.merge(&resource("v1", "Pod"), Some(&tenant.namespace), &name, &patch).await?;
            }
        }
    }
    Ok(())
}

/// A pod that was made after the renewal mounts the new leaf from the start.
fn is_behind(pod: &Value, newest: Timestamp, mark: &str) -> Option<String> {
    let made: Timestamp = pod["metadata"]["creationTimestamp"].as_str()?.parse().ok()?;
    let told = pod["metadata"]["annotations"][ANNOTATION] == mark;
    let name = pod["metadata"]["name"].as_str()?;
    (made < newest && !told).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_older_pods_are_told_and_once() {
        let pod = |mark: &str| {
            json!({"metadata": {"name": "gateway-1", "creationTimestamp": "2026-11-24T00:00:10Z",
                "annotations": {ANNOTATION: mark}}})
        };
        let at = |second: i64| {
            "2026-11-24T00:00:00Z"
                .parse::<Timestamp>()
                .unwrap()
                .checked_add(jiff::SignedDuration::from_secs(second))
                .unwrap()
        };
        assert_eq!(is_behind(&pod(""), at(20), "m").as_deref(), Some("gateway-1"));
        assert_eq!(is_behind(&pod("m"), at(20), "m"), None);
        assert_eq!(is_behind(&pod(""), at(5), "m"), None);
    }
}
