//! Reads API objects into plain values.
//!
//! What cannot be read must never allow more: a peer that is not understood
//! selects nobody, a port that is not understood is left out of its rule, and a
//! rule that would lose all its ports that way is left out whole.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1 as core;
use k8s_openapi::api::networking::v1 as networking;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::selector::{Requirement, Selector};
use super::world::{NamedPort, NamespaceScope, Peer, Pod, Policy, Port, PortTarget, Protocol, Rule};

/// A pod with an address that has not ended. `address` is what the pod's node
/// said when it made the pod's network, which is earlier than the pod's status.
pub fn read_pod(pod: &core::Pod, address: Option<Ipv4Addr>) -> Option<Pod> {
    let spec = pod.spec.as_ref()?;
    let status = pod.status.as_ref();
    let ended = matches!(status.and_then(|s| s.phase.as_deref()), Some("Succeeded" | "Failed"));
    if ended {
        return None;
    }
    let published = status.and_then(|s| s.pod_ip.as_deref()).and_then(|ip| ip.parse().ok());
    Some(Pod {
        namespace: pod.metadata.namespace.clone()?,
        name: pod.metadata.name.clone()?,
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        node: spec.node_name.clone()?,
        address: address.or(published)?,
        host_network: spec.host_network.unwrap_or(false),
        ports: read_named_ports(spec),
    })
}

/// The first container that uses a name decides, as in Kubernetes. Init
/// containers count, because those that restart run beside the others.
fn read_named_ports(spec: &core::PodSpec) -> Vec<NamedPort> {
    let mut ports: Vec<NamedPort> = Vec::new();
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        for port in container.ports.iter().flatten() {
            let (Some(name), Some(protocol), Ok(number)) =
                (&port.name, read_protocol(port.protocol.as_deref()), u16::try_from(port.container_port))
            else {
                continue;
            };
            if !ports.iter().any(|known| known.name == *name && known.protocol == protocol) {
                ports.push(NamedPort { name: name.clone(), protocol, number });
            }
        }
    }
    ports
}

/// A policy; `None` for an object without a name, which no API server sends.
pub fn read_policy(policy: &networking::NetworkPolicy) -> Option<Policy> {
    let spec = policy.spec.as_ref()?;
    let types = spec.policy_types.clone().unwrap_or_default();
    let named = |direction: &str| types.iter().any(|t| t == direction);
    let ingress = spec.ingress.iter().flatten().filter_map(|r| read_rule(r.from.as_ref(), r.ports.as_ref()));
    let egress = spec.egress.iter().flatten().filter_map(|r| read_rule(r.to.as_ref(), r.ports.as_ref()));
    Some(Policy {
        namespace: policy.metadata.namespace.clone()?,
        name: policy.metadata.name.clone()?,
        pods: read_selector(spec.pod_selector.as_ref()),
        // The API server fills policyTypes in; these are its rules where it did not.
        ingress: (types.is_empty() || named("Ingress")).then(|| ingress.collect()),
        egress: (named("Egress") || (types.is_empty() && spec.egress.is_some())).then(|| egress.collect()),
    })
}

fn read_rule(
    peers: Option<&Vec<networking::NetworkPolicyPeer>>,
    ports: Option<&Vec<networking::NetworkPolicyPort>>,
) -> Option<Rule> {
    let listed = ports.map(Vec::as_slice).unwrap_or_default();
    let ports: Vec<Port> = listed.iter().filter_map(read_port).collect();
    if ports.is_empty() && !listed.is_empty() {
        return None;
    }
    Some(Rule { peers: peers.into_iter().flatten().map(read_peer).collect(), ports })
}

fn read_peer(peer: &networking::NetworkPolicyPeer) -> Peer {
    if let Some(block) = &peer.ip_block {
        let except: Vec<_> = block.except.iter().flatten().collect();
        let readable: Vec<_> = except.iter().filter_map(|text| text.parse().ok()).collect();
        let whole = readable.len() == except.len();
        return Peer::Block { range: block.cidr.parse().ok().filter(|_| whole), except: readable };
    }
    let namespaces = match &peer.namespace_selector {
        None => NamespaceScope::Own,
        Some(selector) => NamespaceScope::Matching(read_selector(Some(selector))),
    };
    let nothing_said = peer.namespace_selector.is_none() && peer.pod_selector.is_none();
    let pods = if nothing_said {
        Selector { requirements: vec![Requirement::Unreadable] }
    } else {
        read_selector(peer.pod_selector.as_ref())
    };
    Peer::Pods { namespaces, pods }
}

fn read_port(port: &networking::NetworkPolicyPort) -> Option<Port> {
    let protocol = read_protocol(port.protocol.as_deref())?;
    let target = match &port.port {
        None => PortTarget::Every,
        Some(IntOrString::String(name)) => PortTarget::Named(name.clone()),
        Some(IntOrString::Int(first)) => {
            let last = port.end_port.unwrap_or(*first);
            PortTarget::Numbers(u16::try_from(*first).ok()?, u16::try_from(last).ok()?)
        }
    };
    Some(Port { protocol, target })
}

fn read_protocol(protocol: Option<&str>) -> Option<Protocol> {
    match protocol {
        None | Some("TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some("SCTP") => Some(Protocol::Sctp),
        Some(_) => None,
    }
}

/// A missing selector and an empty one both select all.
fn read_selector(selector: Option<&LabelSelector>) -> Selector {
    let Some(selector) = selector else { return Selector::default() };
    let labels: BTreeMap<String, String> = selector.match_labels.clone().unwrap_or_default();
    let equal = labels.into_iter().map(|(key, value)| Requirement::In(key, [value].into()));
    let listed = selector.match_expressions.iter().flatten().map(read_requirement);
    Selector { requirements: equal.chain(listed).collect() }
}

fn read_requirement(requirement: &LabelSelectorRequirement) -> Requirement {
    let key = requirement.key.clone();
    let values = requirement.values.iter().flatten().cloned().collect();
    match requirement.operator.as_str() {
        "In" => Requirement::In(key, values),
        "NotIn" => Requirement::NotIn(key, values),
        "Exists" => Requirement::Exists(key),
        "DoesNotExist" => Requirement::DoesNotExist(key),
        _ => Requirement::Unreadable,
    }
}
