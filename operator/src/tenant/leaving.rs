//! A deleted Channel stays until no payment on it is open.

use std::time::Duration;

use kube::ResourceExt;
use payplane_crds::PaymentTenant;
use payplane_crds::condition::Reason;
use payplane_crds::tenant::DeletionPolicy;
use serde_json::Value;

use crate::framework::cluster::ClusterError;
use crate::framework::finalizer;
use crate::framework::object::resource;
use crate::tenant::apply::Progress;
use crate::tenant::build::network;
use crate::tenant::channels::Resolved;
use crate::tenant::context::Context;
use crate::tenant::observe::Seen;
use crate::tenant::validate::{Refused, Tenant};

/// So long a deleted tenant looks out for channels that are deleted with it.
const LOOKS_OUT: Duration = Duration::from_secs(2);
/// And so long it serves those that it found.
const SERVES: Duration = Duration::from_secs(30);

/// Do channels go before their tenant? Whoever deletes both at once finds none
/// waiting: while the gateway serves, their payments can be counted. Once it has
/// been stopped nothing brings it back.
pub async fn go_first(context: &Context, object: &PaymentTenant) -> Result<bool, ClusterError> {
    let books = object.status.as_ref().is_some_and(|status| status.books_id.is_some());
    let retained = object.spec.deletion_policy == DeletionPolicy::Retain;
    if !books || !retained || object.spec.paused {
        return Ok(false);
    }
    let since = context.leaving_since(&object.name_any()).elapsed();
    if since > SERVES {
        return Ok(false);
    }
    let namespace = payplane_api::names::namespace(&object.name_any());
    let gateway =
        context.cluster.get(&resource("apps/v1", "Deployment"), Some(&namespace), "gateway").await?;
    if gateway.is_none_or(|live| live["metadata"]["deletionTimestamp"].is_string()) {
        return Ok(false);
    }
    let channels = resource("payplane.io/v1alpha1", "Channel");
    let channels = context.cluster.list(&channels, Some(&namespace), "").await?;
    let goes = |live: &Value| live["metadata"]["deletionTimestamp"].is_string() && finalizer::is_held(live);
    Ok(since < LOOKS_OUT || channels.iter().any(goes))
}

/// Holds a channel by our finalizer, and lets a deleted one go when it can.
/// What is given back says why it cannot yet.
pub async fn leaving(
    context: &Context,
    tenant: &Tenant,
    resolved: &Resolved,
    progress: &Progress,
    seen: &Seen,
) -> Result<Option<Refused>, ClusterError> {
    let channels = resource("payplane.io/v1alpha1", "Channel");
    let live = serde_json::to_value(&resolved.channel).unwrap_or_default();
    let name = resolved.channel.metadata.name.clone().unwrap_or_default();
    let deleted = resolved.channel.metadata.deletion_timestamp.is_some();
    if tenant.spec.paused {
        return Ok(deleted.then(|| Refused::new(Reason::TenantPaused, "")));
    }
    if !deleted {
        finalizer::add(&context.cluster, &channels, &live).await?;
        return Ok(None);
    }
    // Without books there was never a payment.
    let paid = progress.marked || progress.books_id.is_some();
    if paid && let Some(kept) = kept(context, tenant, &name, progress, seen).await {
        return Ok(Some(kept));
    }
    let policies = resource("networking.k8s.io/v1", "NetworkPolicy");
    let policy = network::channel_policy_name(&name);
    if let Some(policy) = context.cluster.get(&policies, Some(&tenant.namespace), &policy).await? {
        context.cluster.delete(&policies, &policy).await?;
    }
    finalizer::remove(&context.cluster, &channels, &live).await?;
    Ok(None)
}

/// Why the channel is still needed. Its payments are counted only when no pod
/// takes new ones any more: every one is on the config without it, and the
/// ledger books nothing that was decided on an older one.
async fn kept(
    context: &Context,
    tenant: &Tenant,
    name: &str,
    progress: &Progress,
    seen: &Seen,
) -> Option<Refused> {
    let before = seen.outdated.clone().or_else(|| seen.unavailable.clone());
    if before.is_some() || progress.config.is_none() {
        return Some(before.unwrap_or_else(|| Refused::new(Reason::Reconciling, "")));
    }
    let unreachable = || Refused::new(Reason::GatewayUnreachable, "");
    let Some(target) = context.poller.target(&tenant.name) else { return Some(unreachable()) };
    for address in target.gateways.values() {
        if let Ok(open) = target.caller.open_payments(address, name).await {
            let detail = format!("{} pending, {} unknown.", open.pending, open.unknown);
            let none = open.pending == 0 && open.unknown == 0;
            return (!none).then(|| Refused::new(Reason::OpenPayments, detail));
        }
    }
    Some(unreachable())
}
