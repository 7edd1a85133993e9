//! What policies are compiled from: the part of a cluster that decides which
//! packets pass, in plain values.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::cidr::Cidr;
use super::selector::{Labels, Selector};

/// A cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct World {
    pub policies: Vec<Policy>,
    pub pods: Vec<Pod>,
    pub namespaces: BTreeMap<String, Labels>,
    pub nodes: Vec<Node>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    pub name: String,
    /// The interface towards the other nodes; every other one leads to a pod.
    pub uplink: String,
}

/// A pod that has an address and has not ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub labels: Labels,
    pub node: String,
    pub address: Ipv4Addr,
    /// Such a pod has its node's address: no policy governs it, no pod selector
    /// finds it, and it is reached by address range only.
    pub host_network: bool,
    pub ports: Vec<NamedPort>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedPort {
    pub name: String,
    pub protocol: Protocol,
    pub number: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    pub namespace: String,
    pub name: String,
    /// The pods of the namespace that the policy governs.
    pub pods: Selector,
    /// What may come in; `None` where the policy does not govern that direction.
    pub ingress: Option<Vec<Rule>>,
    /// What may go out; `None` where the policy does not govern that direction.
    pub egress: Option<Vec<Rule>>,
}

/// Traffic that is allowed: with any of the peers, on any of the ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Empty means everybody.
    pub peers: Vec<Peer>,
    /// Empty means every port of every protocol.
    pub ports: Vec<Port>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Peer {
    Pods {
        namespaces: NamespaceScope,
        pods: Selector,
    },
    /// `None` for a range this program does not enforce (IPv6): it holds nobody.
    Block {
        range: Option<Cidr>,
        except: Vec<Cidr>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamespaceScope {
    /// The namespace of the policy.
    Own,
    Matching(Selector),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub protocol: Protocol,
    pub target: PortTarget,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortTarget {
    Every,
    /// From the first to the last, both included.
    Numbers(u16, u16),
    /// The port that the receiving pod gives this name.
    Named(String),
}

/// Which way a rule looks, seen from the pod that it governs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Policy {
    /// The rules for a direction, where the policy governs it.
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }

    /// Whether the policy governs the pod in that direction.
    pub fn governs(&self, pod: &Pod, direction: Direction) -> bool {
        !pod.host_network
            && self.rules(direction).is_some()
            && self.namespace == pod.namespace
            && self.pods.matches(&pod.labels)
    }
}

impl Peer {
    /// Whether the peer, in a policy of namespace `own`, selects the pod by its labels.
    pub fn selects(&self, own: &str, pod: &Pod, world: &World) -> bool {
        let Self::Pods { namespaces, pods } = self else { return false };
        let in_scope = match namespaces {
            NamespaceScope::Own => pod.namespace == own,
            NamespaceScope::Matching(selector) => {
                world.namespaces.get(&pod.namespace).is_some_and(|labels| selector.matches(labels))
            }
        };
        !pod.host_network && in_scope && pods.matches(&pod.labels)
    }
}
