//! Network namespaces, wires and routes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::cluster::Cluster;
use crate::sys::{self, Result};

/// Makes the cluster's bridge, the namespaces, and the wires between them. What exists stays.
pub fn ensure(cluster: &Cluster) -> Result<()> {
    let plan = &cluster.plan;
    let bridge = plan.bridge();
    if !link_exists(&bridge) {
        ip(&["link", "add", &bridge, "type", "bridge"])?;
    }
    ip(&["addr", "replace", &format!("{}/24", plan.host_ip()), "dev", &bridge])?;
    ip(&["link", "set", &bridge, "up"])?;
    // A machine that forwards would carry packets from one cluster into another.
    let forwarding = format!("/proc/sys/net/ipv4/conf/{bridge}/forwarding");
    sys::write(Path::new(&forwarding), "0")?;
    ensure_place(cluster, 0)?;
    for k in cluster.numbers() {
        ensure_place(cluster, k)?;
    }
    for k in cluster.numbers() {
        ip(&["route", "replace", &plan.node_pod_range(k), "via", &plan.ip(k)])?;
    }
    route_services(cluster, 1)
}

/// The host and the control plane reach Services through this node.
pub fn route_services(cluster: &Cluster, through: u8) -> Result<()> {
    let route = ["route", "replace", &cluster.plan.service_range(), "via", &cluster.plan.ip(through)];
    ip(&route)?;
    sys::finish(sys::in_netns(&cluster.netns(0), "ip").args(route)).map(drop)
}

/// Gives node `k` a new network namespace in place of its old one.
pub fn renew(cluster: &Cluster, k: u8) -> Result<()> {
    delete_link(&cluster.plan.wire(k))?;
    unmount_below(&cluster.netns(k))?;
    ensure_place(cluster, k)
}

/// Takes the wire of node `k` out; a new one comes with its next namespace.
pub fn unplug(cluster: &Cluster, k: u8) -> Result<()> {
    ip(&["link", "set", &cluster.plan.wire(k), "down"])
}

/// Makes the namespace of node `k`, or of the control plane (0), and all that is in it.
fn ensure_place(cluster: &Cluster, k: u8) -> Result<()> {
    let plan = &cluster.plan;
    let netns = cluster.netns(k);
    ensure_netns(&netns)?;
    let wire = plan.wire(k);
    if !link_exists(&wire) {
        let there = netns.to_string_lossy().into_owned();
        ip(&["link", "add", &wire, "type", "veth", "peer", "name", "eth0", "netns", &there])?;
    }
    ip(&["link", "set", &wire, "master", &plan.bridge(), "up"])?;
    let mut script = format!(
        "link set lo up\naddr replace {}/24 dev eth0\nlink set eth0 up\nroute replace default via {}\n",
        plan.ip(k),
        plan.host_ip()
    );
    // Pods of other nodes are reached from node to node, without the host.
    for other in cluster.numbers().filter(|&other| other != k) {
        script.push_str(&format!("route replace {} via {}\n", plan.node_pod_range(other), plan.ip(other)));
    }
    let file = cluster.dir().join(format!("conf/ip-{k}"));
    sys::write(&file, script)?;
    sys::finish(sys::in_netns(&netns, "ip").arg("-batch").arg(&file))?;
    sys::finish(sys::in_netns(&netns, "sysctl").args(["-qw", "net.ipv4.ip_forward=1"])).map(drop)
}

/// A namespace that a file holds, in our own folder: `ip netns` would leave a mount behind on /run/netns.
fn ensure_netns(path: &Path) -> Result<()> {
    if mounts_below(path).next().is_some() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        sys::create_dir(folder)?;
    }
    sys::write(path, "")?;
    sys::finish(Command::new("unshare").arg(format!("--net={}", path.display())).arg("true")).map(drop)
}

/// Removes bridge, wires and namespaces, whichever of them exist.
pub fn remove(cluster: &Cluster) -> Result<()> {
    for k in 0..=cluster.spec.nodes {
        delete_link(&cluster.plan.wire(k))?;
    }
    delete_link(&cluster.plan.bridge())?;
    unmount_below(cluster.dir())
}

/// A link may go while we look at it: the kernel takes a wire with its namespace,
/// and the `ip` of a tool that was killed half-way may still run.
fn delete_link(name: &str) -> Result<()> {
    if !link_exists(name) {
        return Ok(());
    }
    let done = ip(&["link", "del", name]);
    if done.is_ok() {
        return Ok(());
    }
    // The kernel unlists a link a moment before it takes it out of /sys.
    std::thread::sleep(Duration::from_millis(200));
    if link_exists(name) { done } else { Ok(()) }
}

/// Takes every mount off that lies below a folder, innermost first.
pub fn unmount_below(folder: &Path) -> Result<()> {
    let mut mounts: Vec<_> = mounts_below(folder).collect();
    mounts.reverse();
    for mount in mounts {
        let done = sys::run("umount", &["--lazy", &mount]);
        // As with links: another hand may have been quicker.
        if done.is_err() && mounts_below(Path::new(&mount)).next().is_some() {
            return done.map(drop);
        }
    }
    Ok(())
}

fn mounts_below(folder: &Path) -> impl Iterator<Item = String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let folder = folder.to_owned();
    let points: Vec<_> = table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|point| Path::new(point).starts_with(&folder))
        .map(str::to_owned)
        .collect();
    points.into_iter()
}

pub fn link_exists(name: &str) -> bool {
    Path::new("/sys/class/net").join(name).exists()
}

fn ip(arguments: &[&str]) -> Result<()> {
    sys::run("ip", arguments).map(drop)
}
