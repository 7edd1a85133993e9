//! What the suites are told by their caller.

use std::path::PathBuf;

/// Is there a cluster to test on? Without one the cluster suites end at once;
/// `make test` sets `PAYPLANE_E2E_REQUIRED`, so there nothing is left out.
#[must_use]
pub fn cluster() -> bool {
    let there = std::env::var_os("KUBECONFIG").is_some();
    assert!(there || !required(), "KUBECONFIG is not set");
    if !there {
        eprintln!("skipped: KUBECONFIG is not set");
    }
    there
}

/// May no suite be left out?
#[must_use]
pub fn required() -> bool {
    std::env::var_os("PAYPLANE_E2E_REQUIRED").is_some()
}

/// The lab cluster's name, where the cluster is one: its verbs break things.
#[must_use]
pub fn lab_cluster() -> Option<String> {
    let name = std::env::var("LAB_CLUSTER").ok();
    assert!(name.is_some() || !required(), "LAB_CLUSTER is not set");
    if name.is_none() {
        eprintln!("skipped: this suite needs the lab's verbs (LAB_CLUSTER is not set)");
    }
    name
}

/// The long form of the suites (`make e2e-full`).
#[must_use]
pub fn full() -> bool {
    std::env::var("PAYPLANE_E2E_FORM").is_ok_and(|form| form == "full")
}

/// The repository's root: cargo runs tests in their package's folder. A path that is compiled in would be that
/// of the clone that was built first.
#[must_use]
pub fn root() -> PathBuf {
    PathBuf::from("../..")
}

/// An empty folder for what a suite leaves to be looked at when it failed.
///
/// # Panics
/// Where it cannot be made.
#[must_use]
pub fn fresh_logs(name: &str) -> PathBuf {
    let cache = std::env::var_os("PAYPLANE_CACHE").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = cache.join("logs").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).expect("a folder for logs");
    folder
}

/// The seed of everything random in a suite; it is printed with a failure.
#[must_use]
pub fn seed() -> u64 {
    let given = std::env::var("PAYPLANE_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| u64::from(std::process::id()))
}
