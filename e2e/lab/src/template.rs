//! A containerd store that holds the images already.
//!
//! Importing them costs every node some ten seconds of CPU. They are imported
//! once, into a store in the cache; a node starts with a copy of it that shares
//! the files by hard links. Layers and blobs are never written again; the
//! databases are copied.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sha2::{Digest, Sha256};
use snafu::{ResultExt, Snafu, ensure};

use crate::images::Archive;
use crate::{dirs, lock, process, sys};

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("containerd did not start within {SECONDS_MAX} s"))]
    NotStarted,
    #[snafu(transparent)]
    Sys { source: sys::Error },
    #[snafu(transparent)]
    Lock { source: lock::Error },
}

const SECONDS_MAX: u64 = 30;
/// Stores of former images that are kept: another clone may be at work with them.
const STORES_MAX: usize = 4;

/// Makes the store that holds these images, unless the cache has it.
pub fn ensure(images: &[Archive]) -> Result<PathBuf, Error> {
    let folder = dirs::cache().join("containerd");
    let version = sys::run("containerd", &["--version"])?;
    let mut hash = Sha256::new();
    hash.update(version);
    for image in images {
        hash.update(image.path.file_name().unwrap_or_default().as_encoded_bytes());
    }
    let store = folder.join(&hex::encode(hash.finalize())[..16]);
    if store.is_dir() {
        return Ok(store);
    }
    let _lock = lock::take(&dirs::cache().join("lock/containerd"))?;
    if !store.is_dir() {
        let half = folder.join(".half");
        sys::remove_tree(&half)?;
        sys::create_dir(&half.join("root"))?;
        fill(&half, images)?;
        std::fs::rename(half.join("root"), &store)
            .context(sys::FileSnafu { action: "put into place", path: &store })?;
        sys::remove_tree(&half)?;
        forget_old(&folder, &store);
    }
    Ok(store)
}

fn fill(half: &Path, images: &[Archive]) -> Result<(), Error> {
    let socket = half.join("sock");
    let config = half.join("config.toml");
    let text = format!(
        "version = 2\nroot = {:?}\nstate = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\", \
         \"io.containerd.internal.v1.opt\"]\n[grpc]\n  address = {socket:?}\n",
        half.join("root"),
        half.join("state"),
    );
    sys::write(&config, text)?;
    let mut containerd = start(&config, &half.join("log"))?;
    let result = import_all(&socket, images);
    // SIGTERM lets it close its databases.
    let parent = Pid::from_raw(i32::try_from(containerd.id()).unwrap_or(0));
    if let Some(pid) = process::child_of(parent) {
        let _ = kill(pid, Signal::SIGTERM);
    }
    let _ = containerd.wait();
    result
}

/// In namespaces of its own, so that its mounts and its processes cannot outlive it; it dies with us.
fn start(config: &Path, log: &Path) -> Result<Child, Error> {
    let file = std::fs::File::create(log).context(sys::FileSnafu { action: "create", path: log })?;
    let again = file.try_clone().context(sys::FileSnafu { action: "create", path: log })?;
    let child = Command::new("setpriv")
        .args([
            "--pdeathsig",
            "KILL",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["containerd", "--config"])
        .arg(config)
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(again)
        .spawn();
    Ok(child.context(sys::StartSnafu { program: "containerd" })?)
}

fn import_all(socket: &Path, images: &[Archive]) -> Result<(), Error> {
    let deadline = Instant::now() + Duration::from_secs(SECONDS_MAX);
    let ctr = |arguments: &[&str]| {
        let mut command = Command::new("ctr");
        command.arg("--address").arg(socket).args(["--namespace", "k8s.io"]).args(arguments);
        sys::finish(&mut command)
    };
    while ctr(&["images", "list", "--quiet"]).is_err() {
        ensure!(Instant::now() < deadline, NotStartedSnafu);
        std::thread::sleep(Duration::from_millis(100));
    }
    for image in images {
        ctr(&["images", "import", &image.path.to_string_lossy()])?;
    }
    Ok(())
}

/// Gives a node its store, unless it has one. Links files where both lie on one file system.
pub fn copy(store: &Path, to: &Path) -> Result<(), sys::Error> {
    if to.is_dir() {
        return Ok(());
    }
    let half = to.with_extension("half");
    sys::remove_tree(&half)?;
    let linked = Command::new("cp").args(["--archive", "--link"]).arg(store).arg(&half).output();
    if !linked.is_ok_and(|output| output.status.success()) {
        sys::remove_tree(&half)?;
        sys::run("cp", &["--archive".as_ref(), store.as_os_str(), half.as_os_str()])?;
    }
    for database in
        ["io.containerd.metadata.v1.bolt/meta.db", "io.containerd.snapshotter.v1.overlayfs/metadata.db"]
    {
        let (from, to) = (store.join(database), half.join(database));
        sys::remove_file(&to)?;
        std::fs::copy(&from, &to).context(sys::FileSnafu { action: "copy", path: &from })?;
    }
    std::fs::rename(&half, to).context(sys::FileSnafu { action: "put into place", path: to })
}

fn forget_old(folder: &Path, keep: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let mut stores: Vec<_> = entries.flatten().filter(|entry| entry.path() != keep).collect();
    stores.sort_by_key(|entry| entry.metadata().and_then(|m| m.modified()).ok());
    let surplus = stores.len().saturating_sub(STORES_MAX - 1);
    for old in stores.into_iter().take(surplus) {
        // A store that stays costs only space.
        let _ = sys::remove_tree(&old.path());
    }
}
