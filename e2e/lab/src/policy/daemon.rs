//! Keeps every node's ruleset current: watch, compile, load.

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::Duration;

use snafu::{ResultExt, Snafu};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::compile::compile;
use super::gate::{self, InForce};
use super::state::State;
use super::switch;
use super::world::Node;
use crate::paths::{ClusterPaths, NodeNet};
use crate::{kubeclient, nft};

/// A burst of changes is compiled once: when nothing came for `QUIET_MS`, but
/// at the latest after `BURST_MS_MAX`.
const QUIET_MS: u64 = 20;
const BURST_MS_MAX: u64 = 150;

/// How often the daemon looks whether it was switched off or on, and whether a
/// node has a new network namespace.
const LOOK_MS: u64 = 250;

/// A node that refuses its ruleset is tried again after a pause that doubles up to this.
const PAUSE_MS_MAX: u64 = 5_000;

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("cannot reach the cluster"))]
    Connect { source: kubeclient::Error },
    #[snafu(display("a watch ended"))]
    Watch { source: kube::runtime::reflector::store::WriterDropped },
    #[snafu(display("cannot serve announcements of pods"))]
    Gate { source: gate::Error },
    #[snafu(display("cannot write a ruleset"))]
    Write { source: fmt::Error },
    #[snafu(display("cannot lock the rulesets"))]
    Lock { source: switch::Error },
}

/// Enforces the cluster's policies until `stop`. The rulesets stay in force
/// after it, for the pods that they were compiled for.
pub async fn run(paths: ClusterPaths, stop: CancellationToken) -> Result<(), Error> {
    let client = kubeclient::connect(&paths.kubeconfig).await.context(ConnectSnafu)?;
    let state = Arc::new(State::watch(&client, &stop));
    let (publish, in_force) = watch::channel(InForce::default());
    let socket = gate::socket(&paths.run);
    let gate = gate::serve(&socket, Arc::clone(&state), in_force, stop.clone());
    let enforcer = Enforcer { paths: &paths, state: &state, publish, loaded: BTreeMap::new() };
    let (served, enforced) = tokio::join!(gate, async {
        let result = stop.run_until_cancelled(enforcer.run()).await;
        stop.cancel();
        result
    });
    served.context(GateSnafu)?;
    enforced.unwrap_or(Ok(()))
}

struct Enforcer<'a> {
    paths: &'a ClusterPaths,
    state: &'a State,
    publish: watch::Sender<InForce>,
    /// What each node was given last.
    loaded: BTreeMap<String, Loaded>,
}

#[derive(PartialEq)]
struct Loaded {
    netns: Identity,
    text: String,
}

impl Enforcer<'_> {
    async fn run(mut self) -> Result<(), Error> {
        self.state.complete().await.context(WatchSnafu)?;
        let (mut wanted, mut pods) = self.compile()?;
        let mut pause_ms = LOOK_MS;
        let mut not_before = Instant::now();
        loop {
            if Instant::now() >= not_before {
                let all_loaded = self.load(&wanted).await?;
                pause_ms = if all_loaded { LOOK_MS } else { pause_ms.saturating_mul(2).min(PAUSE_MS_MAX) };
                not_before = Instant::now() + Duration::from_millis(if all_loaded { 0 } else { pause_ms });
                self.report(all_loaded, &pods);
            }
            tokio::select! {
                () = self.state.changed() => {
                    self.let_the_burst_pass().await;
                    (wanted, pods) = self.compile()?;
                }
                () = tokio::time::sleep(Duration::from_millis(LOOK_MS)) => {}
            }
        }
    }

    async fn let_the_burst_pass(&self) {
        let end = Instant::now() + Duration::from_millis(BURST_MS_MAX);
        let quiet = Duration::from_millis(QUIET_MS);
        while Instant::now() < end && tokio::time::timeout(quiet, self.state.changed()).await.is_ok() {}
    }

    /// The text for every node, and the pods that it is about.
    fn compile(&self) -> Result<(BTreeMap<String, String>, InForce), Error> {
        let node = |node: &NodeNet| Node { name: node.name.clone(), uplink: node.uplink.clone() };
        let world = self.state.world(self.paths.nodes.iter().map(node).collect());
        let mut texts = BTreeMap::new();
        for (node, ruleset) in compile(&world) {
            texts.insert(node, ruleset.text().context(WriteSnafu)?);
        }
        let mut pods: Vec<_> =
            world.pods.into_iter().map(|pod| ((pod.namespace, pod.name), pod.address)).collect();
        pods.sort_unstable();
        Ok((texts, InForce { switched_off: false, pods }))
    }

    /// Loads what differs from what was loaded last. Returns whether nothing is left to do.
    async fn load(&mut self, wanted: &BTreeMap<String, String>) -> Result<bool, Error> {
        if switch::is_off(self.paths) {
            self.loaded.clear();
            return Ok(true);
        }
        let mut stale = Vec::new();
        for node in &self.paths.nodes {
            // A node that is not there has no pods either.
            let Some(netns) = identity(&node.netns) else { continue };
            let text = wanted.get(&node.name).cloned().unwrap_or_default();
            let loaded = Loaded { netns, text };
            if self.loaded.get(&node.name) != Some(&loaded) {
                stale.push((node, loaded));
            }
        }
        if stale.is_empty() {
            return Ok(true);
        }
        let _lock = switch::lock(&self.paths.run).await.context(LockSnafu)?;
        if switch::is_off(self.paths) {
            return Ok(true);
        }
        let loads = stale.iter().map(|(node, loaded)| nft::apply(&node.netns, &loaded.text));
        let results = futures_util::future::join_all(loads).await;
        let mut all_loaded = true;
        for ((node, loaded), result) in stale.into_iter().zip(results) {
            match result {
                Ok(()) => {
                    self.loaded.insert(node.name.clone(), loaded);
                }
                Err(error) => {
                    tracing::warn!(node = node.name, %error, "a node did not take its policies");
                    all_loaded = false;
                }
            }
        }
        Ok(all_loaded)
    }

    fn report(&self, all_loaded: bool, pods: &InForce) {
        let switched_off = switch::is_off(self.paths);
        if switched_off {
            self.publish.send_replace(InForce { switched_off, pods: Vec::new() });
        } else if all_loaded {
            self.publish.send_if_modified(|now| {
                let news = now != pods;
                now.clone_from(pods);
                news
            });
        }
    }
}

/// Tells a namespace from a later one of the same name. The kernel gives a
/// namespace's inode number to the next one, so its time counts as well.
type Identity = (u64, u64, i64, i64);

fn identity(netns: &str) -> Option<Identity> {
    let meta = std::fs::metadata(nft::netns_path(netns)).ok()?;
    Some((meta.dev(), meta.ino(), meta.ctime(), meta.ctime_nsec()))
}
