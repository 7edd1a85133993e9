//! Compiled rulesets against the reference, on every packet of random worlds.

use payplane_lab::policy::compile::compile;
use payplane_lab::policy::world::{Protocol, World};
use proptest::prelude::*;

use super::nft_sense::passes;
use super::reference::{Packet, allows};
use super::worlds::{OUTSIDE, PORTS, world};

/// Every connection between two pods, and between a pod and the outside.
pub(crate) fn packets(world: &World) -> Vec<Packet> {
    let mut places: Vec<_> = world.pods.iter().filter(|p| !p.host_network).map(|pod| pod.address).collect();
    places.push(OUTSIDE);
    let mut packets = Vec::new();
    for from in &places {
        for to in &places {
            for protocol in [Protocol::Tcp, Protocol::Udp] {
                packets.extend(PORTS.map(|port| Packet { from: *from, to: *to, protocol, port }));
            }
        }
    }
    packets
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn rulesets_say_what_kubernetes_says(world in world(2, 3, true)) {
        let rulesets = compile(&world);
        for packet in packets(&world) {
            prop_assert_eq!(passes(&world, &rulesets, packet), allows(&world, packet), "{:?}", packet);
        }
    }

    #[test]
    fn a_pod_that_was_not_compiled_reaches_nobody(world in world(2, 3, false), newest in 0..6usize) {
        let mut before = world.clone();
        let new = before.pods.remove(newest).address;
        let rulesets = compile(&before);
        for packet in packets(&world) {
            if packet.from == new || packet.to == new {
                prop_assert!(!passes(&world, &rulesets, packet), "{:?}", packet);
            }
        }
    }
}
