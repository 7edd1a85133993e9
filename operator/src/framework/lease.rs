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
const LEASE: Duration = Duration::from_secs(15);
const RETRY: Duration = Duration::from_secs(2);
/// One try to claim: several fit into a reign.
const CLAIM_MAX: Duration = Duration::from_secs(3);

/// This replica's claim.
#[derive(Clone)]
pub struct Election {
    pub api: Api<Lease>,
    pub name: String,
    pub identity: String,
    pub reign: Reign,
}

/// How a claim went.
enum Claim {
    Ours,
    /// Another replica holds it.
    Theirs,
    /// Unknown, or somebody else wrote it at the same moment.
    Unclear,
}

/// The lease as it was last seen, and since when it has been so; nothing, where none
/// was ever seen.
#[derive(Default)]
struct Observed(Option<(Option<String>, Instant)>);

impl Observed {
    fn unchanged_for(&mut self, version: Option<String>) -> Duration {
        match &self.0 {
            Some((known, since)) if *known == version => since.elapsed(),
            None if version.is_none() => Duration::MAX,
            _ => {
                self.0 = Some((version, Instant::now()));
                Duration::ZERO
            }
        }
    }
}

impl Election {
    /// Waits until this replica leads.
    pub async fn acquire(&self) {
        let mut observed = Observed::default();
        while !matches!(self.claim(&mut observed).await, Claim::Ours) {
            tokio::time::sleep(RETRY).await;
        }
        tracing::info!(identity = self.identity, "leading");
    }

    /// Renews until that fails for too long. When it returns, this process must end.
    pub async fn hold(&self) {
        let mut observed = Observed::default();
        while let Some(left) = self.reign.left() {
            tokio::time::sleep(RETRY.min(left)).await;
            if matches!(self.claim(&mut observed).await, Claim::Theirs) {
                return;
            }
        }
    }

    /// Gives the lease back once nothing is written any more, so the next leader
    /// need not wait for its end.
    pub async fn release(&self) {
        if !self.reign.end().await {
            return;
        }
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

    async fn claim(&self, observed: &mut Observed) -> Claim {
        match tokio::time::timeout(CLAIM_MAX, self.try_claim(observed)).await {
            Ok(Ok(claim)) => claim,
            Ok(Err(error)) => {
                tracing::info!(%error, "lease not claimed");
                Claim::Unclear
            }
            Err(_) => {
                tracing::info!("the API server does not answer a claim of the lease");
                Claim::Unclear
            }
        }
    }

    /// Takes or renews the lease if it is free or ours.
    async fn try_claim(&self, observed: &mut Observed) -> Result<Claim, kube::Error> {
        // Others count from when they see this claim, which is later.
        let until = Instant::now().checked_add(REIGN);
        let lease = self.api.get_opt(&self.name).await?;
        let version = lease.as_ref().and_then(|lease| lease.metadata.resource_version.clone());
        let unchanged = observed.unchanged_for(version);
        let spec = lease.as_ref().and_then(|lease| lease.spec.as_ref());
        let holder = spec.and_then(|spec| spec.holder_identity.as_deref());
        // One that somebody deleted may still have a leader.
        let given_back = lease.is_some() && holder.unwrap_or_default().is_empty();
        let ours = holder == Some(&self.identity) || (lease.is_none() && self.reign.left().is_some());
        if !given_back && !ours && unchanged < LEASE {
            return Ok(Claim::Theirs);
        }
        let next = self.spec(spec);
        let written = match lease {
            None => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                self.api.create(&PostParams::default(), &Lease { metadata, spec: Some(next) }).await
            }
            Some(lease) => {
                let lease = Lease { spec: Some(next), ..lease };
                self.api.replace(&self.name, &PostParams::default(), &lease).await
            }
        };
        match written {
            Ok(_) => {
                self.reign.lasts(until);
                Ok(Claim::Ours)
            }
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(Claim::Unclear),
            Err(error) => Err(error),
        }
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let ours = before.is_some_and(|spec| spec.holder_identity.as_deref() == Some(&self.identity));
        let transitions = before.and_then(|spec| spec.lease_transitions).unwrap_or(0);
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
            acquire_time: if ours { before.and_then(|s| s.acquire_time.clone()) } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(if ours { transitions } else { transitions.saturating_add(1) }),
            ..LeaseSpec::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_ages_only_from_when_it_was_seen_to_change() {
        let mut observed = Observed::default();
        assert_eq!(observed.unchanged_for(None), Duration::MAX, "there never was one");
        let version = Some("1".to_owned());
        assert_eq!(observed.unchanged_for(version.clone()), Duration::ZERO);
        std::thread::sleep(Duration::from_millis(2));
        assert!(observed.unchanged_for(version) > Duration::ZERO);
        assert_eq!(observed.unchanged_for(None), Duration::ZERO, "somebody deleted it: its leader may live");
    }
}
