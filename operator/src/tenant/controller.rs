//! The reconcile of one tenant, top to bottom.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use payplane_api::error::chain;
use payplane_crds::PaymentTenant;
use payplane_crds::condition::Reason;
use serde_json::Value;

use crate::framework::cluster::ClusterError;
use crate::framework::finalizer;
use crate::framework::object::resource;
use crate::tenant::apply::{self, ApplyError, Progress};
use crate::tenant::conditions::Findings;
use crate::tenant::context::Context;
use crate::tenant::observe::{self, Seen};
use crate::tenant::status::{self, Facts, Surroundings};
use crate::tenant::validate::{Refused, Tenant, validate};
use crate::tenant::{
    certificates, delete, dereference, events, leaving, orphans, stuck, sweep, unreadable, untended,
};

/// A tenant that waits for something without a watch is looked at this often.
const WAITING: Duration = Duration::from_secs(3);
/// A deleted one whose channels go first is looked at this often.
const BESIDE: Duration = Duration::from_secs(1);
/// One whose config is on its way to pods is looked at this often.
const DELIVERING: Duration = Duration::from_millis(700);
/// And one that is complete, in case a watch lost something.
const SETTLED: Duration = Duration::from_secs(600);
/// So often a refused write is tried again before the status says so: rights in
/// a new namespace take a moment to be believed.
const FAILURES_UNTOLD: u32 = 4;

/// Reconciles a tenant; says when to look again.
pub async fn reconcile(context: Arc<Context>, name: String) -> Option<Duration> {
    // This process is about to end: nothing is tried, and nothing is told.
    if !context.cluster.leads() {
        return Some(WAITING);
    }
    let result = once(&context, &name).await;
    context.metrics.reconciled("PaymentTenant", result.is_ok());
    let wait = context.back_off(&name, result.is_err());
    match result {
        Ok(again) => again,
        Err(error) => {
            tracing::info!(tenant = name, error = chain(&error), "reconcile is tried again");
            Some(wait)
        }
    }
}

async fn once(context: &Context, name: &str) -> Result<Option<Duration>, ApplyError> {
    let tenants = resource("payplane.io/v1alpha1", "PaymentTenant");
    // Channels outside of tenants' namespaces come under their namespace's name.
    if let Some(namespace) = name.strip_prefix('/') {
        orphans::reconcile(&context.cluster, namespace).await?;
        return Ok(None);
    }
    let Some(live) = context.cluster.get(&tenants, None, name).await? else {
        context.forget(name);
        orphans::reconcile(&context.cluster, &payplane_api::names::namespace(name)).await?;
        return Ok(None);
    };
    let object: PaymentTenant = match unreadable::read(&live) {
        Ok(object) => object,
        Err(odd) => {
            odd.tell(&context.cluster).await;
            let serves = live["status"]["booksId"].is_string();
            return Ok(Some(renew(context, name, serves).await));
        }
    };
    if object.metadata.deletion_timestamp.is_some() {
        return ending(context, &object, &live).await;
    }
    finalizer::add(&context.cluster, &tenants, &live).await?;
    let tenant = match validate(&object) {
        Ok(tenant) => tenant,
        Err(refused) => return held(context, &object, refused).await,
    };
    if let Some(refused) = stuck::nodes(&context.cluster, &tenant).await? {
        let again = held(context, &object, refused).await?;
        return Ok(again.map(|again| again.min(WAITING)));
    }
    tending(context, &object, &tenant).await
}

/// A spec that cannot work, or a deletion that waits, does not stop what is serving.
async fn held(
    context: &Context,
    object: &PaymentTenant,
    refused: Refused,
) -> Result<Option<Duration>, ApplyError> {
    let namespace = payplane_api::names::namespace(&object.name_any());
    let serves = object.status.as_ref().is_some_and(|s| s.books_id.is_some());
    let again = renew(context, &object.name_any(), serves).await;
    let unavailable = if serves {
        let Some(seen) = observe::standing(context, object).await? else { return Ok(Some(WAITING)) };
        seen.unavailable
    } else {
        Some(refused.clone())
    };
    let (channels, odd_ones) = dereference::channels(&context.cluster, &namespace).await?;
    for odd in &odd_ones {
        odd.tell(&context.cluster).await;
    }
    untended::tell(&context.cluster, channels, unavailable.as_ref()).await?;
    let findings =
        Findings { blocked: Some(refused), unavailable, paused: object.spec.paused, ..Findings::default() };
    tell(context, object, &findings).await?;
    Ok(Some(again))
}

/// Certificates run out also where nothing else is done. Says when to look again;
/// a renewal that fails is tried again, and hides nothing.
async fn renew(context: &Context, tenant: &str, serves: bool) -> Duration {
    if !serves {
        return SETTLED;
    }
    let lifetime = SignedDuration::from_secs(context.settings.leaf_lifetime_seconds);
    let namespace = payplane_api::names::namespace(tenant);
    match certificates::renew(&context.cluster, &namespace, lifetime).await {
        Ok(due) => {
            let ahead = Duration::try_from(due.duration_since(Timestamp::now())).unwrap_or_default();
            ahead.clamp(WAITING, SETTLED)
        }
        Err(error) => {
            tracing::info!(tenant, error = chain(&error), "certificates are not renewed");
            WAITING
        }
    }
}

/// Says of a tenant what keeps it.
async fn tell(context: &Context, object: &PaymentTenant, findings: &Findings) -> Result<(), ClusterError> {
    events::tell(&context.recorder, object, findings).await;
    let next = status::of_tenant(object, None, findings, Facts::default());
    status::write_tenant(&context.cluster, object, &next).await
}

async fn tending(
    context: &Context,
    object: &PaymentTenant,
    tenant: &Tenant,
) -> Result<Option<Duration>, ApplyError> {
    let cluster = &context.cluster;
    let writer = if object.spec.paused { cluster.reader() } else { cluster.clone() };
    let generation = object.metadata.generation;
    let verdict = context.verdicts.standing(&tenant.name, generation);
    let epoch_min = context.poller.config_epoch_min(&tenant.name);
    let world = dereference::dereference(cluster, tenant, epoch_min, verdict).await?;
    for odd in &world.unreadable {
        odd.tell(cluster).await;
    }
    let recording = writer.recording();
    let mut progress = Progress::default();
    if let Err(error) = apply::apply(&recording, tenant, &world, &context.settings, &mut progress).await {
        let told = error.said().filter(|_| context.failed(&tenant.name) >= FAILURES_UNTOLD);
        let Some(said) = told else { return Err(error) };
        tracing::info!(tenant = tenant.name, error = chain(&error), "not applied");
        progress.blocked.get_or_insert(Refused::new(Reason::ApplyFailed, said));
    }
    context.verdicts.note(&tenant.name, generation, progress.blocked.as_ref());
    if progress.blocked.is_none() && !object.spec.paused {
        let parts = recording.recorded();
        if context.sweep_due(&tenant.name, &parts.join("\n")) {
            sweep::orphans(cluster, tenant, &parts).await?;
        }
    }
    if progress.home {
        context.watch_secrets(tenant);
    }
    let before = object.status.clone().unwrap_or_default();
    let deployed = progress.books_id.is_some() || before.books_id.is_some();
    let seen = if !deployed {
        Seen { unavailable: progress.blocked.clone(), ..Seen::default() }
    } else if progress.config.is_some() {
        observe::observe(context, tenant, &progress, before.probe_fingerprint.as_deref()).await?
    } else {
        observe::standing(context, object).await?.unwrap_or(Seen { unknown: true, ..Seen::default() })
    };
    if seen.unknown {
        // The first answer wakes the next reconcile.
        return Ok(Some(WAITING));
    }
    if progress.blocked.is_some() && progress.channels.is_empty() {
        untended::tell(cluster, world.channels, seen.unavailable.as_ref()).await?;
    }
    settle(context, object, tenant, progress, seen).await
}

async fn settle(
    context: &Context,
    object: &PaymentTenant,
    tenant: &Tenant,
    progress: Progress,
    seen: Seen,
) -> Result<Option<Duration>, ApplyError> {
    let renew_at = progress.certificates.as_ref().map(|c| c.renew_at);
    // A part that is missing is a rollout that is pending: Ready waits for it, payments do not.
    let degraded = progress.degraded.clone().or_else(|| seen.degraded.clone());
    let pending = progress.blocked.clone().or_else(|| seen.outdated.clone());
    let findings = Findings {
        blocked: pending.or_else(|| degraded.clone()),
        unavailable: seen.unavailable.clone(),
        degraded,
        paused: object.spec.paused,
    };
    // Without a config no channel's edit has reached anybody.
    let undelivered = progress.config.is_none() && seen.unavailable.is_none();
    let undelivered = undelivered.then(|| Refused::new(Reason::TenantNotReady, ""));
    let mut waiting = findings.blocked.is_some() || findings.unavailable.is_some();
    for resolved in &progress.channels {
        let open = leaving::leaving(context, tenant, resolved, &progress, &seen).await?;
        waiting |= open.is_some();
        let around = Surroundings {
            unavailable: seen.unavailable.clone(),
            outdated: undelivered.clone().or_else(|| seen.outdated.clone()),
            paused: object.spec.paused,
            open,
        };
        status::write_channel(&context.cluster, resolved, &around).await?;
    }
    let facts = Facts {
        books_id: progress.books_id,
        schema_version: progress.schema_version,
        config: progress.config,
        probe_fingerprint: seen.probe_fingerprint,
    };
    let next = status::of_tenant(object, Some(tenant), &findings, facts);
    let before = object.status.clone().unwrap_or_default();
    let hold = context.pace.hold(&tenant.name, &before, &next);
    if hold.is_none() {
        events::tell(&context.recorder, object, &findings).await;
        status::write_tenant(&context.cluster, object, &next).await?;
    }
    let renewal = renew_at.and_then(|at| Duration::try_from(at.duration_since(Timestamp::now())).ok());
    let again = match (&seen.outdated, waiting) {
        (Some(_), _) => DELIVERING,
        (None, true) => WAITING,
        (None, false) => SETTLED,
    };
    let again = hold.map_or(again, |hold| hold.min(again));
    Ok(Some(renewal.map_or(again, |r| r.min(again)).max(Duration::from_millis(100))))
}

async fn ending(
    context: &Context,
    object: &PaymentTenant,
    live: &Value,
) -> Result<Option<Duration>, ApplyError> {
    let tenants = resource("payplane.io/v1alpha1", "PaymentTenant");
    if !finalizer::is_held(live) {
        return Ok(None);
    }
    let name = object.name_any();
    if leaving::go_first(context, object).await?
        && let Ok(tenant) = validate(object)
    {
        let again = tending(context, object, &tenant).await?;
        return Ok(again.map(|again| again.min(BESIDE)));
    }
    context.unwatch_secrets(&name);
    let ended = match delete::delete(&context.cluster, object).await {
        Err(error) if context.failed(&name) >= FAILURES_UNTOLD => {
            tracing::info!(tenant = name, error = chain(&error), "not deleted");
            Err(Refused::new(Reason::ApplyFailed, error.said()))
        }
        ended => ended?,
    };
    match ended {
        Ok(()) => {
            finalizer::remove(&context.cluster, &tenants, live).await?;
            context.forget(&name);
            Ok(None)
        }
        Err(refused) if matches!(refused.reason, Reason::DeletionPaused | Reason::DestroyBooksMismatch) => {
            held(context, object, refused).await
        }
        Err(refused) => {
            let findings = Findings {
                blocked: Some(refused.clone()),
                unavailable: Some(refused),
                paused: object.spec.paused,
                ..Findings::default()
            };
            tell(context, object, &findings).await?;
            Ok(Some(Duration::from_secs(1)))
        }
    }
}
