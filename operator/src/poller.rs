//! One bounded task outside the reconcilers asks pods what they run and whether
//! money can move. It wakes a reconcile only when an answer changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use payplane_api::control::{CODE_DATABASE_READ_ONLY, CODE_DATABASE_UNREACHABLE, PodStatus, RoundTrip};
use payplane_crds::condition::Reason;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::framework::queue::Queue;
use crate::pods::{Caller, PodError};

/// How often a settled tenant is asked. Losing ledger or database is told after
/// two bad answers, well within 30 s.
const SETTLED: Duration = Duration::from_secs(5);
/// How often one that waits for something is asked.
const WAITING: Duration = Duration::from_millis(500);
const TENANTS_AT_ONCE: usize = 16;

/// Whom to ask.
#[derive(Clone)]
pub struct Target {
    pub caller: Caller,
    /// Gateway pods: name and address.
    pub gateways: BTreeMap<String, String>,
    /// The config that the pods should run.
    pub config_hash: String,
}

/// What was answered. It holds nothing that moves while all is well.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Observation {
    /// What each gateway pod runs; None where it does not answer.
    pub pods: BTreeMap<String, Option<PodStatus>>,
    pub trip: Option<RoundTrip>,
    /// Why there was no round trip.
    pub failure: Option<Reason>,
}

impl Observation {
    /// Does a pod say that it cannot work by the config that it was given?
    #[must_use]
    pub fn refused(&self) -> bool {
        self.pods.values().flatten().any(|status| status.config_error.is_some())
    }

    /// Pods that run a config, by name.
    pub fn on_config<'a>(&'a self, hash: &'a str) -> impl Iterator<Item = &'a str> {
        let runs = move |status: &Option<PodStatus>| status.as_ref().is_some_and(|s| s.config_hash == hash);
        self.pods.iter().filter(move |(_, status)| runs(status)).map(|(name, _)| name.as_str())
    }
}

struct Entry {
    target: Target,
    last: Option<Observation>,
    bad_answers: u32,
    next: Instant,
    /// Somebody is asking at this moment.
    asking: bool,
}

/// All tenants that are asked. Clones share it.
#[derive(Clone, Default)]
pub struct Poller {
    entries: Arc<Mutex<HashMap<String, Entry>>>,
}

impl Poller {
    /// Sets whom to ask for a tenant, and gives back what was answered last;
    /// none where nobody was asked yet, as after a restart.
    pub fn watch(&self, tenant: &str, target: Target) -> Option<Observation> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let entry = entries.entry(tenant.to_owned()).or_insert_with(|| Entry {
            target: target.clone(),
            last: None,
            bad_answers: 0,
            next: now,
            asking: false,
        });
        if entry.target.gateways != target.gateways || entry.target.config_hash != target.config_hash {
            entry.next = now;
        }
        entry.target = target;
        entry.last.clone()
    }

    /// Whom a tenant's channels are asked about.
    #[must_use]
    pub fn target(&self, tenant: &str) -> Option<Target> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(tenant).map(|e| e.target.clone())
    }

    /// The least config epoch that a tenant's ledger was seen to demand.
    #[must_use]
    pub fn config_epoch_min(&self, tenant: &str) -> u64 {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let trip = entries.get(tenant).and_then(|entry| entry.last.as_ref()?.trip.as_ref());
        trip.map_or(0, |trip| trip.config_epoch_min)
    }

    /// Asks about a tenant no more.
    pub fn forget(&self, tenant: &str) {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// Asks for ever.
    pub async fn run(self, queue: Queue) {
        let places = Arc::new(Semaphore::new(TENANTS_AT_ONCE));
        loop {
            // Each on its own: a tenant whose pods are silent holds up no other.
            for (tenant, target) in self.due() {
                let (poller, queue, places) = (self.clone(), queue.clone(), places.clone());
                tokio::spawn(async move {
                    let place = places.acquire_owned().await;
                    let seen = ask(&target).await;
                    drop(place);
                    if poller.note(&tenant, &target, seen) {
                        queue.add(&tenant, Duration::ZERO);
                    }
                });
            }
            tokio::time::sleep(WAITING / 2).await;
        }
    }

    fn due(&self) -> Vec<(String, Target)> {
        let now = Instant::now();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let due = entries.iter_mut().filter(|(_, entry)| entry.next <= now && !entry.asking);
        due.map(|(tenant, entry)| {
            entry.asking = true;
            (tenant.clone(), entry.target.clone())
        })
        .collect()
    }

    /// Notes an answer; true where it changed.
    fn note(&self, tenant: &str, target: &Target, mut seen: Observation) -> bool {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = entries.get_mut(tenant) else { return false };
        entry.asking = false;
        entry.bad_answers = if seen.failure.is_some() { entry.bad_answers.saturating_add(1) } else { 0 };
        // One lost answer is no news yet.
        if entry.bad_answers == 1 {
            entry.next = Instant::now() + WAITING;
            let Some(last) = entry.last.as_ref() else { return false };
            if last.trip.is_some() {
                seen.trip = last.trip.clone();
                seen.failure = None;
            }
        }
        let settled =
            entry.bad_answers == 0 && seen.on_config(&target.config_hash).count() == target.gateways.len();
        entry.next = Instant::now() + if settled { SETTLED } else { WAITING };
        // What is wanted changed while the pods were asked: this answer settles nothing.
        if entry.target.config_hash != target.config_hash || entry.target.gateways != target.gateways {
            entry.next = Instant::now();
        }
        if entry.last.as_ref() == Some(&seen) {
            return false;
        }
        entry.last = Some(seen);
        true
    }
}

/// Asks all pods both questions at once: silent ones together cost one time-out,
/// so two bad answers are told well within 30 s.
async fn ask(target: &Target) -> Observation {
    let asked = target.gateways.iter().map(|(name, address)| async move {
        let (status, trip) =
            futures_util::join!(target.caller.status(address), target.caller.round_trip(address));
        if let Err(error) = &status {
            tracing::debug!(pod = name, %error, "no status");
        }
        (name.clone(), status.ok(), trip)
    });
    let mut seen = Observation::default();
    let mut refusals = Vec::new();
    for (name, status, trip) in futures_util::future::join_all(asked).await {
        match trip {
            Ok(trip) => _ = seen.trip.get_or_insert(trip),
            Err(PodError::Refused { code, .. }) => refusals.push(code),
            Err(_) => {}
        }
        seen.pods.insert(name, status);
    }
    if seen.trip.is_none() {
        seen.failure = Some(failure(&refusals));
    }
    seen
}

/// The part that is away, as the gateways that answered say.
fn failure(refusals: &[String]) -> Reason {
    if refusals.iter().any(|code| code == CODE_DATABASE_READ_ONLY) {
        Reason::DatabaseReadOnly
    } else if refusals.iter().any(|code| code == CODE_DATABASE_UNREACHABLE) {
        Reason::DatabaseUnreachable
    } else if refusals.is_empty() {
        Reason::GatewayUnreachable
    } else {
        Reason::LedgerUnreachable
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::certificates::Certificates;

    fn target(config_hash: &str) -> Target {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ca = crate::pki::authority("t").unwrap();
        let bundle = ca.certificate.clone();
        let certificates =
            Certificates { bundle, operator: ca, renew_at: jiff::Timestamp::MAX, leaves: vec![] };
        Target {
            caller: Caller::new("ptn-t", &certificates).unwrap(),
            gateways: [("a".to_owned(), "10.0.0.1".to_owned())].into(),
            config_hash: config_hash.to_owned(),
        }
    }

    #[test]
    fn the_part_that_is_away_is_named() {
        let codes = |codes: &[&str]| failure(&codes.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>());
        assert_eq!(codes(&[]), Reason::GatewayUnreachable);
        assert_eq!(codes(&["Overloaded"]), Reason::LedgerUnreachable);
        assert_eq!(codes(&["Overloaded", CODE_DATABASE_UNREACHABLE]), Reason::DatabaseUnreachable);
        let read_only = codes(&[CODE_DATABASE_UNREACHABLE, CODE_DATABASE_READ_ONLY]);
        assert_eq!(read_only, Reason::DatabaseReadOnly);
    }

    #[test]
    fn an_answer_about_what_was_wanted_before_settles_nothing() {
        let poller = Poller::default();
        let _ = poller.watch("t", target("old"));
        let asked = poller.due();
        let _ = poller.watch("t", target("new"));
        assert!(poller.due().is_empty(), "one question at a time");
        let old = PodStatus { config_hash: "old".to_owned(), config_epoch: 1, config_error: None };
        let seen = Observation { pods: [("a".to_owned(), Some(old))].into(), ..Observation::default() };
        assert!(poller.note("t", &asked[0].1, seen.clone()));
        let again = poller.due();
        assert_eq!(again.len(), 1, "asked again at once, not when a settled tenant is");
        assert!(!poller.note("t", &again[0].1, seen));
        assert!(poller.due().is_empty(), "then after a moment");
    }
}
