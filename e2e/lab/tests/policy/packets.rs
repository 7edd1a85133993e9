//! Rulesets in a real kernel, judged by real packets.

use std::net::Ipv4Addr;

use payplane_lab::policy::TABLE;
use payplane_lab::policy::compile::compile;
use payplane_lab::policy::selector::{Requirement, Selector};
use payplane_lab::policy::world::{
    NamespaceScope, Node, Peer, Pod, Policy, Port, PortTarget, Protocol, Rule, World,
};
use payplane_lab::{link, nft};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::property::packets;
use super::reference::{Packet, allows};
use super::stage::Stage;
use super::worlds::{OUTSIDE, world};

/// Each costs about a second.
const WORLDS: usize = 12;

fn tcp(from: Ipv4Addr, to: Ipv4Addr, port: u16) -> Packet {
    Packet { from, to, protocol: Protocol::Tcp, port }
}

async fn load(stage: &Stage, world: &World) {
    let text = compile(world)["n1"].text().unwrap();
    nft::apply(&stage.node().netns, &text).await.unwrap_or_else(|error| panic!("{error}\n{text}"));
}

/// Three pods of one namespace; the first, labelled app=db, takes only port
/// 5432, and only from app=web, which is the second.
fn database_world(stage: &Stage) -> World {
    let app = |value: &str| Selector {
        requirements: vec![Requirement::In("app".to_owned(), [value.to_owned()].into())],
    };
    let pod = |(address, label): (&Ipv4Addr, &str)| Pod {
        namespace: "red".into(),
        name: label.into(),
        labels: [("app".to_owned(), label.to_owned())].into(),
        node: "n1".into(),
        address: *address,
        host_network: false,
        ports: vec![],
    };
    let rule = Rule {
        peers: vec![Peer::Pods { namespaces: NamespaceScope::Own, pods: app("web") }],
        ports: vec![Port { protocol: Protocol::Tcp, target: PortTarget::Numbers(5432, 5432) }],
    };
    World {
        policies: vec![Policy {
            namespace: "red".into(),
            name: "db".into(),
            pods: app("db"),
            ingress: Some(vec![rule]),
            egress: None,
        }],
        pods: stage.pods().iter().zip(["db", "web", "other"]).map(pod).collect(),
        namespaces: [("red".to_owned(), Default::default())].into(),
        nodes: vec![Node { name: "n1".into(), uplink: "eth0".into() }],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_packet_is_dropped_and_without_the_table_it_arrives() {
    let stage = Stage::new(3);
    let [db, web, other] = stage.pods() else { panic!("three pods") };
    load(&stage, &database_world(&stage)).await;
    let probes =
        [tcp(*web, *db, 5432), tcp(*web, *db, 5433), tcp(*other, *db, 5432), tcp(OUTSIDE, *db, 5432)];
    assert_eq!(stage.arrive(&probes), [true, false, false, false]);
    assert!(stage.arrives(tcp(*db, *other, 80)), "what the policy does not govern passes");
    nft::delete_table(&stage.node().netns, TABLE).await.unwrap();
    assert_eq!(stage.arrive(&probes), [true; 4], "with the enforcer off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_was_not_compiled_reaches_nobody() {
    let stage = Stage::new(3);
    let [db, web, other] = stage.pods() else { panic!("three pods") };
    let mut before = database_world(&stage);
    before.policies.clear();
    before.pods.retain(|pod| pod.address != *other);
    load(&stage, &before).await;
    let probes = [tcp(*other, *web, 80), tcp(*web, *other, 80), tcp(OUTSIDE, *other, 80), tcp(*web, *db, 80)];
    assert_eq!(stage.arrive(&probes), [false, false, false, true]);
}

/// kube-proxy's way: an address is exchanged before the packet is forwarded.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_service_the_pods_own_addresses_are_judged() {
    let stage = Stage::new(3);
    let [db, web, other] = stage.pods() else { panic!("three pods") };
    let service = Ipv4Addr::new(10, 96, 0, 9);
    let proxy = format!(
        "table ip proxy {{\n\
         chain before {{\n type nat hook prerouting priority dstnat\n ip daddr {service} tcp dport 80 dnat to {db}:5432\n }}\n\
         chain after {{\n type nat hook postrouting priority srcnat\n ip saddr {db} ip daddr {db} masquerade\n }}\n\
         }}\n"
    );
    nft::apply(&stage.node().netns, &proxy).await.unwrap();
    load(&stage, &database_world(&stage)).await;
    let probes = [tcp(*web, service, 80), tcp(*other, service, 80), tcp(*db, service, 80)];
    assert_eq!(stage.arrive(&probes), [true, false, true], "web, other, and the database itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_drops_both_ways_and_heals() {
    let stage = Stage::new(1);
    let (node, pod) = (stage.node(), stage.pods()[0]);
    let outside = link::Peer { name: "a-n2".into(), ranges: vec![format!("{OUTSIDE}/32")] };
    let stranger = link::Peer { name: "a-n3".into(), ranges: vec!["198.51.100.0/24".into()] };
    let probes = [tcp(pod, OUTSIDE, 80), tcp(OUTSIDE, pod, 80)];
    for (peer, passes) in [(Some(&stranger), true), (Some(&outside), false), (None, false)] {
        for _ in 0..2 {
            link::cut(&node, peer).await.unwrap();
        }
        assert_eq!(stage.arrive(&probes), [passes; 2], "cut from {peer:?}");
        link::heal(&node, peer).await.unwrap();
        assert_eq!(stage.arrive(&probes), [true; 2], "healed from {peer:?}");
    }
    link::cut(&node, Some(&outside)).await.unwrap();
    for _ in 0..2 {
        link::heal(&node, None).await.unwrap();
    }
    assert_eq!(stage.arrive(&probes), [true; 2], "healed from all");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_agrees_with_the_reference_on_random_worlds() {
    let stage = Stage::new(3);
    let mut runner = TestRunner::default();
    for _ in 0..WORLDS {
        let world = world(1, 3, false).new_tree(&mut runner).unwrap().current();
        load(&stage, &world).await;
        // A pod's packet to itself never leaves the pod, and the outside is no pod.
        let mut packets = packets(&world);
        packets.retain(|packet| packet.from != packet.to);
        let arrived = stage.arrive(&packets);
        for (packet, arrived) in packets.into_iter().zip(arrived) {
            assert_eq!(arrived, allows(&world, packet), "{packet:?} in {world:#?}");
        }
    }
}
