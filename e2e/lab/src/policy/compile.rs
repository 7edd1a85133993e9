//! From policies to what each node enforces. Pure: same world, same rulesets.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::ruleset::{Allow, ChainName, PeerMatch, PortMatch, Ruleset};
use super::world::{Direction, Node, Peer, Pod, Policy, Port, PortTarget, Protocol, World};

/// Compiles a ruleset for every node, by the node's name.
pub fn compile(world: &World) -> BTreeMap<String, Ruleset> {
    world.nodes.iter().map(|node| (node.name.clone(), compile_node(world, node))).collect()
}

fn compile_node(world: &World, node: &Node) -> Ruleset {
    let mut ruleset = Ruleset { uplink: node.uplink.clone(), ..Ruleset::default() };
    let mut chains_by_policies: BTreeMap<(Direction, Vec<usize>), ChainName> = BTreeMap::new();
    for pod in world.pods.iter().filter(|pod| pod.node == node.name && !pod.host_network) {
        ruleset.known.insert(pod.address);
        for direction in [Direction::Ingress, Direction::Egress] {
            let policies = policies_of(world, pod, direction);
            if policies.is_empty() {
                continue;
            }
            let next = (direction, chains_by_policies.len());
            let chain = *chains_by_policies.entry((direction, policies.clone())).or_insert(next);
            if chain == next {
                let rules = compile_chain(world, &policies, direction, &mut ruleset);
                ruleset.chains.insert(chain, rules);
            }
            ruleset.governed.insert((direction, pod.address), chain);
        }
    }
    ruleset
}

/// The positions of the policies that govern a pod in a direction.
fn policies_of(world: &World, pod: &Pod, direction: Direction) -> Vec<usize> {
    let governing = |(at, policy): (usize, &Policy)| policy.governs(pod, direction).then_some(at);
    world.policies.iter().enumerate().filter_map(governing).collect()
}

/// The union of what the policies allow.
fn compile_chain(world: &World, policies: &[usize], direction: Direction, into: &mut Ruleset) -> Vec<Allow> {
    let mut allowed = BTreeSet::new();
    for policy in policies.iter().filter_map(|at| world.policies.get(*at)) {
        for rule in policy.rules(direction).unwrap_or_default() {
            let ports = compile_ports(world, &rule.ports, into);
            for peer in compile_peers(world, &policy.namespace, &rule.peers, into) {
                allowed.extend(ports.iter().map(|port| Allow { peer: peer.clone(), port: port.clone() }));
            }
        }
    }
    allowed.into_iter().collect()
}

/// All pod selectors of a rule become one set of addresses.
fn compile_peers(world: &World, own: &str, peers: &[Peer], into: &mut Ruleset) -> Vec<PeerMatch> {
    if peers.is_empty() {
        return vec![PeerMatch::Any];
    }
    let selected = |pod: &&Pod| peers.iter().any(|peer| peer.selects(own, pod, world));
    let addresses: BTreeSet<Ipv4Addr> = world.pods.iter().filter(selected).map(|pod| pod.address).collect();
    let mut matches = Vec::new();
    if !addresses.is_empty() {
        matches.push(PeerMatch::Set(into.sets.intern(addresses)));
    }
    for peer in peers {
        if let Peer::Block { range: Some(range), except } = peer
            && !except.iter().any(|except| except.is_everything())
        {
            matches.push(PeerMatch::Block { range: *range, except: except.clone() });
        }
    }
    matches
}

fn compile_ports(world: &World, ports: &[Port], into: &mut Ruleset) -> Vec<PortMatch> {
    if ports.is_empty() {
        return vec![PortMatch::Any];
    }
    let mut matches = Vec::new();
    for Port { protocol, target } in ports {
        matches.push(match target {
            PortTarget::Every => PortMatch::Protocol(*protocol),
            PortTarget::Numbers(first, last) => PortMatch::Numbers(*protocol, *first, *last),
            PortTarget::Named(name) => {
                let key = (*protocol, name.clone());
                into.named.entry(key).or_insert_with(|| resolve(world, *protocol, name));
                PortMatch::Named(*protocol, name.clone())
            }
        });
    }
    matches
}

/// Every pod's port of that name. A node's address has none.
fn resolve(world: &World, protocol: Protocol, name: &str) -> BTreeSet<(Ipv4Addr, u16)> {
    let pods = world.pods.iter().filter(|pod| !pod.host_network);
    pods.flat_map(|pod| pod.ports.iter().map(move |port| (pod.address, port)))
        .filter(|(_, port)| port.protocol == protocol && port.name == name)
        .map(|(address, port)| (address, port.number))
        .collect()
}
