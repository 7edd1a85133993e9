//! Faults of single pods: their processes are killed, stopped and continued from
//! outside, so nothing in the pod can prepare for it.

use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use snafu::{OptionExt, ResultExt, Snafu, ensure};

use crate::cluster::Cluster;
use crate::{cgroup, kubeclient};

/// Passes over a container's processes until none is new: each may fork while we look.
const PASSES_MAX: usize = 50;

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("a pod is named NAMESPACE/NAME, not {name}"))]
    Name { name: String },
    #[snafu(transparent)]
    Client { source: kubeclient::Error },
    #[snafu(display("cannot read pod {name}"))]
    Read {
        name: String,
        #[snafu(source(from(kube::Error, Box::new)))]
        source: Box<kube::Error>,
    },
    #[snafu(display("pod {name} has no running container{}", container.as_ref().map(|c| format!(" {c}")).unwrap_or_default()))]
    NotRunning { name: String, container: Option<String> },
    #[snafu(display("pod {name} makes new processes faster than they can be signalled"))]
    TooMany { name: String },
    #[snafu(display("the network of pod {name} cannot be opened"))]
    Network { name: String, source: std::io::Error },
}

/// What is done to a pod's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    Kill,
    /// They keep memory, locks and connections, and do nothing.
    Freeze,
    Thaw,
}

/// Where a pod's processes are: found beforehand, so that a fault meets them at once.
pub struct Target {
    pod: String,
    groups: Vec<PathBuf>,
}

impl Target {
    /// The processes of every container of the pod, or of one.
    pub async fn find(cluster: &Cluster, pod: &str, container: Option<&str>) -> Result<Self, Error> {
        let (namespace, name) = pod.split_once('/').context(NameSnafu { name: pod })?;
        let client = kubeclient::connect(&cluster.kubeconfig()).await?;
        let api: Api<Pod> = Api::namespaced(client, namespace);
        let found = api.get(name).await.context(ReadSnafu { name: pod })?;
        let groups = groups(cluster, &found, container);
        ensure!(!groups.is_empty(), NotRunningSnafu { name: pod, container: container.map(str::to_owned) });
        Ok(Self { pod: pod.to_owned(), groups })
    }

    /// The network namespace that they live in; [`enter`] takes a thread there.
    pub fn network(&self) -> Result<std::fs::File, Error> {
        let pid = self.groups.iter().find_map(|group| cgroup::processes(group).first().copied());
        let pid = pid.context(NotRunningSnafu { name: &self.pod, container: None })?;
        std::fs::File::open(format!("/proc/{pid}/ns/net")).context(NetworkSnafu { name: &self.pod })
    }

    /// Does it to all of them. Returns how many processes it met.
    pub fn inflict(&self, fault: Fault) -> Result<usize, Error> {
        let signal = match fault {
            Fault::Kill => Signal::SIGKILL,
            Fault::Freeze => Signal::SIGSTOP,
            Fault::Thaw => Signal::SIGCONT,
        };
        let mut done: Vec<i32> = Vec::new();
        for _ in 0..PASSES_MAX {
            let all = self.groups.iter().flat_map(|group| cgroup::processes(group));
            let fresh: Vec<_> = all.filter(|pid| !done.contains(pid)).collect();
            if fresh.is_empty() {
                return Ok(done.len());
            }
            for pid in fresh {
                // One that ended meanwhile needs no signal.
                let _ = kill(Pid::from_raw(pid), signal);
                done.push(pid);
            }
        }
        TooManySnafu { name: &self.pod }.fail()
    }
}

/// Takes this thread, and no other, into a pod's network: what it sends comes from the
/// pod's address, through every rule and policy of the cluster.
pub fn enter(network: &std::fs::File) -> std::io::Result<()> {
    Ok(setns(network, CloneFlags::CLONE_NEWNET)?)
}

/// Does it to every container of the pod, or to one. Returns how many processes it met.
pub async fn inflict(
    cluster: &Cluster,
    pod: &str,
    container: Option<&str>,
    fault: Fault,
) -> Result<usize, Error> {
    Target::find(cluster, pod, container).await?.inflict(fault)
}

/// The control groups of the pod's running containers. Its pause container is
/// left alone: the pod's network lives in it.
fn groups(cluster: &Cluster, pod: &Pod, only: Option<&str>) -> Vec<PathBuf> {
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    let Ok(k) = cluster.node(node) else { return Vec::new() };
    let status = pod.status.as_ref();
    let lists = [
        status.and_then(|status| status.container_statuses.as_deref()),
        status.and_then(|status| status.init_container_statuses.as_deref()),
    ];
    lists
        .into_iter()
        .flatten()
        .flatten()
        .filter(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()))
        .filter(|container| only.is_none_or(|name| container.name == name))
        .filter_map(|container| container.container_id.as_deref()?.rsplit('/').next())
        .filter_map(|id| cgroup::find(&cluster.plan.cgroup(k), id))
        .collect()
}

/// The cluster that `KUBECONFIG` names, or the only one there is.
pub fn default_cluster(clusters: Vec<Cluster>) -> Option<Cluster> {
    let kubeconfig = std::env::var_os("KUBECONFIG").map(PathBuf::from);
    let named = |cluster: &Cluster| kubeconfig.as_deref() == Some(Path::new(&cluster.kubeconfig()));
    let single = clusters.len() == 1;
    clusters.into_iter().find(|cluster| single || named(cluster))
}
