//! Brings a cluster up, and returns when it works.

use std::path::Path;
use std::time::{Duration, Instant};

use kube::Client;
use snafu::{ResultExt, Snafu, ensure};

use super::{Cluster, Spec};
use crate::images;
use crate::node::config;
use crate::plan::{self, INDEX_MAX, NODES_MAX};
use crate::programs::{self, Programs};
use crate::{
    addons, controlplane, debian, dirs, kubeapi, kubeclient, lock, machine, net, node, pki, process, sys,
    template,
};

const WAIT: Duration = Duration::from_secs(120);

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("{fault}"))]
    Name { fault: String },
    #[snafu(display("a cluster has 1 to {NODES_MAX} nodes, not {nodes}"))]
    Nodes { nodes: u8 },
    #[snafu(display("cluster {name} exists with other options ({existing:?}): take it down first"))]
    Differs { name: String, existing: Box<Spec> },
    #[snafu(display(
        "{INDEX_MAX} clusters exist, or their address ranges (10.77, 10.101-10.135) are in use here"
    ))]
    NoRange,
    #[snafu(transparent)]
    Cluster { source: super::Error },
    #[snafu(transparent)]
    Debian { source: debian::Error },
    #[snafu(transparent)]
    Programs { source: programs::Error },
    #[snafu(transparent)]
    Images { source: images::Error },
    #[snafu(transparent)]
    Template { source: template::Error },
    #[snafu(transparent)]
    Lock { source: lock::Error },
    #[snafu(transparent)]
    Sys { source: sys::Error },
    #[snafu(transparent)]
    Pki { source: pki::Error },
    #[snafu(transparent)]
    Node { source: node::Error },
    #[snafu(transparent)]
    Client { source: kubeclient::Error },
    #[snafu(transparent)]
    Api { source: kubeapi::Error },
    #[snafu(transparent)]
    Addons { source: addons::Error },
}

/// What is wanted; the index is found here.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub name: String,
    pub nodes: u8,
    pub fast_node_failure: bool,
    pub cap_crash_backoff: bool,
    pub cnpg: bool,
}

/// Makes the cluster, or mends what of it does not run. Returns whether it ran already.
pub async fn up(wanted: &Wanted) -> Result<(Cluster, bool), Error> {
    if let Some(fault) = plan::name_fault(&wanted.name) {
        return NameSnafu { fault }.fail();
    }
    ensure!((1..=NODES_MAX).contains(&wanted.nodes), NodesSnafu { nodes: wanted.nodes });
    debian::ensure()?;
    let programs = programs::ensure(None)?;
    let store = template::ensure(&images::ensure(&programs, wanted.cnpg)?)?;
    let _lock = lock_of(&wanted.name)?;
    let cluster = claim(wanted)?;

    let started = start(&cluster, &programs, &store).await?;
    Ok((cluster, started == 0))
}

/// One run of the tool at a time works on a cluster.
pub(super) fn lock_of(name: &str) -> Result<lock::Lock, lock::Error> {
    lock::take(&dirs::state().join(format!(".lock-{name}")))
}

/// Guards what all clusters share: indexes, the machine's settings, the state directory.
pub(super) fn lock_of_all() -> Result<lock::Lock, lock::Error> {
    lock::take(&dirs::state().join(".lock"))
}

/// Writes down what will exist, before any of it does.
fn claim(wanted: &Wanted) -> Result<Cluster, Error> {
    let _lock = lock_of_all()?;
    machine::remember()?;
    let index = match Cluster::find(&wanted.name)? {
        Some(cluster) => cluster.spec.index,
        None => free_index()?,
    };
    let spec = Spec {
        name: wanted.name.clone(),
        index,
        nodes: wanted.nodes,
        fast_node_failure: wanted.fast_node_failure,
        cap_crash_backoff: wanted.cap_crash_backoff,
        cnpg: wanted.cnpg,
    };
    if let Some(existing) = Cluster::find(&wanted.name)? {
        let name = &wanted.name;
        ensure!(existing.spec == spec, DiffersSnafu { name, existing: Box::new(existing.spec) });
        return Ok(existing);
    }
    let cluster = Cluster::new(spec);
    for folder in ["run", "log", "conf", "ns", "volumes"] {
        sys::create_dir(&cluster.dir().join(folder))?;
    }
    sys::write_json(&cluster.dir().join("cluster.json"), &cluster.spec)?;
    Ok(cluster)
}

/// The lowest index that no cluster has and whose ranges nobody routes here.
fn free_index() -> Result<u8, Error> {
    let taken: Vec<_> = Cluster::all()?.iter().map(|cluster| cluster.spec.index).collect();
    let routes = sys::run("ip", &["-4", "route", "show", "table", "all"])?;
    let routed = |index: &u8| {
        let plan = plan::Plan { name: String::new(), index: *index };
        [plan.node_range(), plan.pod_range(), plan.service_range()].iter().any(|range| {
            let network = range.split(".0").next().unwrap_or(range);
            routes.split_whitespace().any(|word| word.starts_with(&format!("{network}.")))
        })
    };
    let mut free = (1..=INDEX_MAX).filter(|index| !taken.contains(index) && !routed(index));
    free.next().ok_or(Error::NoRange)
}

/// Tells a human who waits what is done.
struct Progress(Instant);

impl Progress {
    fn say(&self, what: &str) {
        eprintln!("{:5.1} s  {what}", self.0.elapsed().as_secs_f32());
    }
}

/// Starts what does not run and waits until all works. Returns how many processes were started.
async fn start(cluster: &Cluster, programs: &Programs, store: &Path) -> Result<usize, Error> {
    let said = Progress(Instant::now());
    pki::ensure(cluster)?;
    net::ensure(cluster)?;
    install_tool(cluster)?;
    let mut started = controlplane::start_store(cluster, programs)?;
    for k in cluster.numbers() {
        started += usize::from(node::start(cluster, k, programs, store)?);
    }
    let client = kubeclient::connect(&cluster.kubeconfig()).await?;
    kubeapi::api_ready(&client, WAIT).await?;
    sys::write(&cluster.api_ready(), "")?;
    started += controlplane::start_controllers(cluster, programs)?;
    said.say("API server is ready");
    addons::apply_base(&client, cluster).await?;
    started += start_daemons(cluster)?;
    if cluster.spec.cnpg {
        addons::apply_cnpg(&client, cluster, programs).await?;
    }
    works(&client, cluster).await?;
    said.say("nodes are Ready, DNS answers");
    if cluster.spec.cnpg {
        addons::cnpg_answers(&client).await?;
        said.say("CloudNativePG answers");
    }
    Ok(started)
}

/// Kills the API server and starts it again. It comes back with empty watch caches, so
/// every watcher that goes on where it was is told that this is too long ago, and lists anew.
/// Returns how long nobody answered.
pub async fn restart_api(name: &str) -> Result<Duration, Error> {
    let _lock = lock_of(name)?;
    let cluster = Cluster::open(name)?;
    let programs = programs::ensure(None)?;
    let begun = Instant::now();
    controlplane::kill_api_server(&cluster);
    controlplane::start_store(&cluster, &programs)?;
    let client = kubeclient::connect(&cluster.kubeconfig()).await?;
    kubeapi::api_ready(&client, WAIT).await?;
    controlplane::start_controllers(&cluster, &programs)?;
    Ok(begun.elapsed())
}

/// A later `up` brings a newer tool; what runs keeps the one it was started from.
fn install_tool(cluster: &Cluster) -> Result<(), Error> {
    let tool = cluster.tool();
    let half = tool.with_extension("half");
    std::env::current_exe()
        .and_then(|this| std::fs::copy(this, &half))
        .and_then(|_| std::fs::rename(&half, &tool))
        .context(sys::FileSnafu { action: "make", path: &tool })?;
    Ok(config::install_plugins(cluster, &tool)?)
}

/// Waits until the nodes are Ready and DNS answers on each.
pub async fn works(client: &Client, cluster: &Cluster) -> Result<(), Error> {
    kubeapi::nodes_ready(client, usize::from(cluster.spec.nodes), WAIT).await?;
    kubeapi::deployment_ready(client, "kube-system", "coredns", WAIT).await?;
    Ok(addons::dns_answers(cluster).await?)
}

/// The tool's own daemons: they need the administrator's kubeconfig and the nodes' namespaces.
fn start_daemons(cluster: &Cluster) -> Result<usize, Error> {
    let mut started = 0;
    for daemon in crate::DAEMONS {
        let arguments = ["daemon", daemon, &cluster.spec.name].map(str::to_owned);
        started +=
            usize::from(process::start(cluster, daemon, &cluster.netns(0), &cluster.tool(), &arguments)?);
    }
    Ok(started)
}
