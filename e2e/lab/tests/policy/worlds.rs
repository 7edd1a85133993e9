//! Random small worlds, in which every kind of rule meets every other often.

use std::net::Ipv4Addr;

use payplane_lab::policy::cidr::Cidr;
use payplane_lab::policy::selector::{Labels, Requirement, Selector};
use payplane_lab::policy::world::{
    NamedPort, NamespaceScope, Node, Peer, Pod, Policy, Port, PortTarget, Protocol, Rule, World,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

pub(crate) const NODES: [&str; 2] = ["n1", "n2"];
pub(crate) const NAMESPACES: [&str; 2] = ["red", "blue"];
/// Ports that rules name, their neighbours, and the ports of names.
pub(crate) const PORTS: [u16; 5] = [79, 80, 81, 443, 444];
/// A machine outside the cluster.
pub(crate) const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);

/// Pod `index` of a node, counted from 1.
pub(crate) fn address(node: usize, index: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 1, u8::try_from(node + 1).unwrap(), u8::try_from(index + 1).unwrap())
}

/// A world of the given nodes, each with `pods` pods of which some share their node's address.
pub(crate) fn world(nodes: usize, pods: usize, host_network: bool) -> impl Strategy<Value = World> {
    let places: Vec<_> = (0..nodes).flat_map(|node| (1..=pods).map(move |index| (node, index))).collect();
    let pods: Vec<_> = places.into_iter().map(|(node, index)| pod(node, index, host_network)).collect();
    (vec(policy(), 0..5), pods, labels(), labels()).prop_map(move |(policies, pods, red, blue)| World {
        policies,
        pods,
        namespaces: [("red".to_owned(), red), ("blue".to_owned(), blue)].into(),
        nodes: NODES[..nodes].iter().map(|n| Node { name: (*n).to_owned(), uplink: "eth0".into() }).collect(),
    })
}

fn pod(node: usize, index: usize, host_network: bool) -> impl Strategy<Value = Pod> {
    let on_host = if host_network { proptest::bool::weighted(0.15).boxed() } else { Just(false).boxed() };
    let named = option::of((select(vec![80, 443]), protocol()));
    (select(&NAMESPACES[..]), labels(), on_host, named).prop_map(
        move |(namespace, labels, host_network, named)| Pod {
            namespace: namespace.to_owned(),
            name: format!("pod-{node}-{index}"),
            labels,
            node: NODES[node].to_owned(),
            address: if host_network { address(node, 200) } else { address(node, index) },
            host_network,
            ports: named
                .map(|(number, protocol)| NamedPort { name: "web".into(), protocol, number })
                .into_iter()
                .collect(),
        },
    )
}

fn labels() -> impl Strategy<Value = Labels> {
    option::of(select(vec!["a", "b"]))
        .prop_map(|value| value.map(|value| ("app".to_owned(), value.to_owned())).into_iter().collect())
}

fn selector() -> impl Strategy<Value = Selector> {
    let value = || select(vec!["a", "b"]).prop_map(|value| [value.to_owned()].into());
    let app = || "app".to_owned();
    let requirement = prop_oneof![
        value().prop_map(move |values| Requirement::In(app(), values)),
        value().prop_map(move |values| Requirement::NotIn(app(), values)),
        Just(Requirement::Exists(app())),
        Just(Requirement::DoesNotExist(app())),
    ];
    vec(requirement, 0..2).prop_map(|requirements| Selector { requirements })
}

fn policy() -> impl Strategy<Value = Policy> {
    let rules = || option::weighted(0.7, vec(rule(), 0..3));
    (select(&NAMESPACES[..]), selector(), rules(), rules()).prop_map(|(namespace, pods, ingress, egress)| {
        Policy { namespace: namespace.to_owned(), name: "policy".to_owned(), pods, ingress, egress }
    })
}

fn rule() -> impl Strategy<Value = Rule> {
    (vec(peer(), 0..3), vec(port(), 0..3)).prop_map(|(peers, ports)| Rule { peers, ports })
}

fn peer() -> impl Strategy<Value = Peer> {
    let scope = prop_oneof![Just(NamespaceScope::Own), selector().prop_map(NamespaceScope::Matching)];
    let ranges = || select(vec!["0.0.0.0/0", "10.1.0.0/16", "10.1.1.0/24", "10.1.2.0/30", "192.0.2.0/24"]);
    let range = |text: &str| text.parse::<Cidr>().unwrap();
    prop_oneof![
        2 => (scope, selector()).prop_map(|(namespaces, pods)| Peer::Pods { namespaces, pods }),
        1 => (option::weighted(0.9, ranges()), vec(ranges(), 0..3)).prop_map(move |(block, except)| Peer::Block {
            range: block.map(range),
            except: except.into_iter().map(range).collect(),
        }),
    ]
}

fn port() -> impl Strategy<Value = Port> {
    let target = prop_oneof![
        Just(PortTarget::Every),
        Just(PortTarget::Numbers(80, 80)),
        Just(PortTarget::Numbers(80, 443)),
        Just(PortTarget::Named("web".to_owned())),
    ];
    (protocol(), target).prop_map(|(protocol, target)| Port { protocol, target })
}

pub(crate) fn protocol() -> impl Strategy<Value = Protocol> {
    select(vec![Protocol::Tcp, Protocol::Udp])
}
