//! Leadership by a Lease. Every write carries the resourceVersion that was
//! read, so two replicas can never both believe that they took it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

/// How long a lease that nobody renews still counts.
const LEASE_SECONDS: i32 = 15;
/// A leader that could not renew for this long is none any more.
const RENEW_WITHIN: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);

/// This replica's claim.
#[derive(Clone)]
pub struct Election {
    pub api: Api<Lease>,
    pub name: String,
    pub identity: String,
}

impl Election {
    /// Waits until this replica leads.
    pub async fn acquire(&self) {
        loop {
            match self.claim().await {
                Ok(true) => return tracing::info!(identity = self.identity, "leading"),
                Ok(false) => {}
                Err(error) => tracing::info!(%error, "lease not readable"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Renews until that fails for too long. When it returns, this process must end.
    pub async fn hold(&self) {
        let mut renewed = tokio::time::Instant::now();
        while renewed.elapsed() < RENEW_WITHIN {
            tokio::time::sleep(RETRY).await;
            match tokio::time::timeout(RENEW_WITHIN.saturating_sub(renewed.elapsed()), self.claim()).await {
                Ok(Ok(true)) => renewed = tokio::time::Instant::now(),
                Ok(Ok(false)) => return,
                Ok(Err(error)) => tracing::info!(%error, "lease not renewed"),
                Err(_) => return,
            }
        }
    }

    /// Gives the lease back, so the next leader need not wait for its end.
    pub async fn release(&self) {
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
    async fn claim(&self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.api.get_opt(&self.name).await? else {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
                spec: Some(self.spec(None)),
            };
            return settled(self.api.create(&PostParams::default(), &lease).await);
        };
        let free = lease.spec.as_ref().is_none_or(|spec| self.may_take(spec));
        if !free {
            return Ok(false);
        }
        lease.spec = Some(self.spec(lease.spec.as_ref()));
        settled(self.api.replace(&self.name, &PostParams::default(), &lease).await)
    }

    fn may_take(&self, spec: &LeaseSpec) -> bool {
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let ends = spec.renew_time.as_ref().map(|at| {
            let lasts = spec.lease_duration_seconds.unwrap_or(LEASE_SECONDS);
            at.0.saturating_add(SignedDuration::from_secs(lasts.into()))
        });
        holder.is_empty()
            || holder == self.identity
            || !matches!(ends, Some(Ok(end)) if end > Timestamp::now())
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

/// A conflict means that another replica was quicker.
fn settled<T>(written: Result<T, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
