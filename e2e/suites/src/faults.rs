//! Whom a fault meets, and what the lab does to them.

use serde_json::Value;

use crate::{env, kubectl, lab};

/// Names of running pods, as `namespace/name`.
#[must_use]
pub fn pods(namespace: &str, labels: &str) -> Vec<String> {
    let found = kubectl::list(&["pods", "-n", namespace, "-l", labels]);
    let running = found
        .iter()
        .filter(|pod| pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null());
    let mut names: Vec<_> = running
        .filter_map(|pod| pod["metadata"]["name"].as_str())
        .map(|name| format!("{namespace}/{name}"))
        .collect();
    names.sort();
    names
}

/// A pod by `namespace/name`.
///
/// # Panics
/// Where there is no such pod.
#[must_use]
pub fn pod(pod: &str) -> Value {
    find(pod).unwrap_or_else(|| panic!("there is no {pod}"))
}

fn find(pod: &str) -> Option<Value> {
    let (namespace, name) = pod.split_once('/').expect("namespace/name");
    kubectl::get(&["pod", name, "-n", namespace])
}

/// How often a pod's first container was started again.
#[must_use]
pub fn restarts(pod: &Value) -> i64 {
    pod["status"]["containerStatuses"][0]["restartCount"].as_i64().unwrap_or_default()
}

/// Do all containers of a pod, `namespace/name`, run? One that was killed again and
/// again is down for a moment.
#[must_use]
pub fn runs(pod: &str) -> bool {
    let found = find(pod).unwrap_or_default();
    let containers = found["status"]["containerStatuses"].as_array().cloned().unwrap_or_default();
    !containers.is_empty() && containers.iter().all(|container| container["state"]["running"].is_object())
}

/// Uid and restart count of each pod: what changes when one is replaced or restarted.
#[must_use]
pub fn incarnations(namespace: &str, labels: &str) -> Vec<String> {
    let pods = kubectl::list(&["pods", "-n", namespace, "-l", labels]);
    let told = |pod: &Value| {
        format!("{} {}", pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"])
    };
    let mut all: Vec<_> = pods.iter().map(told).collect();
    all.sort();
    all
}

/// The pod of the operator that leads.
///
/// # Panics
/// Where nobody leads.
#[must_use]
pub fn leader() -> String {
    let lease =
        kubectl::get(&["lease", "payplane-operator", "-n", "payplane-system"]).expect("there is a lease");
    let holder = lease["spec"]["holderIdentity"].as_str().expect("somebody leads");
    format!("payplane-system/{holder}")
}

/// The pod of a tenant's primary.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn primary(tenant: &str) -> String {
    let found = pods(&format!("ptn-{tenant}"), "cnpg.io/instanceRole=primary");
    found.first().expect("there is a primary").clone()
}

/// The node that a pod, `namespace/name`, runs on.
///
/// # Panics
/// Where there is no such pod.
#[must_use]
pub fn node_of(pod: &str) -> String {
    self::pod(pod)["spec"]["nodeName"].as_str().expect("it runs somewhere").to_owned()
}

/// kill, freeze or thaw, from outside.
pub fn inflict(verb: &str, pod: &str) {
    let cluster = env::lab_cluster().expect("the lab breaks things");
    println!("{verb} {pod}");
    let _ = lab::run(&["pod", verb, pod, "--cluster", &cluster]);
}

/// Pods that are frozen while this lives.
#[must_use]
pub struct Frozen(Vec<String>);

impl Frozen {
    /// Freezes pods, `namespace/name`.
    ///
    /// # Panics
    /// Where there are none.
    pub fn freeze(pods: Vec<String>) -> Self {
        assert!(!pods.is_empty(), "nothing to freeze");
        let frozen = Self(pods);
        frozen.0.iter().for_each(|pod| inflict("freeze", pod));
        frozen
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.0.iter().for_each(|pod| inflict("thaw", pod));
    }
}

/// A managed database's instances that are ready, of those that are wanted.
#[must_use]
pub fn instances(tenant: &str) -> (i64, i64) {
    let namespace = format!("ptn-{tenant}");
    let found = kubectl::get(&["cluster.postgresql.cnpg.io", "database", "-n", &namespace]);
    let number = |at: &Value| at.as_i64().unwrap_or_default();
    found.map_or((0, 0), |o| (number(&o["status"]["readyInstances"]), number(&o["spec"]["instances"])))
}
