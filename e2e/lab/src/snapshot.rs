//! The state of the machine as sorted lines, to compare before and after.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::{cgroup, dirs, machine, process, sys};

/// What another program does inside a group of its own is not a cluster's: those
/// are ours by their name, or stand at the top.
fn counts(group: &str) -> bool {
    group.contains("pplab") || group.split('/').count() <= 2
}

/// One line for each thing that a cluster could leave behind.
pub fn lines() -> sys::Result<BTreeSet<String>> {
    let mut lines = BTreeSet::new();
    let mut add = |kind: &str, what: &str| {
        lines.insert(format!("{kind} {}", what.trim_end()));
    };
    for command in processes() {
        add("process", &command);
    }
    for group in cgroup::all().into_iter().filter(|group| counts(group)) {
        add("cgroup", &group);
    }
    for line in sys::read(Path::new("/proc/self/mountinfo"))?.lines() {
        add("mount", &mount(line));
    }
    for namespace in namespaces() {
        add("netns", &namespace);
    }
    for line in sys::run("ip", &["-oneline", "link", "show"])?.lines() {
        add("link", line.split(": ").nth(1).unwrap_or(line));
    }
    for family in ["-4", "-6"] {
        for line in sys::run("ip", &[family, "route", "show", "table", "all"])?.lines() {
            add("route", line);
        }
    }
    for line in sys::run("nft", &["list", "ruleset"])?.lines() {
        add("nft", line);
    }
    for setting in settings(Path::new("/proc/sys")) {
        add("setting", &setting);
    }
    let home = std::env::var_os("HOME").unwrap_or_else(|| "/root".into());
    for file in tree(&Path::new(&home).join(".kube")) {
        add("file", &file);
    }
    if dirs::state().exists() {
        add("file", &dirs::state().to_string_lossy());
    }
    for place in machine::mount_points().iter().filter(|place| place.exists()) {
        add("file", &place.to_string_lossy());
    }
    Ok(lines)
}

/// Command lines of everything that is not the kernel's own, and not us.
fn processes() -> Vec<String> {
    let read = |pid: i32| {
        let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let text = String::from_utf8_lossy(&bytes).replace('\0', " ");
        (!text.is_empty()).then(|| text.chars().take(200).collect())
    };
    process::all().into_iter().filter_map(read).collect()
}

/// What the kernel counts by itself, and what reading changes.
const COUNTS: [&str; 14] = [
    "fs/aio-nr",
    // Looking into it mounts it, on some machines.
    "fs/binfmt_misc",
    "fs/dentry-state",
    "fs/file-nr",
    "fs/inode-nr",
    "fs/inode-state",
    "fs/quota",
    "kernel/hung_task_detect_count",
    "kernel/ns_last_pid",
    "kernel/perf_event_max_sample_rate",
    "kernel/pty/nr",
    "kernel/random",
    "net/netfilter/nf_conntrack_count",
    "vm/stat_refresh",
];

/// Every setting of the kernel that can be read, with its value.
fn settings(folder: &Path) -> Vec<String> {
    let mut list = Vec::new();
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        let name = path.strip_prefix("/proc/sys").unwrap_or(&path).to_string_lossy().into_owned();
        if COUNTS.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            list.extend(settings(&path));
        } else if let Ok(value) = std::fs::read_to_string(&path) {
            list.push(format!("{name} = {}", value.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    list
}

/// Mount point and type, without numbers that change.
fn mount(line: &str) -> String {
    let words: Vec<_> = line.split(' ').collect();
    let kind = words.iter().position(|word| *word == "-").and_then(|at| words.get(at + 1));
    format!("{} {}", words.get(4).unwrap_or(&""), kind.unwrap_or(&""))
}

/// Network namespaces by number, as far as a process lives in them.
fn namespaces() -> BTreeSet<String> {
    let inode =
        |pid: i32| std::fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|ns| ns.ino().to_string());
    process::all().into_iter().filter_map(inode).collect()
}

fn tree(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut list = vec![folder.to_string_lossy().into_owned()];
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            list.extend(tree(&entry.path()));
        } else if let Ok(metadata) = entry.metadata() {
            list.push(format!("{} {} bytes at {}", entry.path().display(), metadata.len(), metadata.mtime()));
        }
    }
    list
}
