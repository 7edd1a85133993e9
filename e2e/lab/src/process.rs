//! Long-lived processes: starting them apart from us, and finding them again.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use snafu::ResultExt;

use crate::cluster::Cluster;
use crate::sys::{self, FileSnafu, Result, StartSnafu};

/// Every process of a cluster inherits this variable, so it is found even when
/// the tool died before it could write a pid down.
pub const MARK: &str = "PAYPLANE_LAB_CLUSTER";

/// Starts a program in a session of its own, its output in the cluster's log folder,
/// unless it runs already. It outlives us.
pub fn start(
    cluster: &Cluster,
    daemon: &str,
    netns: &Path,
    program: &Path,
    arguments: &[String],
) -> Result<bool> {
    if running(cluster, daemon).is_some() {
        return Ok(false);
    }
    let log_path = cluster.log(daemon);
    let log = File::options().create(true).append(true).open(&log_path);
    let log = log.context(FileSnafu { action: "open", path: &log_path })?;
    let again = log.try_clone().context(FileSnafu { action: "open", path: &log_path })?;
    let child = Command::new("setsid")
        .arg("nsenter")
        .arg(format!("--net={}", netns.display()))
        .arg("--")
        .arg(program)
        .args(arguments)
        .env(MARK, cluster.dir())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(again)
        .spawn()
        .context(StartSnafu { program: program.display().to_string() })?;
    sys::write_whole(&cluster.pid_file(daemon), child.id().to_string())?;
    Ok(true)
}

/// The process id of a daemon that runs. A pid file alone proves nothing: the
/// number may have been given to a stranger since.
pub fn running(cluster: &Cluster, daemon: &str) -> Option<Pid> {
    let text = std::fs::read_to_string(cluster.pid_file(daemon)).ok()?;
    let pid: i32 = text.trim().parse().ok()?;
    (alive(pid) && belongs(pid, cluster.dir(), &[])).then(|| Pid::from_raw(pid))
}

/// Whether a process is there and has not ended.
pub fn alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// The first child of a process: the init of a node, whose parent only holds its namespaces.
pub fn child_of(pid: Pid) -> Option<Pid> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    children.split_whitespace().next()?.parse().ok().map(Pid::from_raw)
}

/// The processes of a cluster: those that bear its mark, and those that live in
/// its network namespaces.
pub fn of(cluster: &Cluster) -> Vec<i32> {
    let namespaces: Vec<_> = (0..=cluster.spec.nodes)
        .filter_map(|k| std::fs::metadata(cluster.netns(k)).ok())
        .map(|m| m.ino())
        .collect();
    all().into_iter().filter(|&pid| belongs(pid, cluster.dir(), &namespaces)).collect()
}

/// Ends every process of a cluster. Waits until they are gone.
pub fn end_all(cluster: &Cluster, within: Duration) -> Vec<i32> {
    let deadline = Instant::now() + within;
    loop {
        let found = of(cluster);
        if found.is_empty() || Instant::now() > deadline {
            return found;
        }
        for pid in found {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Every process id of the machine but our own.
pub fn all() -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|&pid| pid != own)
        .collect()
}

fn belongs(pid: i32, dir: &Path, namespaces: &[u64]) -> bool {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let in_namespace = std::fs::metadata(proc.join("ns/net")).is_ok_and(|ns| namespaces.contains(&ns.ino()));
    let mark = format!("{MARK}={}", dir.display());
    let marked = || {
        let environment = std::fs::read(proc.join("environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == mark.as_bytes())
    };
    in_namespace || marked()
}
