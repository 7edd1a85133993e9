//! Locks between runs of the tool: a lock dies with its holder, however it dies.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use snafu::{ResultExt, Snafu};

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("cannot open the lock {}", path.display()))]
    Open { path: PathBuf, source: std::io::Error },
    #[snafu(display("cannot take the lock {}", path.display()))]
    Take { path: PathBuf, source: nix::Error },
}

/// A lock that is held until it is dropped.
#[must_use]
pub struct Lock(#[expect(dead_code, reason = "dropping it gives the lock back")] Flock<File>);

/// Waits for the lock at `path`. Its folder must exist, and may vanish while we
/// wait (the last cluster takes the state directory with it): then we ask anew.
pub fn take(path: &Path) -> Result<Lock, Error> {
    loop {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).context(OpenSnafu { path })?;
        }
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .context(OpenSnafu { path })?;
        let inode = file.metadata().context(OpenSnafu { path })?.ino();
        let lock = Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, source)| source)
            .context(TakeSnafu { path })?;
        if std::fs::metadata(path).is_ok_and(|now| now.ino() == inode) {
            return Ok(Lock(lock));
        }
    }
}
