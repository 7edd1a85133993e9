//! Turns enforcement off and on, from another process than the daemon.
//!
//! Off is a mark in the cluster's folder, so it outlives the daemon. A file lock
//! keeps the daemon from loading a ruleset between the mark and the removal.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use snafu::{ResultExt, Snafu};

use super::TABLE;
use crate::nft;
use crate::paths::ClusterPaths;

/// The daemon looks at the mark four times a second and loads within 100 ms.
const TURN_ON_SECONDS_MAX: u64 = 20;
const POLL_MS: u64 = 100;

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("cannot open lock {}", path.display()))]
    OpenLock { path: PathBuf, source: std::io::Error },
    #[snafu(display("cannot take lock {}", path.display()))]
    TakeLock { path: PathBuf, source: nix::errno::Errno },
    #[snafu(display("the wait for a lock was cut short"))]
    Wait { source: tokio::task::JoinError },
    #[snafu(display("cannot change mark {}", path.display()))]
    Mark { path: PathBuf, source: std::io::Error },
    #[snafu(display("cannot look at node {node}"))]
    Node { node: String, source: nft::Error },
    #[snafu(display(
        "node {node} enforces nothing {TURN_ON_SECONDS_MAX} s after turning on: is the daemon running?"
    ))]
    NotEnforced { node: String },
}

/// Whether policies are switched off for the cluster.
pub fn is_off(paths: &ClusterPaths) -> bool {
    mark(&paths.run).exists()
}

/// Removes the policies from every node and keeps them away until [`turn_on`].
pub async fn turn_off(paths: &ClusterPaths) -> Result<(), Error> {
    let _lock = lock(&paths.run).await?;
    let path = mark(&paths.run);
    fs::write(&path, "").context(MarkSnafu { path })?;
    for node in &paths.nodes {
        nft::delete_table(&node.netns, TABLE).await.context(NodeSnafu { node: &node.name })?;
    }
    Ok(())
}

/// Returns when every node enforces the policies again.
pub async fn turn_on(paths: &ClusterPaths) -> Result<(), Error> {
    let path = mark(&paths.run);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).context(MarkSnafu { path });
        }
        _ => {}
    }
    let deadline = Instant::now() + Duration::from_secs(TURN_ON_SECONDS_MAX);
    for node in &paths.nodes {
        while !enforces(&node.netns).await.context(NodeSnafu { node: &node.name })? {
            snafu::ensure!(Instant::now() < deadline, NotEnforcedSnafu { node: &node.name });
            tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
        }
    }
    Ok(())
}

/// Whether a node has a ruleset. It is loaded as a whole or not at all.
pub async fn enforces(netns: &str) -> Result<bool, nft::Error> {
    Ok(nft::tables(netns).await?.iter().any(|table| table == TABLE))
}

/// Held while rulesets are loaded or removed.
pub(super) async fn lock(run: &Path) -> Result<Flock<File>, Error> {
    let path = run.join("policy.lock");
    let take = move || {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.context(OpenLockSnafu { path: &path })?;
        Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, errno)| errno)
            .context(TakeLockSnafu { path: &path })
    };
    tokio::task::spawn_blocking(take).await.context(WaitSnafu)?
}

fn mark(run: &Path) -> PathBuf {
    run.join("policy-off")
}
