//! Names of networks become addresses: never those that the platform denies,
//! however a name resolves at that moment.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use super::endpoint::DeniedNetworks;

const RESOLVE_MAX: Duration = Duration::from_secs(1);
/// So long the last addresses serve while DNS does not answer.
const REMEMBER_MAX: Duration = Duration::from_secs(600);

/// Addresses and when they were said; none before the first answer.
type Remembered = Option<(Instant, Vec<SocketAddr>)>;

/// Resolves names and drops the addresses that are denied. The connection is
/// made to what passed here, so a later change of DNS changes nothing.
pub struct GuardedResolver {
    /// What the name had last. A client has one host, hence one name.
    last: Arc<Mutex<Remembered>>,
    denied: Arc<DeniedNetworks>,
    /// A Service of the cluster (a Simulator's): its addresses lie in the
    /// cluster's own ranges, and its network policy guards it.
    is_service: bool,
}

impl GuardedResolver {
    #[must_use]
    pub fn new(endpoint: &Url, denied: Arc<DeniedNetworks>) -> Self {
        let is_service = endpoint.host_str().is_some_and(is_service_name);
        Self { last: Arc::default(), denied, is_service }
    }

    /// For an address that somebody else chose: no Service is exempt.
    #[must_use]
    pub fn outside(denied: Arc<DeniedNetworks>) -> Self {
        Self { last: Arc::default(), denied, is_service: false }
    }
}

/// What DNS says; where it says nothing, what it said last.
async fn look_up(name: &str, last: &Mutex<Remembered>) -> std::io::Result<Vec<SocketAddr>> {
    let answer = tokio::time::timeout(RESOLVE_MAX, tokio::net::lookup_host((name, 0))).await;
    let answer = answer.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    match answer {
        Ok(found) => {
            let found: Vec<_> = found.collect();
            *last = Some((Instant::now(), found.clone()));
            Ok(found)
        }
        Err(error) => {
            let known = last.as_ref().filter(|(at, _)| at.elapsed() < REMEMBER_MAX);
            known.map(|(_, found)| found.clone()).ok_or(error)
        }
    }
}

#[must_use]
pub fn is_service_name(host: &str) -> bool {
    host.ends_with(".svc") || host.ends_with(".svc.cluster.local")
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (denied, is_service, last) = (self.denied.clone(), self.is_service, self.last.clone());
        Box::pin(async move {
            let mut allowed = look_up(name.as_str(), &last).await?;
            allowed.retain(|address| is_service || !denied.denies(address.ip()));
            if allowed.is_empty() {
                return Err(format!("{} resolves to no address that is allowed", name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied() -> DeniedNetworks {
        DeniedNetworks::parse(&["127.0.0.0/8", "::1/128"].map(str::to_owned)).unwrap()
    }

    #[tokio::test]
    async fn a_name_that_resolves_inside_is_refused_unless_it_is_a_service() {
        let resolve = |endpoint: &str| {
            let resolver = GuardedResolver::new(&endpoint.parse().unwrap(), Arc::new(denied()));
            async move { resolver.resolve("localhost".parse().unwrap()).await.map(|a| a.count()) }
        };
        assert!(resolve("https://localhost").await.is_err());
        assert!(resolve("https://simulator.simnet.svc").await.unwrap() > 0);
        let outside = GuardedResolver::outside(Arc::new(denied()));
        assert!(outside.resolve("localhost".parse().unwrap()).await.is_err());
    }

    #[tokio::test]
    async fn without_dns_the_last_addresses_serve_for_a_while() {
        let known = vec!["192.0.2.7:0".parse().unwrap()];
        let last = Mutex::new(Some((Instant::now(), known.clone())));
        assert_eq!(look_up("no-such-name.invalid", &last).await.unwrap(), known);
        let long_ago = Instant::now().checked_sub(REMEMBER_MAX);
        let last = Mutex::new(long_ago.map(|at| (at, known)));
        assert!(look_up("no-such-name.invalid", &last).await.is_err());
        assert!(look_up("localhost", &last).await.is_ok() && last.lock().unwrap().is_some());
    }
}
