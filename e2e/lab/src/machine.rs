//! What belongs to the whole machine, not to a cluster: settings that kubelets
//! write, folders that nodes mount over. Remembered before the first cluster
//! starts, put back when the last one is gone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::node::init;
use crate::{dirs, sys};

/// Kernel settings that a kubelet, a kube-proxy or this tool writes.
const SETTINGS: &[&str] = &[
    "fs.inotify.max_user_instances",
    "fs.inotify.max_user_watches",
    "kernel.keys.root_maxbytes",
    "kernel.keys.root_maxkeys",
    "kernel.panic",
    "kernel.panic_on_oops",
    "net.ipv4.ip_forward",
    "net.netfilter.nf_conntrack_max",
    "vm.overcommit_memory",
    "vm.panic_on_oom",
];
/// Every containerd, kubelet and pod watches files; the default of 128 is used up by two clusters.
const INOTIFY_INSTANCES: u32 = 8192;

#[derive(Debug, Serialize, Deserialize)]
struct Machine {
    settings: BTreeMap<String, String>,
    /// Folders that we make as mount points, outermost first.
    folders: Vec<PathBuf>,
}

fn file() -> PathBuf {
    dirs::state().join("machine.json")
}

/// Remembers the machine as it is, unless a cluster runs already.
pub fn remember() -> sys::Result<()> {
    if !file().is_file() {
        let settings = SETTINGS.iter().filter_map(|name| Some(((*name).to_owned(), get(name)?))).collect();
        let folders = mount_points().into_iter().filter(|path| !path.exists()).collect();
        sys::write_json(&file(), &Machine { settings, folders })?;
    }
    let current = get("fs.inotify.max_user_instances").and_then(|value| value.parse().ok()).unwrap_or(0);
    if current < INOTIFY_INSTANCES {
        set("fs.inotify.max_user_instances", &INOTIFY_INSTANCES.to_string())?;
    }
    Ok(())
}

/// Puts the machine back as it was remembered, and removes the state directory.
pub fn restore() -> sys::Result<()> {
    if file().is_file() {
        let machine: Machine = sys::read_json(&file())?;
        for (name, value) in &machine.settings {
            if get(name).as_ref() != Some(value) {
                set(name, value)?;
            }
        }
        for folder in machine.folders.iter().rev() {
            // Not ours any more when someone keeps something there.
            let _ = std::fs::remove_dir(folder);
        }
    }
    sys::remove_tree(&dirs::state())
}

/// Every place that nodes mount over, with the folders above it, outermost first.
pub fn mount_points() -> Vec<PathBuf> {
    let mut list: Vec<PathBuf> = init::places()
        .flat_map(|place| Path::new(place).ancestors().map(Path::to_owned).collect::<Vec<_>>())
        .collect();
    list.sort();
    list.dedup();
    list
}

fn get(name: &str) -> Option<String> {
    Some(std::fs::read_to_string(path(name)).ok()?.trim().to_owned())
}

fn set(name: &str, value: &str) -> sys::Result<()> {
    sys::write(&path(name), value)
}

fn path(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name.replace('.', "/"))
}
