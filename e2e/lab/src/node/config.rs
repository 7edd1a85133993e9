//! The configuration files of containerd, CNI, kubelet and kube-proxy.

use std::path::{Path, PathBuf};

use serde_json::json;
use snafu::ResultExt;

use crate::cluster::Cluster;
use crate::plan::Plan;
use crate::policy::{gate, plugin};
use crate::{images, pki, sys};

/// What a node offers to pods. The machine has more, and every node sees all of
/// it, so each kubelet reserves the rest for a system that does not exist.
const NODE_CPUS: u64 = 2;
const NODE_MEMORY_MIB: u64 = 4096;
/// Below this much free memory of the whole machine a kubelet evicts; it is not allocatable either.
const EVICTION_MIB: u64 = 100;

pub fn write(cluster: &Cluster, k: u8) -> sys::Result<()> {
    let conf = cluster.node_dir(k).join("conf");
    let text = |value: serde_json::Value| value.to_string();
    sys::write(&conf.join("containerd.toml"), containerd(cluster))?;
    // JSON is YAML.
    sys::write(&conf.join("kubelet.yaml"), text(kubelet(cluster, k)))?;
    sys::write(&conf.join("kube-proxy.yaml"), text(kube_proxy(cluster, k)))?;
    sys::write(&conf.join("resolv.conf"), format!("nameserver {}\n", cluster.plan.dns_ip()))?;
    sys::write(&cluster.node_dir(k).join("cni-conf/10-lab.conflist"), text(cni(cluster, k)))
}

/// `ptp` makes a routed wire to each pod, so every packet passes the node's
/// forward hook, where policies are enforced, also between two pods of one node.
fn cni(cluster: &Cluster, k: u8) -> serde_json::Value {
    let socket = gate::socket(&cluster.paths().run);
    json!({
        "cniVersion": "0.4.0",
        "name": "lab",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": false,
                "mtu": 1500,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": cluster.plan.node_pod_range(k)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
            plugin::configuration(&socket),
        ],
    })
}

/// Debian's plugins and ours, side by side: containerd looks into one folder.
fn plugins_dir(cluster: &Cluster) -> PathBuf {
    cluster.dir().join("cni")
}

/// Links Debian's network plugins and puts ours beside them.
pub fn install_plugins(cluster: &Cluster, this: &Path) -> sys::Result<()> {
    let folder = plugins_dir(cluster);
    sys::create_dir(&folder)?;
    for name in ["ptp", "portmap", "host-local", "loopback"] {
        let link = folder.join(name);
        if !link.exists() {
            std::os::unix::fs::symlink(Path::new("/usr/lib/cni").join(name), &link)
                .context(sys::FileSnafu { action: "link", path: &link })?;
        }
    }
    plugin::install(&folder, this).context(sys::FileSnafu { action: "install a plugin in", path: &folder })
}

/// Root here may lack CAP_SYS_RESOURCE (containers, some virtual machines): no
/// process may then get a better OOM score than ours.
fn containerd(cluster: &Cluster) -> String {
    let (pause, bin) = (images::PAUSE, plugins_dir(cluster).display().to_string());
    format!(
        r#"version = 2
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause}"
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
  disable_apparmor = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{bin}"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
"#
    )
}

pub fn kubelet_arguments(cluster: &Cluster, k: u8) -> Vec<String> {
    let zone = Plan::zone(k);
    vec![
        format!("--kubeconfig={}", pki::conf(cluster, &format!("n{k}")).display()),
        format!("--config={}/conf/kubelet.yaml", cluster.node_dir(k).display()),
        format!("--node-ip={}", cluster.plan.ip(k)),
        format!("--hostname-override={}", cluster.plan.node_name(k)),
        format!("--node-labels=topology.kubernetes.io/zone={zone},topology.kubernetes.io/region=lab"),
    ]
}

fn kubelet(cluster: &Cluster, k: u8) -> serde_json::Value {
    let (cpus, memory_mib) = machine();
    let mut config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": cluster.dir().join("pki/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": cluster.dir().join(format!("pki/n{k}.crt")),
        "tlsPrivateKeyFile": cluster.dir().join(format!("pki/n{k}.key")),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "failCgroupV1": false,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", cluster.plan.cgroup(k)),
        "enforceNodeAllocatable": [],
        "failSwapOn": false,
        // Its default lies outside the node's own folders.
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "oomScoreAdj": 0,
        "maxOpenFiles": 20000,
        "systemReserved": {
            "cpu": cpus.saturating_sub(NODE_CPUS).to_string(),
            "memory": format!("{}Mi", memory_mib.saturating_sub(NODE_MEMORY_MIB + EVICTION_MIB)),
        },
        "evictionHard": {
            "memory.available": format!("{EVICTION_MIB}Mi"),
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        // Images come by hand: one that were collected could not be pulled again.
        "imageGCHighThresholdPercent": 100,
        "resolvConf": cluster.node_dir(k).join("conf/resolv.conf"),
        "clusterDNS": [cluster.plan.dns_ip()],
        "clusterDomain": "cluster.local",
        "serializeImagePulls": false,
    });
    if cluster.spec.fast_node_failure {
        config["nodeStatusUpdateFrequency"] = "2s".into();
        config["nodeLeaseDurationSeconds"] = 8.into();
    }
    if cluster.spec.cap_crash_backoff {
        config["crashLoopBackOff"] = json!({"maxContainerRestartPeriod": "2s"});
    }
    config
}

fn kube_proxy(cluster: &Cluster, k: u8) -> serde_json::Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": cluster.plan.node_name(k),
        "clusterCIDR": cluster.plan.pod_range(),
        "clientConnection": {"kubeconfig": pki::conf(cluster, "kube-proxy")},
        // Connection tracking limits belong to the machine, not to a node on it.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "nftables": {"masqueradeAll": false},
    })
}

/// CPUs and memory of this machine.
fn machine() -> (u64, u64) {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib: u64 = total.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    (cpus, kib / 1024)
}
