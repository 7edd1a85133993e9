//! What the kernel does with a ruleset, said in Rust. That the kernel does the
//! same with the text is shown by the packets of `packets.rs`.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use payplane_lab::policy::ruleset::{Allow, PeerMatch, PortMatch, Ruleset};
use payplane_lab::policy::world::{Direction, World};

use super::reference::{Packet, pod_at};

/// Whether a packet passes the nodes on its way: the sender's, then the receiver's.
pub(crate) fn passes(world: &World, rulesets: &BTreeMap<String, Ruleset>, packet: Packet) -> bool {
    let node = |address: Ipv4Addr| pod_at(world, address).map(|pod| pod.node.as_str());
    let (from, to) = (node(packet.from), node(packet.to));
    [from, to]
        .into_iter()
        .flatten()
        .all(|node| forwards(&rulesets[node], packet, from == Some(node), to == Some(node)))
}

/// The forward chain of one node, rule by rule.
fn forwards(ruleset: &Ruleset, packet: Packet, sender_is_here: bool, receiver_is_here: bool) -> bool {
    if sender_is_here && !ruleset.known.contains(&packet.from) {
        return false;
    }
    if receiver_is_here && !ruleset.known.contains(&packet.to) {
        return false;
    }
    if packet.from == packet.to && ruleset.known.contains(&packet.from) {
        return true;
    }
    judged(ruleset, Direction::Egress, packet.from, packet)
        && judged(ruleset, Direction::Ingress, packet.to, packet)
}

fn judged(ruleset: &Ruleset, direction: Direction, pod: Ipv4Addr, packet: Packet) -> bool {
    let Some(chain) = ruleset.governed.get(&(direction, pod)) else { return true };
    ruleset.chains[chain].iter().any(|allow| matches(ruleset, allow, direction, packet))
}

fn matches(ruleset: &Ruleset, allow: &Allow, direction: Direction, packet: Packet) -> bool {
    let other = match direction {
        Direction::Ingress => packet.from,
        Direction::Egress => packet.to,
    };
    let peer = match &allow.peer {
        PeerMatch::Any => true,
        PeerMatch::Set(id) => ruleset.sets.contains(*id, other),
        PeerMatch::Block { range, except } => {
            range.contains(other) && !except.iter().any(|range| range.contains(other))
        }
    };
    let port = match &allow.port {
        PortMatch::Any => true,
        PortMatch::Protocol(protocol) => *protocol == packet.protocol,
        PortMatch::Numbers(protocol, first, last) => {
            *protocol == packet.protocol && (*first..=*last).contains(&packet.port)
        }
        PortMatch::Named(protocol, name) => {
            let pods = &ruleset.named[&(*protocol, name.clone())];
            *protocol == packet.protocol && pods.contains(&(packet.to, packet.port))
        }
    };
    peer && port
}
