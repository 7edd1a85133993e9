//! Why a rollout does not end, or must not begin: what pods and nodes say.

use jiff::{SignedDuration, Timestamp};
use payplane_crds::condition::Reason;
use serde_json::Value;

use crate::framework::cluster::{Cluster, ClusterError};
use crate::framework::object::resource;
use crate::tenant::validate::{Refused, Tenant};

/// Room is made by pods that end, and by autoscalers: until then it is no news.
const UNSCHEDULED_AFTER: SignedDuration = SignedDuration::from_secs(20);

/// Says that no node has the labels that an edit asks for: pods that serve would be
/// replaced by pods that wait. Where nothing serves yet, or the labels are those in
/// force, nodes may come: an autoscaler makes them for pods that wait.
pub async fn nodes(cluster: &Cluster, tenant: &Tenant) -> Result<Option<Refused>, ClusterError> {
    let wanted = tenant.spec.placement.as_ref().map(|p| &p.node_selector).filter(|labels| !labels.is_empty());
    let Some(wanted) = wanted.filter(|_| !tenant.spec.paused && tenant.books_id.is_some()) else {
        return Ok(None);
    };
    let deployments = resource("apps/v1", "Deployment");
    let serving = cluster.look(&deployments, Some(&tenant.namespace), "gateway").await?;
    let in_force = serving.map(|live| live["spec"]["template"]["spec"]["nodeSelector"].clone());
    if in_force.is_none_or(|labels| labels == serde_json::json!(wanted)) {
        return Ok(None);
    }
    let labels: Vec<_> = wanted.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let labels = labels.join(",");
    let found = cluster.list(&resource("v1", "Node"), None, &labels).await?;
    let detail = format!("spec.placement.nodeSelector: no node has {labels}.");
    Ok(found.is_empty().then(|| Refused::new(Reason::NodeMissing, detail)))
}

/// What keeps a component, where its pods say more than what makes them.
pub async fn rollout(
    cluster: &Cluster,
    tenant: &Tenant,
    component: &str,
    told: Refused,
) -> Result<Refused, ClusterError> {
    let labels = [("payplane.io/tenant", tenant.name.as_str()), ("payplane.io/component", component)];
    let pods = cluster.look_for_pods(&tenant.namespace, &labels).await?;
    let now = Timestamp::now();
    Ok(pods.iter().find_map(|pod| said(component, pod, now)).unwrap_or(told))
}

/// Where the spec speaks of a component.
fn path(component: &str) -> String {
    match component {
        "database" => "spec.database.managed".to_owned(),
        _ => format!("spec.components.{component}"),
    }
}

fn said(component: &str, pod: &Value, now: Timestamp) -> Option<Refused> {
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return None;
    }
    let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    for condition in conditions.filter(|c| c["type"] == "PodScheduled" && c["reason"] == "Unschedulable") {
        let since: Timestamp = condition["lastTransitionTime"].as_str()?.parse().ok()?;
        if now.duration_since(since) >= UNSCHEDULED_AFTER {
            let detail = format!("{}.resources or spec.placement.", path(component));
            return Some(Refused::new(Reason::PodsUnschedulable, detail));
        }
    }
    let containers = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    for container in containers.filter(|container| container["ready"] != true) {
        let waiting = container["state"]["waiting"]["reason"].as_str().unwrap_or_default();
        let why = match waiting {
            "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" => {
                "its image cannot be pulled".to_owned()
            }
            _ if starves(container) => {
                format!("it runs out of memory: raise {}.resources.limits.memory", path(component))
            }
            "RunContainerError" | "CreateContainerError" => {
                "it does not start: its events say why".to_owned()
            }
            "CrashLoopBackOff" => "it ends again and again: its log says why".to_owned(),
            _ => continue,
        };
        return Some(Refused::new(Reason::PodsNotReady, format!("The {component}: {why}.")));
    }
    None
}

/// Did the container end for want of memory, or could it not even begin?
fn starves(container: &Value) -> bool {
    let ended = &container["lastState"]["terminated"];
    let messages = [&ended["message"], &container["state"]["waiting"]["message"]];
    let too_low =
        |message: &Value| message.as_str().is_some_and(|text| text.contains("memory limit too low"));
    ended["reason"] == "OOMKilled" || messages.into_iter().any(too_low)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reason(pod: &Value) -> Option<(Reason, String)> {
        let now = "2026-11-28T12:00:30Z".parse().unwrap();
        said("gateway", pod, now).map(|refused| (refused.reason, refused.detail))
    }

    #[test]
    fn a_pod_without_a_node_is_news_after_a_while() {
        let pod = |since: &str| {
            json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False",
                "reason": "Unschedulable", "lastTransitionTime": since}]}})
        };
        assert_eq!(reason(&pod("2026-11-28T12:00:20Z")), None);
        let late = pod("2026-11-28T12:00:00Z");
        assert_eq!(reason(&late).map(|(reason, _)| reason), Some(Reason::PodsUnschedulable));
        let database = said("database", &late, "2026-11-28T12:00:30Z".parse().unwrap()).unwrap();
        assert!(database.detail.starts_with("spec.database.managed.resources"), "{}", database.detail);
        let mut ending = late;
        ending["metadata"]["deletionTimestamp"] = "2026-11-28T12:00:10Z".into();
        assert_eq!(reason(&ending), None, "it makes room");
    }

    #[test]
    fn containers_say_why_they_are_not_ready() {
        let pod = |container: Value| json!({"status": {"containerStatuses": [container]}});
        let waiting = |reason: &str| pod(json!({"ready": false, "state": {"waiting": {"reason": reason}}}));
        assert_eq!(reason(&waiting("ContainerCreating")), None);
        for (why, word) in
            [("ImagePullBackOff", "pulled"), ("RunContainerError", "events"), ("CrashLoopBackOff", "log")]
        {
            let (reason, detail) = reason(&waiting(why)).unwrap();
            assert!(reason == Reason::PodsNotReady && detail.contains(word), "{detail}");
        }
        let mut killed = pod(json!({"ready": false, "lastState": {"terminated": {"reason": "OOMKilled"}}}));
        assert!(reason(&killed).unwrap().1.contains("limits.memory"));
        let state = json!({"waiting": {"reason": "RunContainerError", "message": "OOM-killed (memory limit too low?)"}});
        let begun = pod(json!({"ready": false, "state": state}));
        assert!(reason(&begun).unwrap().1.contains("limits.memory"));
        killed["status"]["containerStatuses"][0]["ready"] = true.into();
        assert_eq!(reason(&killed), None, "it came back");
    }
}
