//! A disk with a volatile cache: what was written and not synced is lost with the
//! power, page by page, as chance has it. A file system in memory, over FUSE: the
//! kernel keeps none of it, so what PostgreSQL syncs is all that it finds again.
//!
//! Names are durable at once, as on a file system whose journal is written in order.

mod contents;
mod serve;
mod tree;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use fuser::{BackgroundSession, Config, MountOption, SessionACL};

use self::tree::Tree;

/// Mounted as long as this lives. Needs root and `/dev/fuse`.
pub struct Disk {
    tree: Arc<Mutex<Tree>>,
    folder: PathBuf,
    _session: BackgroundSession,
}

impl Disk {
    /// Mounts an empty one over a folder.
    pub fn mount(folder: &Path) -> Result<Self> {
        let tree = Arc::new(Mutex::new(Tree::new()));
        let mut config = Config::default();
        config.acl = SessionACL::All;
        config.mount_options = vec![MountOption::FSName("volatile".into()), MountOption::NoAtime];
        let session = fuser::spawn_mount(serve::Server::new(tree.clone()), folder, &config)
            .context("cannot mount over FUSE: /dev/fuse and root are needed")?;
        Ok(Self { tree, folder: folder.to_owned(), _session: session })
    }

    /// Everything that was written until now is durable.
    pub fn sync(&self) {
        lock(&self.tree).sync();
    }

    /// From now on nothing is read or written any more.
    pub fn cut_power(&self) {
        lock(&self.tree).cut_power();
    }

    /// What survived is there again. Of the pages that were not synced each is kept or
    /// lost, as the seed has it; without one all are lost. Returns how many there were.
    pub fn restore_power(&self, seed: Option<u64>) -> usize {
        lock(&self.tree).restore_power(seed)
    }
}

impl Drop for Disk {
    /// A file that is still open somewhere, or another namespace that has a copy of the
    /// mount, holds nobody up: what is left ends with them.
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.folder, nix::mount::MntFlags::MNT_DETACH);
    }
}

fn lock(tree: &Mutex<Tree>) -> MutexGuard<'_, Tree> {
    tree.lock().unwrap_or_else(PoisonError::into_inner)
}
