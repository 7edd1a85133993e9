//! Writing a status, only where it differs.

use kube::ResourceExt;
use payplane_crds::condition::{ConditionType, Reason};
use payplane_crds::tenant::{ConfigStatus, PaymentTenantStatus};
use payplane_crds::{ChannelStatus, PaymentTenant};
use serde_json::json;

use crate::framework::cluster::{Cluster, ClusterError, FIELD_MANAGER};
use crate::framework::condition::{State, conditions};
use crate::framework::object::resource;
use crate::tenant::channels::Resolved;
use crate::tenant::conditions::{Findings, states};
use crate::tenant::validate::{Refused, Tenant};

/// What a tenant's status holds beside its conditions.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub books_id: Option<String>,
    pub schema_version: Option<u32>,
    pub config: Option<(String, u64)>,
    pub probe_fingerprint: Option<String>,
}

/// The status that a tenant should have.
#[must_use]
pub fn of_tenant(
    object: &PaymentTenant,
    tenant: Option<&Tenant>,
    findings: &Findings,
    facts: Facts,
) -> PaymentTenantStatus {
    let before = object.status.clone().unwrap_or_default();
    let namespace = payplane_api::names::namespace(&object.name_any());
    PaymentTenantStatus {
        observed_generation: object.metadata.generation,
        conditions: conditions(&before.conditions, object.metadata.generation, &namespace, &states(findings)),
        books_id: facts.books_id.or(before.books_id),
        namespace: tenant.map(|t| t.namespace.clone()).or(before.namespace),
        schema_version: facts.schema_version.or(before.schema_version),
        config: facts.config.map(|(hash, epoch)| ConfigStatus { epoch, hash }).or(before.config),
        probe_fingerprint: facts.probe_fingerprint.or(before.probe_fingerprint),
        effective: tenant.map(|t| t.effective.clone()).or(before.effective),
    }
}

/// Writes a tenant's status if it changed.
pub async fn write_tenant(
    cluster: &Cluster,
    object: &PaymentTenant,
    status: &PaymentTenantStatus,
) -> Result<(), ClusterError> {
    if object.status.as_ref() == Some(status) {
        return Ok(());
    }
    let value = serde_json::to_value(status).unwrap_or_default();
    write(cluster, "PaymentTenant", None, &object.name_any(), &value).await
}

/// What a channel's conditions depend on beside the channel.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    pub unavailable: Option<Refused>,
    pub outdated: Option<Refused>,
    pub paused: bool,
    /// What keeps a deleted channel.
    pub open: Option<Refused>,
}

/// Writes a channel's status if it changed.
pub async fn write_channel(
    cluster: &Cluster,
    resolved: &Resolved,
    around: &Surroundings,
) -> Result<(), ClusterError> {
    let channel = &resolved.channel;
    let before = channel.status.clone().unwrap_or_default();
    let generation = channel.metadata.generation;
    let states = channel_states(resolved, around);
    let namespace = channel.namespace().unwrap_or_default();
    let conditions = conditions(&before.conditions, generation, &namespace, &states);
    let status = ChannelStatus { observed_generation: generation, conditions };
    if status == before {
        return Ok(());
    }
    let value = serde_json::to_value(status).unwrap_or_default();
    write(cluster, "Channel", Some(&namespace), &channel.name_any(), &value).await
}

fn channel_states(resolved: &Resolved, around: &Surroundings) -> Vec<State> {
    use ConditionType as T;
    let refused = resolved.refused.as_ref();
    // An edit that cannot work leaves the last good entry paying.
    let idle = refused.filter(|_| !resolved.serves);
    let paused = around.paused.then(|| Refused::new(Reason::TenantPaused, ""));
    let absent = around.unavailable.as_ref().map(|_| Refused::new(Reason::TenantNotReady, ""));
    let first =
        around.open.as_ref().or(refused).or(paused.as_ref()).or(absent.as_ref()).or(around.outdated.as_ref());
    let of = |kind, r: &Refused| State::new(kind, Some(false), r.reason, r.detail.clone());
    let ready =
        first.map_or_else(|| State::new(T::Ready, Some(true), Reason::Serving, ""), |r| of(T::Ready, r));
    let available = match around.open.as_ref().or(idle).or(absent.as_ref()) {
        Some(r) => of(T::Available, r),
        None if !resolved.channel.spec.enabled => State::new(T::Available, Some(false), Reason::Disabled, ""),
        None => State::new(T::Available, Some(true), Reason::Serving, ""),
    };
    let progressing = match &around.outdated {
        Some(outdated) if refused.is_none() => State::new(T::Progressing, Some(true), outdated.reason, ""),
        _ => State::new(T::Progressing, Some(false), Reason::UpToDate, ""),
    };
    vec![ready, available, progressing]
}

/// Writes a whole status of ours; an object that has gone needs none.
pub async fn write(
    cluster: &Cluster,
    kind: &str,
    namespace: Option<&str>,
    name: &str,
    status: &serde_json::Value,
) -> Result<(), ClusterError> {
    use kube::api::{Patch, PatchParams};
    let resource = resource("payplane.io/v1alpha1", kind);
    let patch = json!({"apiVersion": "payplane.io/v1alpha1", "kind": kind, "metadata": {"name": name}, "status": status});
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let (api, patch) = (cluster.writer(&resource, namespace), Patch::Apply(&patch));
    match cluster.write(kind, name, || api.patch_status(name, &params, &patch)).await? {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => {
            Err(ClusterError::Apply { kind: format!("{kind} status"), name: name.to_owned(), source })
        }
    }
}
