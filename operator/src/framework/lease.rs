//! Leadership by a Lease. Every write carries the resourceVersion that was
//! read, so two replicas can never both believe that they took it. Nobody's clock
//! is compared with another's: a lease ended when it did not change for its time.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use super::reign::{REIGN, Reign};

/// How long a lease that nobody renews still counts.
const LEASE_SECONDS: i32 = 15;
const RETRY: Duration = Duration::from_secs(2);

/// This replica's claim.
#[derive(Clone)]
pub struct Election {
    pub api: Api<Lease>,
    pub name: String,
    pub identity: String,
    pub reign: Reign,
}

/// The lease as it was last seen, and since when it has been so.
struct Observed {
    version: Option<String>,
    since: Instant,
}

impl Observed {
    fn nothing() -> Self {
        Self { version: None, since: Instant::now() }
    }

    fn unchanged_for(&mut self, lease: &Lease) -> Duration {
        if self.version != lease.metadata.resource_version {
            *self = Self { version: lease.metadata.resource_version.clone(), since: Instant::now() };
        }
        self.since.elapsed()
    }
}

impl Election {
    /// Waits until this replica leads.
    pub async fn acquire(&self) {
        let mut observed = Observed::nothing();
        loop {
            match self.claim(&mut observed).await {
                Ok(true) => return tracing::info!(identity = self.identity, "leading"),
                Ok(false) => {}
                Err(error) => tracing::info!(%error, "lease not readable"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Renews until that fails for too long. When it returns, this process must end.
    pub async fn hold(&self) {
        let mut observed = Observed::nothing();
        while let Some(left) = self.reign.left() {
            tokio::time::sleep(RETRY.min(left)).await;
            let left = self.reign.left().unwrap_or_default();
            match tokio::time::timeout(left, self.claim(&mut observed)).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => tracing::info!(%error, "lease not renewed"),
            }
        }
    }

    /// Gives the lease back, so the next leader need not wait for its end.
    pub async fn release(&self) {
        self.reign.lasts(None);
        let Ok(Some(mut lease)) = self.api.get_opt(&self.name).await else { return };
        let held = lease.spec.as_ref().and_then(|s| s.holder_identity.as_deref());
        if held != Some(self.identity.as_str()) {
            return;
        }
        if let Some(spec) = lease.spec.as_mut() {
            spec.holder_identity = None;
            spec.renew_time = None;
        }
        let _ = self.api.replace(&self.name, &PostParams::default(), &lease).await;
    }

    /// Takes or renews the lease if it is free or ours.
    async fn claim(&self, observed: &mut Observed) -> Result<bool, kube::Error> {
        // Others count from when they see this claim, which is later.
        let until = Instant::now().checked_add(REIGN);
        let written = match self.api.get_opt(&self.name).await? {
            None => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                let lease = Lease { metadata, spec: Some(self.spec(None)) };
                self.api.create(&PostParams::default(), &lease).await
            }
            Some(mut lease) => {
                let unchanged = observed.unchanged_for(&lease);
                if !lease.spec.as_ref().is_none_or(|spec| self.may_take(spec, unchanged)) {
                    return Ok(false);
                }
                lease.spec = Some(self.spec(lease.spec.as_ref()));
                self.api.replace(&self.name, &PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(_) => self.reign.lasts(until),
            // Another replica was quicker.
            Err(kube::Error::Api(status)) if status.code == 409 => return Ok(false),
            Err(error) => return Err(error),
        }
        Ok(true)
    }

    fn may_take(&self, spec: &LeaseSpec, unchanged: Duration) -> bool {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let lasts = u64::try_from(spec.lease_duration_seconds.unwrap_or(LEASE_SECONDS)).unwrap_or_default();
        holder.is_empty() || holder == self.identity || unchanged >= Duration::from_secs(lasts)
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let ours = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            acquire_time: if ours { before.and_then(|s| s.acquire_time.clone()) } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(if ours { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }
}
