//! etcd, API server, controller manager and scheduler, in a network namespace of their own.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};

use crate::cluster::Cluster;
use crate::programs::Programs;
use crate::{pki, process, sys};

/// Everything is recorded, bodies of nothing.
const AUDIT_POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
";
/// The log of one cluster's life stays one file: suites read it from its start.
const AUDIT_LOG_MEGABYTES_MAX: &str = "2000";

/// Starts etcd and the API server, where they do not run. Returns how many were started.
pub fn start_store(cluster: &Cluster, programs: &Programs) -> sys::Result<usize> {
    sys::write(&cluster.dir().join("conf/audit.yaml"), AUDIT_POLICY)?;
    let list = [("etcd", etcd(cluster)), ("kube-apiserver", api_server(cluster))];
    start(cluster, programs, &list)
}

/// Ends the API server at once, and returns when its port is free: the threads of a
/// killed process end one by one, and the last one closes the socket.
pub fn kill_api_server(cluster: &Cluster) {
    const CONNECT: Duration = Duration::from_millis(200);
    if let Some(pid) = process::running(cluster, "kube-apiserver") {
        let _ = kill(pid, Signal::SIGKILL);
    }
    let Ok(address) = format!("{}:6443", cluster.plan.ip(0)).parse() else { return };
    while std::net::TcpStream::connect_timeout(&address, CONNECT).is_ok() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Starts the controller manager and the scheduler: they give up when no API server answers.
pub fn start_controllers(cluster: &Cluster, programs: &Programs) -> sys::Result<usize> {
    let list =
        [("kube-controller-manager", controller_manager(cluster)), ("kube-scheduler", scheduler(cluster))];
    start(cluster, programs, &list)
}

fn start(cluster: &Cluster, programs: &Programs, list: &[(&str, Vec<String>)]) -> sys::Result<usize> {
    let mut started = 0;
    for (name, arguments) in list {
        let program = programs.path(name);
        started += usize::from(process::start(cluster, name, &cluster.netns(0), &program, arguments)?);
    }
    Ok(started)
}

/// A test bed: nothing here must survive the machine, so etcd does not wait for the disk.
fn etcd(cluster: &Cluster) -> Vec<String> {
    flags(&[
        ("name", "lab"),
        ("data-dir", &file(cluster, "etcd")),
        ("listen-client-urls", "http://127.0.0.1:2379"),
        ("advertise-client-urls", "http://127.0.0.1:2379"),
        ("listen-peer-urls", "http://127.0.0.1:0"),
        ("unsafe-no-fsync", "true"),
        ("log-level", "warn"),
    ])
}

fn api_server(cluster: &Cluster) -> Vec<String> {
    let pki = |name: &str| file(cluster, &format!("pki/{name}"));
    let mut list = flags(&[
        ("etcd-servers", "http://127.0.0.1:2379"),
        ("bind-address", "0.0.0.0"),
        ("secure-port", "6443"),
        ("advertise-address", &cluster.plan.ip(0)),
        ("tls-cert-file", &pki("apiserver.crt")),
        ("tls-private-key-file", &pki("apiserver.key")),
        ("client-ca-file", &pki("ca.crt")),
        ("allow-privileged", "true"),
        ("authorization-mode", "Node,RBAC"),
        ("enable-admission-plugins", "NodeRestriction"),
        ("service-cluster-ip-range", &cluster.plan.service_range()),
        ("service-account-issuer", "https://kubernetes.default.svc.cluster.local"),
        ("service-account-key-file", &pki("sa.pub")),
        ("service-account-signing-key-file", &pki("sa.key")),
        ("kubelet-client-certificate", &pki("kubelet-client.crt")),
        ("kubelet-client-key", &pki("kubelet-client.key")),
        ("kubelet-preferred-address-types", "InternalIP"),
        ("requestheader-client-ca-file", &pki("ca.crt")),
        ("requestheader-allowed-names", "system:auth-proxy"),
        ("requestheader-username-headers", "X-Remote-User"),
        ("requestheader-group-headers", "X-Remote-Group"),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
        ("proxy-client-cert-file", &pki("front-proxy.crt")),
        ("proxy-client-key-file", &pki("front-proxy.key")),
        // Webhooks are called at their pods' addresses, so no single node carries them all.
        ("enable-aggregator-routing", "true"),
        ("audit-policy-file", &file(cluster, "conf/audit.yaml")),
        ("audit-log-path", &cluster.audit_log().to_string_lossy()),
        ("audit-log-maxsize", AUDIT_LOG_MEGABYTES_MAX),
        ("profiling", "false"),
    ]);
    if cluster.spec.fast_node_failure {
        list.extend(flags(&[
            ("default-not-ready-toleration-seconds", "5"),
            ("default-unreachable-toleration-seconds", "5"),
        ]));
    }
    list
}

fn controller_manager(cluster: &Cluster) -> Vec<String> {
    let conf = pki::conf(cluster, "controller-manager").to_string_lossy().into_owned();
    let pki = |name: &str| file(cluster, &format!("pki/{name}"));
    let mut list = flags(&[
        ("kubeconfig", &conf),
        ("authentication-kubeconfig", &conf),
        ("authorization-kubeconfig", &conf),
        ("service-account-private-key-file", &pki("sa.key")),
        ("root-ca-file", &pki("ca.crt")),
        ("cluster-signing-cert-file", &pki("ca.crt")),
        ("cluster-signing-key-file", &pki("ca.key")),
        ("use-service-account-credentials", "true"),
        ("leader-elect", "false"),
        // Some forty controllers ask for credentials at the start; the default of 20 a second makes them queue.
        ("kube-api-qps", "200"),
        ("kube-api-burst", "400"),
    ]);
    if cluster.spec.fast_node_failure {
        list.extend(flags(&[("node-monitor-period", "2s"), ("node-monitor-grace-period", "10s")]));
    }
    list
}

fn scheduler(cluster: &Cluster) -> Vec<String> {
    let conf = pki::conf(cluster, "scheduler").to_string_lossy().into_owned();
    flags(&[
        ("kubeconfig", &conf),
        ("authentication-kubeconfig", &conf),
        ("authorization-kubeconfig", &conf),
        ("leader-elect", "false"),
    ])
}

fn flags(pairs: &[(&str, &str)]) -> Vec<String> {
    pairs.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

fn file(cluster: &Cluster, inner: &str) -> String {
    cluster.dir().join(inner).to_string_lossy().into_owned()
}
