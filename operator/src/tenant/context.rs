//! What every reconcile needs, and what is remembered between two of one tenant:
//! nothing that is true only here, so a restart costs time and no truth.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::runtime::events::{Recorder, Reporter};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::framework::cluster::{Cluster, FIELD_MANAGER};
use crate::framework::health::Metrics;
use crate::framework::object::resource;
use crate::framework::queue::Queue;
use crate::framework::seen::Scope;
use crate::framework::watch;
use crate::poller::Poller;
use crate::settings::Settings;
use crate::tenant::pace::Pace;
use crate::tenant::validate::Tenant;
use crate::tenant::verdict::Verdicts;

/// What every reconcile needs.
pub struct Context {
    pub cluster: Cluster,
    pub settings: Settings,
    pub queue: Queue,
    pub poller: Poller,
    pub metrics: Metrics,
    failures: Mutex<HashMap<String, u32>>,
    configs: Mutex<HashMap<String, (String, Instant)>>,
    secrets: Mutex<HashMap<String, AbortHandle>>,
    pub pace: Pace,
    swept: Mutex<HashMap<String, String>>,
    leaving: Mutex<HashMap<String, Instant>>,
    pub verdicts: Verdicts,
    pub recorder: Recorder,
}

impl Context {
    #[must_use]
    pub fn new(cluster: Cluster, settings: Settings, queue: Queue, poller: Poller, metrics: Metrics) -> Self {
        let reporter =
            Reporter { controller: FIELD_MANAGER.to_owned(), instance: Some(settings.pod_name.clone()) };
        Self {
            recorder: Recorder::new(cluster.client.clone(), reporter),
            pace: Pace::default(),
            swept: Mutex::default(),
            leaving: Mutex::default(),
            verdicts: Verdicts::default(),
            cluster,
            settings,
            queue,
            poller,
            metrics,
            failures: Mutex::default(),
            configs: Mutex::default(),
            secrets: Mutex::default(),
        }
    }

    /// Since when this process knows of a config. After a restart a straggler
    /// is only given the same few seconds again.
    pub fn first_seen(&self, tenant: &str, hash: &str) -> Instant {
        let mut configs = lock(&self.configs);
        let entry = configs.entry(tenant.to_owned()).or_insert_with(|| (hash.to_owned(), Instant::now()));
        if entry.0 != hash {
            *entry = (hash.to_owned(), Instant::now());
        }
        entry.1
    }

    /// Since when this process knows that a tenant is to go.
    pub fn leaving_since(&self, tenant: &str) -> Instant {
        *lock(&self.leaving).entry(tenant.to_owned()).or_insert_with(Instant::now)
    }

    /// Secrets are watched in tenants' namespaces only: there is no right to
    /// see them anywhere else.
    pub fn watch_secrets(&self, tenant: &Tenant) {
        let mut secrets = lock(&self.secrets);
        secrets.entry(tenant.name.clone()).or_insert_with(|| {
            let name = tenant.name.clone();
            let (client, queue) = (self.cluster.client.clone(), self.queue.clone());
            let seen = self.cluster.seen.clone();
            let kind = resource("v1", "Secret");
            let namespace = Some(tenant.namespace.clone());
            tokio::spawn(watch::follow(client, kind, namespace, None, queue, seen, move |_| {
                Some(name.clone())
            }))
            .abort_handle()
        });
    }

    /// A tenant that is gone leaves nothing here.
    pub fn forget(&self, tenant: &str) {
        self.poller.forget(tenant);
        self.pace.forget(tenant);
        self.verdicts.note(tenant, None, None);
        self.unwatch_secrets(tenant);
        lock(&self.configs).remove(tenant);
        lock(&self.swept).remove(tenant);
        lock(&self.leaving).remove(tenant);
    }

    /// The rights in a namespace end before the namespace.
    pub fn unwatch_secrets(&self, tenant: &str) {
        if let Some(task) = lock(&self.secrets).remove(tenant) {
            task.abort();
        }
        let namespace = payplane_api::names::namespace(tenant);
        self.cluster.seen.forget(&Scope::new(&resource("v1", "Secret"), Some(&namespace)));
    }

    /// How often in a row it could not be reconciled.
    pub fn failed(&self, tenant: &str) -> u32 {
        lock(&self.failures).get(tenant).copied().unwrap_or(0)
    }

    /// Were orphans looked for since the tenant's parts changed? Notes that they are now.
    pub fn sweep_due(&self, tenant: &str, parts: &str) -> bool {
        let mut swept = lock(&self.swept);
        swept.insert(tenant.to_owned(), parts.to_owned()).as_deref() != Some(parts)
    }

    /// Notes how a reconcile ended; says how long to wait after one that failed.
    pub fn back_off(&self, tenant: &str, failed: bool) -> Duration {
        let mut failures = lock(&self.failures);
        if !failed {
            failures.remove(tenant);
            return Duration::ZERO;
        }
        let count = failures.entry(tenant.to_owned()).or_insert(0);
        *count = count.saturating_add(1);
        Duration::from_millis(250_u64.saturating_mul(1 << (*count).min(7)))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
