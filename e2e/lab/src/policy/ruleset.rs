//! What one node enforces, as a value. [`super::text`] writes it for nft.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::cidr::Cidr;
use super::world::{Direction, Protocol};

/// Everything that one node enforces, about its own pods only: what a pod of
/// another node may send or receive is decided on that node as well.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ruleset {
    pub uplink: String,
    /// The node's pods that this ruleset was compiled for.
    pub known: BTreeSet<Ipv4Addr>,
    pub sets: AddressSets,
    /// Where a port's name leads, pod by pod.
    pub named: BTreeMap<(Protocol, String), BTreeSet<(Ipv4Addr, u16)>>,
    /// One chain for each distinct set of policies, by its direction and number.
    pub chains: BTreeMap<ChainName, Vec<Allow>>,
    /// The chain of each pod that is governed; other pods have none.
    pub governed: BTreeMap<(Direction, Ipv4Addr), ChainName>,
}

pub type ChainName = (Direction, usize);

/// Allows what matches all three; a chain drops what none of its rules allows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allow {
    pub peer: PeerMatch,
    pub port: PortMatch,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerMatch {
    Any,
    Set(SetId),
    Block { range: Cidr, except: Vec<Cidr> },
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortMatch {
    Any,
    Protocol(Protocol),
    Numbers(Protocol, u16, u16),
    Named(Protocol, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetId(pub usize);

/// Address sets, each kept once however many selectors lead to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressSets(BTreeMap<BTreeSet<Ipv4Addr>, SetId>);

impl AddressSets {
    pub fn intern(&mut self, addresses: BTreeSet<Ipv4Addr>) -> SetId {
        let next = SetId(self.0.len());
        *self.0.entry(addresses).or_insert(next)
    }

    pub fn iter(&self) -> impl Iterator<Item = (SetId, &BTreeSet<Ipv4Addr>)> {
        self.0.iter().map(|(addresses, id)| (*id, addresses))
    }

    pub fn contains(&self, id: SetId, address: Ipv4Addr) -> bool {
        self.iter().any(|(other, addresses)| other == id && addresses.contains(&address))
    }
}
