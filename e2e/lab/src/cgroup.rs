//! The control groups of nodes, under cgroup v1 and v2 alike.

use std::path::{Path, PathBuf};
use std::time::Duration;

use snafu::ResultExt;

use crate::sys::{self, FileSnafu, Result};

const ROOT: &str = "/sys/fs/cgroup";

/// Every hierarchy of this machine: one under v2, one for each controller under v1.
fn hierarchies() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return vec![root.to_owned()];
    }
    let Ok(entries) = std::fs::read_dir(root) else { return Vec::new() };
    // Names such as cpu,cpuacct may be links beside their parts.
    entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

/// Makes a group in every hierarchy, ready to hold processes.
pub fn create(group: &str) -> Result<()> {
    for hierarchy in hierarchies() {
        let path = hierarchy.join(group);
        sys::create_dir(&path)?;
        // A new cpuset of v1 is empty, and no process can enter it until it is filled.
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if path.join(file).exists() && !hierarchy.join("cgroup.controllers").exists() {
                let all = sys::read(&hierarchy.join(file))?;
                sys::write(&path.join(file), all.trim())?;
            }
        }
        delegate(&hierarchy, &path);
    }
    Ok(())
}

/// Under v2 a group passes on only the controllers that it is told to.
fn delegate(hierarchy: &Path, group: &Path) {
    let Ok(controllers) = std::fs::read_to_string(hierarchy.join("cgroup.controllers")) else { return };
    for controller in controllers.split_whitespace() {
        for place in [hierarchy, group] {
            let _ = std::fs::write(place.join("cgroup.subtree_control"), format!("+{controller}"));
        }
    }
}

/// Removes a group and all below it from every hierarchy. Its processes must be gone.
pub fn remove(group: &str) -> Result<()> {
    hierarchies().iter().map(|hierarchy| hierarchy.join(group)).try_for_each(|path| remove_tree(&path))
}

fn remove_tree(path: &Path) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(path) else { return Ok(()) };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        remove_tree(&entry.path())?;
    }
    // The kernel lets go of a group some moments after its last process.
    for _ in 0..100 {
        match std::fs::remove_dir(path) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                std::thread::sleep(Duration::from_millis(50));
            }
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).context(FileSnafu { action: "remove", path });
            }
            _ => return Ok(()),
        }
    }
    std::fs::remove_dir(path).context(FileSnafu { action: "remove", path })
}

/// The group named `name` somewhere below `group`; a container's is named by its id.
pub fn find(group: &str, name: &str) -> Option<PathBuf> {
    // Under v1 every container is in the group of every controller: one of them is enough.
    let hierarchies = hierarchies();
    let hierarchy = hierarchies.iter().find(|path| path.ends_with("pids")).or(hierarchies.first())?;
    find_below(&hierarchy.join(group), name)
}

fn find_below(path: &Path, name: &str) -> Option<PathBuf> {
    if path.file_name().is_some_and(|last| last == name) {
        return Some(path.to_owned());
    }
    let folders = std::fs::read_dir(path).ok()?.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir()));
    folders.map(|entry| entry.path()).find_map(|folder| find_below(&folder, name))
}

/// The processes in a group, as the host numbers them.
pub fn processes(group: &Path) -> Vec<i32> {
    let text = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

/// Every group of the machine, as `hierarchy/group`.
pub fn all() -> Vec<String> {
    let mut list = Vec::new();
    let mut todo = hierarchies();
    while let Some(path) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&path) else { continue };
        todo.extend(entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()));
        list.push(path.strip_prefix(ROOT).unwrap_or(&path).to_string_lossy().into_owned());
    }
    list
}
