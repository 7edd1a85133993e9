//! The directories behind the volumes: `<root>/<node>/<volume>`.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use snafu::{ResultExt, Snafu, ensure};

/// Every volume is named `pvc-<uid of its claim>`.
pub(super) const PREFIX: &str = "pvc-";

#[derive(Debug, Snafu)]
pub(super) enum Error {
    #[snafu(display("{} is no directory of a volume", path.display()))]
    Foreign { path: PathBuf },
    #[snafu(display("cannot make {}", path.display()))]
    Make { path: PathBuf, source: io::Error },
    #[snafu(display("cannot remove {}", path.display()))]
    Remove { path: PathBuf, source: io::Error },
    #[snafu(display("cannot list {}", path.display()))]
    List { path: PathBuf, source: io::Error },
}

pub(super) struct Directories {
    pub root: PathBuf,
    pub nodes: BTreeSet<String>,
}

impl Directories {
    pub(super) fn path(&self, node: &str, volume: &str) -> PathBuf {
        self.root.join(node).join(volume)
    }

    /// Makes a directory that any pod can own: the kubelet gives it to the
    /// pod's fsGroup, and a database makes its own folder in it.
    pub(super) fn make(&self, path: &Path) -> Result<(), Error> {
        self.check(path)?;
        fs::create_dir_all(path).context(MakeSnafu { path })?;
        // Set apart, because the process's umask must not decide.
        fs::set_permissions(path, Permissions::from_mode(0o777)).context(MakeSnafu { path })
    }

    /// Removes a directory and all that is in it; one that is gone is no failure.
    pub(super) fn remove(&self, path: &Path) -> Result<(), Error> {
        self.check(path)?;
        match fs::remove_dir_all(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error).context(RemoveSnafu { path }),
            _ => Ok(()),
        }
    }

    /// Removes directories that are empty and that `used` does not name.
    pub(super) fn remove_empty(&self, used: &BTreeSet<String>) -> Result<(), Error> {
        for node in &self.nodes {
            let folder = self.root.join(node);
            let entries = match fs::read_dir(&folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                other => other.context(ListSnafu { path: &folder })?,
            };
            for entry in entries {
                let entry = entry.context(ListSnafu { path: &folder })?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with(PREFIX) && !used.contains(&name) && fs::remove_dir(entry.path()).is_ok() {
                    tracing::info!(directory = name, "removed an empty directory that belongs to no claim");
                }
            }
        }
        Ok(())
    }

    /// A path comes from an object that others can write: only what this
    /// program could have made is touched.
    fn check(&self, path: &Path) -> Result<(), Error> {
        let ours = path.strip_prefix(&self.root).is_ok_and(|rest| {
            let parts: Vec<_> = rest.iter().map(|part| part.to_string_lossy()).collect();
            matches!(parts.as_slice(), [node, volume] if self.nodes.contains(node.as_ref())
                && volume.strip_prefix(PREFIX).is_some_and(|uid| !uid.is_empty() && !uid.contains("..")))
        });
        ensure!(ours, ForeignSnafu { path });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directories(root: &Path) -> Directories {
        Directories { root: root.to_owned(), nodes: ["a-n1".to_owned()].into() }
    }

    #[test]
    fn made_twice_and_removed_twice() {
        let root = tempfile::tempdir().unwrap();
        let directories = directories(root.path());
        let path = directories.path("a-n1", "pvc-1");
        for _ in 0..2 {
            directories.make(&path).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o777);
        }
        fs::write(path.join("file"), "x").unwrap();
        for _ in 0..2 {
            directories.remove(&path).unwrap();
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_path_from_elsewhere_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let directories = directories(root.path());
        for path in ["/etc", "a-n1", "a-n1/other", "a-n1/pvc-", "a-n1/pvc-1/x", "a-n2/pvc-1", "a-n1/../pvc-1"]
        {
            assert!(directories.remove(&root.path().join(path)).is_err(), "{path}");
        }
    }

    #[test]
    fn a_sweep_leaves_what_is_used_or_holds_data() {
        let root = tempfile::tempdir().unwrap();
        let directories = directories(root.path());
        let paths = ["pvc-used", "pvc-full", "pvc-left"].map(|name| directories.path("a-n1", name));
        paths.iter().for_each(|path| directories.make(path).unwrap());
        fs::write(paths[1].join("file"), "x").unwrap();
        directories.remove_empty(&["pvc-used".to_owned()].into()).unwrap();
        assert_eq!(paths.each_ref().map(|path| path.exists()), [true, true, false]);
    }
}
