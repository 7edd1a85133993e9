//! What Kubernetes says about policies, in the plainest words: no sets, no
//! chains, no nodes' views. The enforcer must agree with it on every packet.

use std::net::Ipv4Addr;

use payplane_lab::policy::world::{Direction, Peer, Pod, Port, PortTarget, Protocol, Rule, World};

/// A new connection's first packet, after Services were resolved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Packet {
    pub(crate) from: Ipv4Addr,
    pub(crate) to: Ipv4Addr,
    pub(crate) protocol: Protocol,
    pub(crate) port: u16,
}

pub(crate) fn pod_at(world: &World, address: Ipv4Addr) -> Option<&Pod> {
    world.pods.iter().find(|pod| pod.address == address && !pod.host_network)
}

pub(crate) fn allows(world: &World, packet: Packet) -> bool {
    packet.from == packet.to
        || (side_allows(world, packet, Direction::Egress) && side_allows(world, packet, Direction::Ingress))
}

/// A side without a pod, or whose pod no policy governs, lets everything pass;
/// otherwise one policy that allows is enough.
fn side_allows(world: &World, packet: Packet, direction: Direction) -> bool {
    let (own, other) = match direction {
        Direction::Ingress => (packet.to, packet.from),
        Direction::Egress => (packet.from, packet.to),
    };
    let Some(pod) = pod_at(world, own) else { return true };
    let mut policies = world.policies.iter().filter(|policy| policy.governs(pod, direction)).peekable();
    policies.peek().is_none()
        || policies.any(|policy| {
            let rules = policy.rules(direction).unwrap_or_default();
            rules.iter().any(|rule| rule_allows(world, &policy.namespace, rule, other, packet))
        })
}

fn rule_allows(world: &World, own: &str, rule: &Rule, other: Ipv4Addr, packet: Packet) -> bool {
    let peer = |peer: &Peer| match peer {
        Peer::Pods { .. } => pod_at(world, other).is_some_and(|pod| peer.selects(own, pod, world)),
        Peer::Block { range, except } => {
            range.is_some_and(|range| range.contains(other))
                && !except.iter().any(|range| range.contains(other))
        }
    };
    let port = |port: &Port| {
        port.protocol == packet.protocol
            && match &port.target {
                PortTarget::Every => true,
                PortTarget::Numbers(first, last) => (*first..=*last).contains(&packet.port),
                PortTarget::Named(name) => pod_at(world, packet.to).is_some_and(|pod| {
                    let mut ports = pod.ports.iter();
                    ports.any(|p| p.name == *name && p.protocol == packet.protocol && p.number == packet.port)
                }),
            }
    };
    (rule.peers.is_empty() || rule.peers.iter().any(peer))
        && (rule.ports.is_empty() || rule.ports.iter().any(port))
}
