//! One cluster: its specification, its folder, and the verbs on it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use snafu::{OptionExt, Snafu};

use crate::paths::{ClusterPaths, NodeNet};
use crate::plan::{self, Plan};
use crate::{dirs, sys};

pub mod down;
pub mod up;

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("there is no cluster {name} (`lab cluster list` names those that are)"))]
    NoCluster { name: String },
    #[snafu(display("cluster {cluster} has no node {node}: it has {}-n1 to {}-n{nodes}", cluster, cluster))]
    NoNode { cluster: String, node: String, nodes: u8 },
    #[snafu(transparent)]
    Sys { source: sys::Error },
}

/// What a cluster was asked to be. Written before anything of it exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    pub name: String,
    pub index: u8,
    pub nodes: u8,
    /// A dead node is noticed in some 10 s and its pods move at once; Kubernetes' defaults are 50 s and 300 s.
    pub fast_node_failure: bool,
    /// A crashed container starts again after at most 2 s; the default grows to 5 min.
    pub cap_crash_backoff: bool,
    pub cnpg: bool,
}

/// A cluster that exists, or is about to, in the state directory.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub spec: Spec,
    pub plan: Plan,
    dir: PathBuf,
}

impl Cluster {
    pub fn new(spec: Spec) -> Self {
        let plan = Plan { name: spec.name.clone(), index: spec.index };
        let dir = dirs::state().join(&spec.name);
        Self { spec, plan, dir }
    }

    pub fn open(name: &str) -> Result<Self, Error> {
        Self::find(name)?.context(NoClusterSnafu { name })
    }

    pub fn find(name: &str) -> Result<Option<Self>, Error> {
        let file = dirs::state().join(name).join("cluster.json");
        if plan::name_fault(name).is_some() || !file.is_file() {
            return Ok(None);
        }
        Ok(Some(Self::new(sys::read_json(&file)?)))
    }

    /// Every cluster in the state directory, by name.
    pub fn all() -> Result<Vec<Self>, Error> {
        let Ok(entries) = std::fs::read_dir(dirs::state()) else { return Ok(Vec::new()) };
        let mut names: Vec<_> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        let found = names.iter().map(|name| Self::find(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// The cluster and node number that a node's full name stands for.
    pub fn of_node(node: &str) -> Result<(Self, u8), Error> {
        let (name, _) = node.rsplit_once('-').context(NoClusterSnafu { name: node })?;
        let cluster = Self::open(name)?;
        let number = cluster.node(node)?;
        Ok((cluster, number))
    }

    pub fn node(&self, node: &str) -> Result<u8, Error> {
        let number = plan::node_number(&self.plan, node).filter(|k| self.numbers().contains(k));
        number.context(NoNodeSnafu { cluster: &self.spec.name, node, nodes: self.spec.nodes })
    }

    pub fn numbers(&self) -> std::ops::RangeInclusive<u8> {
        1..=self.spec.nodes
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    pub fn audit_log(&self) -> PathBuf {
        self.dir.join("log/audit.log")
    }

    /// The file that holds a network namespace: node `k`'s, or the control plane's (0).
    pub fn netns(&self, k: u8) -> PathBuf {
        self.dir.join("ns").join(if k == 0 { "cp".to_owned() } else { format!("n{k}") })
    }

    /// What node `k` keeps on its disk.
    pub fn node_dir(&self, k: u8) -> PathBuf {
        self.dir.join("nodes").join(format!("n{k}"))
    }

    pub fn pid_file(&self, daemon: &str) -> PathBuf {
        self.dir.join("run").join(format!("{daemon}.pid"))
    }

    pub fn log(&self, daemon: &str) -> PathBuf {
        self.dir.join("log").join(format!("{daemon}.log"))
    }

    /// A mark that the API server was ready once.
    pub fn api_ready(&self) -> PathBuf {
        self.dir.join("run/api-ready")
    }

    /// The cluster's own copy of this program: its nodes and daemons go on when
    /// the original is built anew or removed.
    pub fn tool(&self) -> PathBuf {
        self.dir.join("lab")
    }

    /// What the daemons of the cluster must know.
    pub fn paths(&self) -> ClusterPaths {
        let nodes = self.numbers().map(|k| self.node_net(k)).collect();
        ClusterPaths {
            kubeconfig: self.kubeconfig(),
            volumes: self.dir.join("volumes"),
            run: self.dir.join("run"),
            nodes,
        }
    }

    pub fn node_net(&self, k: u8) -> NodeNet {
        NodeNet {
            name: self.plan.node_name(k),
            netns: self.netns(k).to_string_lossy().into_owned(),
            uplink: "eth0".to_owned(),
        }
    }
}
