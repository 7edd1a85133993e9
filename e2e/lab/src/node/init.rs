//! The first process of a node. It runs as pid 1 inside the node's namespaces:
//! mounts what the node needs, starts its daemons, starts them again when they
//! end, and buries orphans (containerd's shims become its children).

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use snafu::{ResultExt, Snafu};

use super::Boot;
use crate::sys;

/// Folders of the node's disk and where they stand inside the node.
pub const BINDS: &[(&str, &str)] = &[
    ("kubelet", "/var/lib/kubelet"),
    ("containerd", "/var/lib/containerd"),
    ("cni", "/var/lib/cni"),
    ("pod-logs", "/var/log/pods"),
    ("container-logs", "/var/log/containers"),
    ("cni-conf", "/etc/cni/net.d"),
];
/// What a reboot empties.
const MEMORY: &[&str] = &["/run/containerd", "/run/netns"];

/// Every path that a node mounts over.
pub fn places() -> impl Iterator<Item = &'static str> {
    BINDS.iter().map(|(_, place)| *place).chain(MEMORY.iter().copied())
}

const SOCKET: &str = "/run/containerd/containerd.sock";

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("cannot mount {place}"))]
    Mount { place: String, source: nix::Error },
    #[snafu(display("cannot name the host {name}"))]
    Name { name: String, source: nix::Error },
    #[snafu(display("cannot wait for signals"))]
    Signals { source: nix::Error },
    #[snafu(transparent)]
    Sys { source: sys::Error },
}

/// Runs the node until it is told to stop.
pub fn run(boot: &Path) -> Result<(), Error> {
    let boot: Boot = sys::read_json(boot)?;
    // Blocked signals wait for us; pid 1 would otherwise never get them.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGCHLD);
    signals.add(Signal::SIGTERM);
    signals.thread_block().context(SignalsSnafu)?;
    mounts(&boot)?;
    nix::unistd::sethostname(&boot.node).context(NameSnafu { name: &boot.node })?;

    let mut node = Node { boot, running: BTreeMap::new() };
    node.start("containerd")?;
    node.after_containerd();
    loop {
        match signals.wait().context(SignalsSnafu)? {
            Signal::SIGTERM => {
                node.shut_down();
                return Ok(());
            }
            _ => node.bury_and_restart()?,
        }
    }
}

struct Node {
    boot: Boot,
    running: BTreeMap<Pid, &'static str>,
}

impl Node {
    fn start(&mut self, daemon: &'static str) -> Result<(), Error> {
        let command = match daemon {
            "containerd" => vec![
                "containerd".to_owned(),
                "--config".to_owned(),
                self.boot.dir.join("conf/containerd.toml").to_string_lossy().into_owned(),
            ],
            "kube-proxy" => self.boot.kube_proxy.clone(),
            _ => self.boot.kubelet.clone(),
        };
        let log_path = self.boot.log_dir.join(format!("{}-{daemon}.log", self.boot.node));
        let open = || File::options().create(true).append(true).open(&log_path);
        let log = open().context(sys::FileSnafu { action: "open", path: &log_path })?;
        let again = open().context(sys::FileSnafu { action: "open", path: &log_path })?;
        let mut process = Command::new(&command[0]);
        process.args(&command[1..]).stdin(Stdio::null()).stdout(log).stderr(again);
        let child = process.spawn().context(sys::StartSnafu { program: &command[0] })?;
        let pid = i32::try_from(child.id()).unwrap_or(0);
        self.running.insert(Pid::from_raw(pid), daemon);
        Ok(())
    }

    /// A kubelet that finds no API server, or one that does not know its rights
    /// yet, retries with growing pauses: so it waits for the mark of a ready one.
    fn after_containerd(&mut self) {
        wait_for_file(Path::new(SOCKET), Duration::from_secs(30));
        wait_for_file(&self.boot.api_ready, Duration::from_secs(120));
        for daemon in ["kubelet", "kube-proxy"] {
            if let Err(error) = self.start(daemon) {
                eprintln!("{}: {error}", self.boot.node);
            }
        }
    }

    fn bury_and_restart(&mut self) -> Result<(), Error> {
        // Bounded by the number of processes: each turn buries one.
        while let Ok(status) = waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            let pid = match status {
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, _, _) => pid,
                _ => break,
            };
            if let Some(daemon) = self.running.remove(&pid) {
                eprintln!("{}: {daemon} ended ({status:?}), starting it again", self.boot.node);
                std::thread::sleep(Duration::from_secs(1));
                self.start(daemon)?;
            }
        }
        Ok(())
    }

    /// Everything gets SIGTERM and ten seconds, as on a machine that halts.
    fn shut_down(&mut self) {
        let everyone = Pid::from_raw(-1);
        // The daemons first: they would start again what we stop.
        self.running.keys().for_each(|&pid| {
            let _ = kill(pid, Signal::SIGTERM);
        });
        let _ = kill(everyone, Signal::SIGTERM);
        for _ in 0..200 {
            while waitpid(None, Some(WaitPidFlag::WNOHANG))
                .is_ok_and(|status| status != WaitStatus::StillAlive)
            {}
            if kill(everyone, None).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

fn mounts(boot: &Boot) -> Result<(), Error> {
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    let none: Option<&str> = None;
    mount(none, "/", none, private, none).context(MountSnafu { place: "/" })?;
    // A copy of another cluster's namespace handle would keep that namespace alive.
    for point in mount_points().iter().rev().filter(|point| point.starts_with(&boot.state)) {
        umount2(point, MntFlags::MNT_DETACH).context(MountSnafu { place: point.display().to_string() })?;
    }
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), none)
        .context(MountSnafu { place: "/proc" })?;
    for (folder, place) in BINDS {
        sys::create_dir(Path::new(place))?;
        let source = boot.dir.join(folder);
        mount(Some(&source), *place, none, MsFlags::MS_BIND, none).context(MountSnafu { place: *place })?;
    }
    for place in MEMORY {
        sys::create_dir(Path::new(place))?;
        mount(Some("tmpfs"), *place, Some("tmpfs"), MsFlags::empty(), none)
            .context(MountSnafu { place: *place })?;
    }
    let shared = MsFlags::MS_REC | MsFlags::MS_SHARED;
    mount(none, "/", none, shared, none).context(MountSnafu { place: "/" })
}

fn mount_points() -> Vec<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from).collect()
}

fn wait_for_file(path: &Path, within: Duration) {
    let deadline = std::time::Instant::now() + within;
    while !path.exists() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
}
