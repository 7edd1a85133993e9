//! What the daemon knows of the cluster at this moment, kept current by watches.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::runtime::reflector::{self, Lookup, Store};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::read::{read_pod, read_policy};
use super::world::{Node, World};

/// A pod's status holds its address within seconds of the announcement, so an
/// older announcement belongs to a pod that never started.
const ANNOUNCED_SECONDS_MAX: u64 = 120;

/// More pods than the nodes of a test cluster can start at once.
const ANNOUNCED_MAX: usize = 2_000;

pub(super) type PodName = (String, String);

pub(super) struct State {
    policies: Store<NetworkPolicy>,
    pods: Store<Pod>,
    namespaces: Store<Namespace>,
    /// Addresses that nodes gave to pods and that no pod's status shows yet.
    announced: Mutex<BTreeMap<PodName, (Ipv4Addr, Instant)>>,
    changed: Arc<Notify>,
}

impl State {
    /// Starts the watches; they end with `stop`.
    pub(super) fn watch(client: &Client, stop: &CancellationToken) -> Self {
        let changed = Arc::new(Notify::new());
        Self {
            policies: follow(client, &changed, stop),
            pods: follow(client, &changed, stop),
            namespaces: follow(client, &changed, stop),
            announced: Mutex::default(),
            changed,
        }
    }

    /// Waits until every watch has listed its objects once. A world with pods
    /// but without policies would be one where everything is allowed.
    pub(super) async fn complete(&self) -> Result<(), reflector::store::WriterDropped> {
        self.policies.wait_until_ready().await?;
        self.pods.wait_until_ready().await?;
        self.namespaces.wait_until_ready().await
    }

    /// Waits until something may have changed since the last call.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Takes note of the address that a node just gave to a pod.
    pub(super) fn announce(&self, pod: PodName, address: Ipv4Addr) {
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        announced.retain(|_, (_, at)| at.elapsed() < Duration::from_secs(ANNOUNCED_SECONDS_MAX));
        if announced.len() < ANNOUNCED_MAX {
            announced.insert(pod, (address, Instant::now()));
        }
        self.changed.notify_one();
    }

    /// The cluster as it is now, in an order that depends on names only.
    pub(super) fn world(&self, nodes: Vec<Node>) -> World {
        let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
        let mut pods = Vec::new();
        for pod in self.pods.state() {
            let name = (ResourceExt::namespace(pod.as_ref()).unwrap_or_default(), pod.name_any());
            let published =
                pod.status.as_ref().and_then(|s| s.pod_ip.as_deref()).and_then(|ip| ip.parse().ok());
            let early = announced.get(&name).map(|(address, _)| *address);
            if early.is_some() && early == published {
                announced.remove(&name);
            }
            pods.extend(read_pod(&pod, early));
        }
        let mut policies: Vec<_> = self.policies.state().iter().filter_map(|p| read_policy(p)).collect();
        pods.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        policies.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        let namespaces = self.namespaces.state();
        let namespaces = namespaces.iter().map(|n| (n.name_any(), n.labels().clone())).collect();
        World { policies, pods, namespaces, nodes }
    }
}

/// Keeps a store current. A broken watch is begun again after a growing pause
/// of at most half a minute; meanwhile what was known stays in force.
fn follow<K>(client: &Client, changed: &Arc<Notify>, stop: &CancellationToken) -> Store<K>
where
    K: kube::Resource<DynamicType = ()> + Lookup<DynamicType = ()>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    <K as kube::Resource>::DynamicType: Hash + Eq,
{
    let (reader, writer) = reflector::store();
    let events = watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff();
    let changed = Arc::clone(changed);
    let follow = reflector::reflector(writer, events).for_each(move |event| {
        if let Err(error) = event {
            tracing::info!(kind = %<K as kube::Resource>::kind(&()), %error, "a watch broke off");
        }
        changed.notify_one();
        std::future::ready(())
    });
    let stop = stop.clone();
    tokio::spawn(async move { stop.run_until_cancelled(follow).await });
    reader
}
