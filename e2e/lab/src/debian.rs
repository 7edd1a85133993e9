//! Debian packages that the clusters need, installed where they are missing.

use std::path::Path;
use std::process::Command;

use snafu::{Snafu, ensure};

use crate::sys;

/// A package, and a file by which it is recognized.
const PACKAGES: &[(&str, &str)] = &[
    ("containerd", "/usr/bin/containerd"),
    ("runc", "/usr/sbin/runc"),
    ("containernetworking-plugins", "/usr/lib/cni/ptp"),
    ("nftables", "/usr/sbin/nft"),
    ("iptables", "/usr/sbin/iptables"),
    ("conntrack", "/usr/sbin/conntrack"),
    ("iproute2", "/usr/sbin/ip"),
    ("procps", "/usr/sbin/sysctl"),
    ("postgresql-15", "/usr/lib/postgresql/15/bin/postgres"),
    ("gcc", "/usr/bin/gcc"),
    ("libc6-dev", "/usr/include/stdio.h"),
];
/// A fresh postgresql package would start a server of its own, which nobody asked for.
const NO_SERVER: (&str, &str) =
    ("/etc/postgresql-common/createcluster.conf", "create_main_cluster = false\n");

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("the clusters are made of namespaces and cgroups: run this as root"))]
    NotRoot,
    #[snafu(display(
        "these packages are missing: {missing}; apt-get is not here, so install what they hold by hand"
    ))]
    NoApt { missing: String },
    #[snafu(transparent)]
    Sys { source: sys::Error },
}

/// Installs what is missing. Says what it does, as it changes the machine.
pub fn ensure() -> Result<(), Error> {
    ensure!(nix::unistd::geteuid().is_root(), NotRootSnafu);
    let missing: Vec<_> =
        PACKAGES.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(package, _)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let missing_text = missing.join(" ");
    ensure!(sys::find_program("apt-get", &[]).is_some(), NoAptSnafu { missing: &missing_text });
    eprintln!("installing Debian packages: {missing_text}");
    if missing.contains(&"postgresql-15") && !Path::new(NO_SERVER.0).exists() {
        sys::create_dir(Path::new("/etc/postgresql-common"))?;
        sys::write(Path::new(NO_SERVER.0), NO_SERVER.1)?;
    }
    sys::stream(apt().arg("update"))?;
    let options = ["install", "--yes", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"];
    Ok(sys::stream(apt().args(options).args(missing))?)
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}
