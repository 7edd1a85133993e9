//! What the pods say: the config that they run, and whether money can move.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::ResourceExt;
use payplane_api::control::RoundTrip;
use payplane_crds::PaymentTenant;
use payplane_crds::condition::Reason;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::framework::cluster::{Cluster, ClusterError};
use crate::framework::object::resource;
use crate::pods::Caller;
use crate::poller::{Observation, Target};
use crate::tenant::apply::Progress;
use crate::tenant::certificates;
use crate::tenant::context::Context;
use crate::tenant::rotation;
use crate::tenant::validate::{Refused, Tenant};

/// A pod that is frozen or away must not hold up the fence for longer.
const FENCE_AFTER: Duration = Duration::from_secs(3);

/// What was found out about the pods.
#[derive(Debug, Default)]
pub struct Seen {
    /// Why money cannot move, where it cannot.
    pub unavailable: Option<Refused>,
    /// Why the config is not everywhere in force, where it is not.
    pub outdated: Option<Refused>,
    pub degraded: Option<Refused>,
    /// Nobody has answered since this process started: the former status stands.
    pub unknown: bool,
    pub probe_fingerprint: Option<String>,
}

/// Looks at the last answers, fences the old config, and probes what changed.
pub async fn observe(
    context: &Context,
    tenant: &Tenant,
    progress: &Progress,
    probed: Option<&str>,
) -> Result<Seen, ClusterError> {
    let mut seen = Seen { probe_fingerprint: probed.map(str::to_owned), ..Seen::default() };
    let unreachable = |reason| Some(Refused::new(reason, ""));
    let Some((certificates, (hash, epoch))) = progress.certificates.as_ref().zip(progress.config.as_ref())
    else {
        seen.unavailable = unreachable(Reason::Reconciling);
        return Ok(seen);
    };
    let Ok(caller) = Caller::new(&tenant.namespace, certificates) else {
        seen.unavailable = unreachable(Reason::GatewayUnreachable);
        return Ok(seen);
    };
    let gateways = running(&context.cluster, &tenant.name, "gateway").await?;
    let addresses: BTreeMap<_, _> = gateways.iter().filter_map(address).collect();
    let target = Target { caller: caller.clone(), gateways: addresses.clone(), config_hash: hash.clone() };
    let Some(observation) = context.poller.watch(&tenant.name, target) else {
        seen.unknown = true;
        return Ok(seen);
    };
    if !tenant.spec.paused {
        touch(context, tenant, &gateways, hash, &observation).await?;
        rotation::touch(context, tenant, certificates).await?;
    }
    let Some(trip) = &observation.trip else {
        seen.unavailable = unreachable(observation.failure.unwrap_or(Reason::GatewayUnreachable));
        return Ok(seen);
    };
    seen.outdated = outdated(&addresses, &observation, hash);
    // A paused tenant's pods keep the config that they have: it stays valid.
    if trip.config_epoch_min < *epoch && !tenant.spec.paused {
        let waited = context.first_seen(&tenant.name, hash).elapsed() > FENCE_AFTER;
        // Where pods refuse the config, the one that they have must go on booking.
        let due = observation.on_config(hash).next().is_some() || (waited && !observation.refused());
        if !due || !fence(context, tenant, &caller, *epoch).await? {
            let detail = "The ledger is being told of the config.";
            seen.outdated.get_or_insert(Refused::new(Reason::PodsOutdated, detail));
        }
    }
    seen.unavailable = without_standby(trip);
    if seen.unavailable.is_none()
        && tenant.managed().is_some_and(|m| m.synchronous_standbys > 0)
        && !trip.synchronous_required
    {
        seen.degraded = unreachable(Reason::StandbyMissing);
    }
    if seen.unavailable.is_none() {
        let wanted = fingerprint(&context.settings.payplane_image, hash, trip.schema_version, trip.timeline);
        if seen.probe_fingerprint.as_ref() != Some(&wanted) {
            let ledgers = running(&context.cluster, &tenant.name, "ledger").await?;
            let image = &context.settings.payplane_image;
            let renewed = gateways.iter().chain(&ledgers).all(|pod| runs_image(pod, image));
            let current = observation.on_config(hash).find_map(|name| addresses.get(name));
            probe(&caller, current.filter(|_| renewed), wanted, &mut seen).await;
        }
    }
    Ok(seen)
}

/// Whether money moves while nothing can be done on the spec: the pods go on
/// with what they have, and are asked as ever. None where nobody answered yet.
pub async fn standing(context: &Context, object: &PaymentTenant) -> Result<Option<Seen>, ClusterError> {
    let (name, status) = (object.name_any(), object.status.clone().unwrap_or_default());
    let namespace = payplane_api::names::namespace(&name);
    let unreachable = |reason| Some(Seen { unavailable: Some(Refused::new(reason, "")), ..Seen::default() });
    let certificates = certificates::standing(&context.cluster, &namespace).await?;
    let caller = certificates.and_then(|certificates| Caller::new(&namespace, &certificates).ok());
    let (Some(caller), Some(config)) = (caller, status.config) else {
        return Ok(unreachable(Reason::GatewayUnreachable));
    };
    let gateways = running(&context.cluster, &name, "gateway").await?.iter().filter_map(address).collect();
    let target = Target { caller, gateways, config_hash: config.hash };
    let Some(observation) = context.poller.watch(&name, target) else { return Ok(None) };
    Ok(match &observation.trip {
        Some(trip) => Some(Seen { unavailable: without_standby(trip), ..Seen::default() }),
        None => unreachable(observation.failure.unwrap_or(Reason::GatewayUnreachable)),
    })
}

/// Commits wait for a required standby that is away.
fn without_standby(trip: &RoundTrip) -> Option<Refused> {
    let alone = trip.synchronous_required && trip.synchronous_standbys == 0;
    alone.then(|| Refused::new(Reason::StandbyMissing, ""))
}

/// A component's running pods.
pub async fn running(cluster: &Cluster, tenant: &str, component: &str) -> Result<Vec<Value>, ClusterError> {
    let labels = [("payplane.io/tenant", tenant), ("payplane.io/component", component)];
    let namespace = payplane_api::names::namespace(tenant);
    let mut pods = cluster.look_for_pods(&namespace, &labels).await?;
    pods.retain(|pod| pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null());
    Ok(pods)
}

fn address(pod: &Value) -> Option<(String, String)> {
    Some((pod["metadata"]["name"].as_str()?.to_owned(), pod["status"]["podIP"].as_str()?.to_owned()))
}

/// Tells the kubelet by an annotation to sync the pod's volumes at once, and
/// tells it again where the pod still runs an older config.
async fn touch(
    context: &Context,
    tenant: &Tenant,
    pods: &[Value],
    hash: &str,
    observation: &Observation,
) -> Result<(), ClusterError> {
    const AGAIN_AFTER: Duration = Duration::from_secs(2);
    const TOUCHES_MAX: u64 = 10;
    let waited = context.first_seen(&tenant.name, hash).elapsed().as_secs() / AGAIN_AFTER.as_secs();
    for pod in pods {
        let Some((name, _)) = address(pod) else { continue };
        if observation.on_config(hash).any(|on| on == name) {
            continue;
        }
        // A pod that was made with this config mounts it from the start.
        let mark = format!("{}-{}", &hash[..hash.len().min(16)], waited.min(TOUCHES_MAX));
        if pod["metadata"]["annotations"]["payplane.io/config"] != mark.as_str()
            && observation.pods.contains_key(&name)
        {
            let patch = json!({"metadata": {"annotations": {"payplane.io/config": mark}}});
            context.cluster.merge(&resource("v1", "Pod"), Some(&tenant.namespace), &name, &patch).await?;
        }
    }
    Ok(())
}

fn outdated(addresses: &BTreeMap<String, String>, observation: &Observation, hash: &str) -> Option<Refused> {
    let current = observation.on_config(hash).filter(|name| addresses.contains_key(*name)).count();
    if current == addresses.len() {
        return None;
    }
    let behind = addresses.keys().find(|name| !observation.on_config(hash).any(|on| on == name.as_str()));
    let refused = if observation.refused() { " It was refused by a pod, whose log says why." } else { "" };
    let behind = behind.map(String::as_str).unwrap_or_default();
    let detail = format!("{current} of {} pods work by it; {behind} does not.{refused}", addresses.len());
    Some(Refused::new(Reason::PodsOutdated, detail))
}

/// From here on the ledger books nothing that was decided on an older config.
async fn fence(
    context: &Context,
    tenant: &Tenant,
    caller: &Caller,
    epoch: u64,
) -> Result<bool, ClusterError> {
    for (_, address) in running(&context.cluster, &tenant.name, "ledger").await?.iter().filter_map(address) {
        match caller.raise_config_epoch(&address, epoch).await {
            Ok(in_force) => return Ok(in_force >= epoch),
            Err(error) => tracing::info!(tenant = tenant.name, %error, "config epoch not raised"),
        }
    }
    Ok(false)
}

/// What a probe proves: another image, config, schema or primary calls for another one.
fn fingerprint(image: &str, hash: &str, schema_version: u32, timeline: u32) -> String {
    let text = format!("{image}\n{hash}\n{schema_version}\n{timeline}");
    hex::encode(&Sha256::digest(text)[..16])
}

/// A pod of a former image would prove nothing about the new one.
fn runs_image(pod: &Value, image: &str) -> bool {
    let containers = pod["spec"]["containers"].as_array().into_iter().flatten();
    containers.into_iter().all(|container| container["image"] == image)
}

/// Probes through a gateway that runs what is wanted. Until there is one, the
/// last probe stands.
async fn probe(caller: &Caller, gateway: Option<&String>, wanted: String, seen: &mut Seen) {
    let Some(address) = gateway else {
        if seen.probe_fingerprint.is_none() {
            seen.unavailable = Some(Refused::new(Reason::Probing, ""));
        }
        return;
    };
    match caller.probe(address, &wanted).await {
        Ok(()) => seen.probe_fingerprint = Some(wanted),
        Err(error) => {
            tracing::info!(%error, "probe failed");
            seen.unavailable = Some(Refused::new(Reason::ProbeFailed, ""));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_probe_proves_calls_for_another_one() {
        let all = [("a", "h", 1, 1), ("b", "h", 1, 1), ("a", "i", 1, 1), ("a", "h", 2, 1), ("a", "h", 1, 2)];
        let all = all.map(|(image, hash, schema, timeline)| fingerprint(image, hash, schema, timeline));
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len(), "{all:?}");
    }

    #[test]
    fn a_pod_of_a_former_image_is_not_probed() {
        let pod = json!({"spec": {"containers": [{"name": "gateway", "image": "registry/payplane:2"}]}});
        assert!(runs_image(&pod, "registry/payplane:2"));
        assert!(!runs_image(&pod, "registry/payplane:1"));
    }
}
