//! A node: namespaces that hold their own containerd, kubelet and kube-proxy.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use snafu::Snafu;

use crate::cluster::Cluster;
use crate::programs::Programs;
use crate::{cgroup, net, process, sys, template};

pub mod config;
pub mod init;

/// How long a node may take to go down in order before its power is cut.
const STOP_SECONDS_MAX: u64 = 30;

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("node {node} does not run"))]
    NotRunning { node: String },
    #[snafu(transparent)]
    Sys { source: sys::Error },
}

/// What the first process of a node must know. It is handed over as a file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Boot {
    pub node: String,
    pub dir: PathBuf,
    pub log_dir: PathBuf,
    /// The state directory: mounts of other clusters below it are none of this node's business.
    pub state: PathBuf,
    /// Exists as soon as the API server of this cluster was ready once.
    pub api_ready: PathBuf,
    pub kubelet: Vec<String>,
    pub kube_proxy: Vec<String>,
}

/// Writes what the node is made of and starts it, unless it runs.
pub fn start(cluster: &Cluster, k: u8, programs: &Programs, store: &Path) -> Result<bool, Error> {
    if process::running(cluster, &daemon(k)).is_some() {
        return Ok(false);
    }
    let dir = cluster.node_dir(k);
    sys::create_dir(&dir)?;
    template::copy(store, &dir.join("containerd"))?;
    for folder in init::BINDS.iter().map(|(folder, _)| *folder).chain(["conf"]) {
        sys::create_dir(&dir.join(folder))?;
    }
    config::write(cluster, k)?;
    sys::write_json(&dir.join("conf/boot.json"), &boot(cluster, k, programs))?;
    // What the last life of the node left in its network and groups would have died with a real machine; a
    // kubelet asks for the container of each group that it finds for 3 s before it runs a pod.
    if dir.join("conf/booted").exists() {
        net::renew(cluster, k)?;
        if let Err(error) = cgroup::remove(&cluster.plan.cgroup(k)) {
            eprintln!("node {k}: {error}");
        }
    }
    cgroup::create(&cluster.plan.cgroup(k))?;
    sys::write(&dir.join("conf/booted"), "")?;
    let arguments = ["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child=SIGKILL"];
    let mut arguments: Vec<_> = arguments.map(str::to_owned).to_vec();
    arguments.extend([cluster.tool(), dir.join("conf/boot.json")].map(|p| p.to_string_lossy().into_owned()));
    arguments.insert(7, "internal-node".to_owned());
    Ok(process::start(cluster, &daemon(k), &cluster.netns(k), Path::new("unshare"), &arguments)?)
}

fn boot(cluster: &Cluster, k: u8, programs: &Programs) -> Boot {
    let dir = cluster.node_dir(k);
    let command = |program: &str, arguments: &[String]| {
        let mut list = vec![programs.path(program).to_string_lossy().into_owned()];
        list.extend_from_slice(arguments);
        list
    };
    Boot {
        node: cluster.plan.node_name(k),
        log_dir: cluster.dir().join("log"),
        state: cluster.dir().parent().unwrap_or(Path::new("/nonexistent")).to_owned(),
        api_ready: cluster.api_ready(),
        kubelet: command("kubelet", &config::kubelet_arguments(cluster, k)),
        kube_proxy: command("kube-proxy", &[format!("--config={}/conf/kube-proxy.yaml", dir.display())]),
        dir,
    }
}

/// The name of a node's pid file and log.
pub fn daemon(k: u8) -> String {
    format!("n{k}")
}

/// The first process of a node that runs, as the host numbers it.
pub fn init_of(cluster: &Cluster, k: u8) -> Result<Pid, Error> {
    let found = process::running(cluster, &daemon(k)).and_then(process::child_of);
    found.ok_or_else(|| Error::NotRunning { node: cluster.plan.node_name(k) })
}

/// Cuts the power: everything of the node is gone at once, and nobody is told, as
/// its last packets could.
pub fn power_off(cluster: &Cluster, k: u8) -> Result<(), Error> {
    let init = init_of(cluster, k)?;
    net::unplug(cluster, k)?;
    let _ = kill(init, Signal::SIGKILL);
    wait_gone(cluster, k, Duration::from_secs(10));
    reroute(cluster)
}

/// Shuts the node down in order: containers get SIGTERM and some time.
pub fn stop(cluster: &Cluster, k: u8) -> Result<(), Error> {
    let init = init_of(cluster, k)?;
    let _ = kill(init, Signal::SIGTERM);
    if !wait_gone(cluster, k, Duration::from_secs(STOP_SECONDS_MAX)) {
        return power_off(cluster, k);
    }
    reroute(cluster)
}

/// The host's way to Services leads through the first node that runs.
fn reroute(cluster: &Cluster) -> Result<(), Error> {
    let alive = cluster.numbers().find(|&k| process::running(cluster, &daemon(k)).is_some());
    Ok(net::route_services(cluster, alive.unwrap_or(1))?)
}

fn wait_gone(cluster: &Cluster, k: u8, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    while Instant::now() < deadline {
        if process::running(cluster, &daemon(k)).is_none() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

/// A command that runs inside a node, with the node's view of files and processes.
pub fn inside(cluster: &Cluster, k: u8, program: &str) -> Result<Command, Error> {
    let init = init_of(cluster, k)?;
    let mut command = Command::new("nsenter");
    command.args([
        "--target",
        &init.to_string(),
        "--mount",
        "--uts",
        "--ipc",
        "--net",
        "--pid",
        "--",
        program,
    ]);
    Ok(command)
}

/// Brings an image archive into a node's containerd.
pub fn load(cluster: &Cluster, k: u8, archive: &Path) -> Result<String, Error> {
    let mut command = inside(cluster, k, "ctr")?;
    command.args(["--namespace", "k8s.io", "images", "import"]).arg(archive);
    Ok(sys::finish(&mut command)?)
}
