//! A node with pods, made of network namespaces as the lab's own nodes are:
//! every pod has its own wire to the node, and the node routes. Needs root.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use payplane_lab::nft;
use payplane_lab::paths::NodeNet;
use payplane_lab::policy::world::Protocol;

use super::reference::Packet;
use super::worlds::{OUTSIDE, address};

/// A packet that passes is answered in microseconds, also on a busy machine.
const ANSWER_MS_MAX: u64 = 700;
const GATEWAY: &str = "10.1.1.254";

pub(crate) struct Stage {
    prefix: String,
    pods: Vec<Ipv4Addr>,
    /// Where packets are sent from: each pod, and the machine outside.
    places: Vec<(Ipv4Addr, String)>,
}

impl Stage {
    pub(crate) fn new(pods: usize) -> Self {
        static STAGES: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("ppt{}x{}", std::process::id(), STAGES.fetch_add(1, Ordering::Relaxed));
        let pods: Vec<_> = (1..=pods).map(|index| address(0, index)).collect();
        let mut stage = Self { prefix, pods, places: Vec::new() };
        let node = stage.node().netns;
        add_namespace(&node);
        stage.add_outside(&node);
        for (at, pod) in stage.pods.clone().into_iter().enumerate() {
            stage.add_pod(&node, at, pod);
        }
        stage
    }

    pub(crate) fn node(&self) -> NodeNet {
        NodeNet { name: "n1".into(), netns: format!("{}node", self.prefix), uplink: "eth0".into() }
    }

    pub(crate) fn pods(&self) -> &[Ipv4Addr] {
        &self.pods
    }

    fn add_outside(&mut self, node: &str) {
        let name = format!("{}out", self.prefix);
        add_namespace(&name);
        ip(&format!("-n {node} link add eth0 type veth peer name eth0 netns {name}"));
        ip(&format!("-n {node} addr add 192.0.2.1/24 dev eth0"));
        ip(&format!("-n {node} link set eth0 up"));
        ip(&format!("-n {name} addr add {OUTSIDE}/24 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {name} route add 10.0.0.0/8 via 192.0.2.1"));
        self.places.push((OUTSIDE, name));
    }

    /// As the plugin `ptp` does it.
    fn add_pod(&mut self, node: &str, at: usize, pod: Ipv4Addr) {
        let name = format!("{}p{at}", self.prefix);
        add_namespace(&name);
        ip(&format!("-n {node} link add veth{at} type veth peer name eth0 netns {name}"));
        ip(&format!("-n {node} addr add {GATEWAY}/32 dev veth{at}"));
        ip(&format!("-n {node} link set veth{at} up"));
        ip(&format!("-n {node} route add {pod}/32 dev veth{at}"));
        ip(&format!("-n {name} addr add {pod}/24 dev eth0 noprefixroute"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {name} route add {GATEWAY}/32 dev eth0"));
        ip(&format!("-n {name} route add default via {GATEWAY}"));
        self.places.push((pod, name));
    }

    /// Sends the first packet of a connection. Nothing listens at the far end, so
    /// its kernel refuses what arrives, and what was dropped stays unanswered.
    pub(crate) fn arrives(&self, packet: Packet) -> bool {
        let (_, netns) =
            self.places.iter().find(|(at, _)| *at == packet.from).expect("a sender on the stage");
        let file = std::fs::File::open(nft::netns_path(netns)).expect("the sender's namespace");
        let probe = move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("enter the sender's namespace");
            let to = SocketAddr::from((packet.to, packet.port));
            let wait = Duration::from_millis(ANSWER_MS_MAX);
            let answer = match packet.protocol {
                Protocol::Tcp => TcpStream::connect_timeout(&to, wait).map(drop),
                Protocol::Udp => ask_udp(to, wait),
                Protocol::Sctp => panic!("the stage does not speak SCTP"),
            };
            match answer.map_err(|error| error.kind()) {
                Ok(()) | Err(ErrorKind::ConnectionRefused) => true,
                Err(ErrorKind::TimedOut | ErrorKind::WouldBlock) => false,
                Err(other) => panic!("{packet:?}: {other}"),
            }
        };
        // A namespace is a thread's own, so a probe is a thread.
        std::thread::spawn(probe).join().expect("a probe")
    }

    /// Sends all of them at once; returns the answers in the same order.
    pub(crate) fn arrive(&self, packets: &[Packet]) -> Vec<bool> {
        std::thread::scope(|scope| {
            let probes: Vec<_> = packets.iter().map(|packet| scope.spawn(|| self.arrives(*packet))).collect();
            probes.into_iter().map(|probe| probe.join().expect("a probe")).collect()
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let node = self.node().netns;
        for name in self.places.iter().map(|(_, name)| name).chain([&node]) {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn ask_udp(to: SocketAddr, wait: Duration) -> std::io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(wait))?;
    socket.connect(to)?;
    socket.send(b"?")?;
    socket.recv(&mut [0; 16]).map(drop)
}

fn add_namespace(name: &str) {
    ip(&format!("netns add {name}"));
    ip(&format!("-n {name} link set lo up"));
    // Every refused datagram is answered, not only the first few of a second.
    let settings = ["net.ipv4.ip_forward=1", "net.ipv4.icmp_ratelimit=0"];
    run(
        "nsenter",
        &[&[format!("--net=/run/netns/{name}").as_str(), "sysctl", "-qw"], &settings[..]].concat(),
    );
}

fn ip(arguments: &str) {
    run("ip", &arguments.split(' ').collect::<Vec<_>>());
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().expect("start a program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?} (this test needs root): {said}");
}
