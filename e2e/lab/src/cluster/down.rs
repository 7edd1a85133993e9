//! Takes a cluster down from whatever of it is found: names are computed, so a
//! tool that was killed half-way, or a lost pid file, changes nothing.

use std::time::Duration;

use snafu::{Snafu, ensure};

use super::{Cluster, up};
use crate::{cgroup, lock, machine, net, process, sys};

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("processes {pids:?} of cluster {name} do not end"))]
    Undead { name: String, pids: Vec<i32> },
    #[snafu(transparent)]
    Cluster { source: super::Error },
    #[snafu(transparent)]
    Lock { source: lock::Error },
    #[snafu(transparent)]
    Sys { source: sys::Error },
}

/// Removes a cluster and all that it made. Returns whether there was one.
pub fn down(name: &str) -> Result<bool, Error> {
    if Cluster::find(name)?.is_none() {
        tidy()?;
        return Ok(false);
    }
    let lock = up::lock_of(name)?;
    let Some(cluster) = Cluster::find(name)? else { return Ok(false) };
    remove_all_of(&cluster)?;
    drop(lock);
    tidy()?;
    Ok(true)
}

/// Removes every cluster of which nothing runs any more, and names them. One
/// that is being made holds its lock, and runs when it lets go of it.
pub fn prune() -> Result<Vec<String>, Error> {
    let mut gone = Vec::new();
    for cluster in Cluster::all()? {
        let _lock = up::lock_of(&cluster.spec.name)?;
        if process::of(&cluster).is_empty() {
            remove_all_of(&cluster)?;
            gone.push(cluster.spec.name);
        }
    }
    tidy()?;
    Ok(gone)
}

fn remove_all_of(cluster: &Cluster) -> Result<(), Error> {
    let name = &cluster.spec.name;
    let pids = process::end_all(cluster, Duration::from_secs(20));
    ensure!(pids.is_empty(), UndeadSnafu { name, pids });
    net::remove(cluster)?;
    for k in cluster.numbers() {
        cgroup::remove(&cluster.plan.cgroup(k))?;
    }
    // The specification goes last: as long as it is there, another `down` finds the rest.
    let spec = cluster.dir().join("cluster.json");
    for entry in std::fs::read_dir(cluster.dir()).into_iter().flatten().flatten() {
        if entry.path() != spec {
            remove(&entry.path())?;
        }
    }
    Ok(sys::remove_tree(cluster.dir())?)
}

fn remove(path: &std::path::Path) -> Result<(), sys::Error> {
    if path.is_dir() { sys::remove_tree(path) } else { sys::remove_file(path) }
}

/// Gives the machine back when no cluster is left, whatever half a claim there is.
pub fn tidy() -> Result<(), Error> {
    let _lock = up::lock_of_all()?;
    if Cluster::all()?.is_empty() {
        machine::restore()?;
    }
    Ok(())
}
