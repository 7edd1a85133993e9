//! Writes a ruleset for `nft -f -`.
//!
//! The table has one base chain, on the forward hook: a pod's packets to and
//! from anyone but its own node are routed, also between two pods of one node.
//! A pod's own node uses the input and output hooks, where this table has no
//! chain, because Kubernetes always allows that traffic.
//!
//! kube-proxy translates Service addresses on the prerouting and output hooks
//! (priority -100) and masquerades on postrouting (100). So the forward hook
//! sees the address of the pod behind a Service, and the sender's own address.
//! kube-proxy's filter chains (priority 0) and this one both have to let a
//! packet pass; their order does not matter.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Write};

use super::TABLE;
use super::ruleset::{Allow, ChainName, PeerMatch, PortMatch, Ruleset, SetId};
use super::world::{Direction, Protocol};

impl Ruleset {
    /// The whole ruleset as one transaction that replaces the one before.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        writeln!(out, "add table inet {TABLE}\ndelete table inet {TABLE}\ntable inet {TABLE} {{")?;
        write_set(&mut out, "known", "ipv4_addr", &strings(&self.known))?;
        let itself = self.known.iter().map(|pod| format!("{pod} . {pod}")).collect();
        write_set(&mut out, "itself", "ipv4_addr . ipv4_addr", &itself)?;
        for (id, addresses) in self.sets.iter() {
            write_set(&mut out, &set_name(id), "ipv4_addr", &strings(addresses))?;
        }
        for ((protocol, name), pods) in &self.named {
            let elements = pods.iter().map(|(pod, port)| format!("{pod} . {port}")).collect();
            write_set(&mut out, &port_set_name(*protocol, name), "ipv4_addr . inet_service", &elements)?;
        }
        for (name, rules) in &self.chains {
            write_chain(&mut out, *name, rules)?;
        }
        for direction in [Direction::Egress, Direction::Ingress] {
            self.write_verdicts(&mut out, direction)?;
        }
        write_forward(&mut out, &self.uplink)?;
        out.push_str("}\n");
        Ok(out)
    }

    fn write_verdicts(&self, out: &mut String, direction: Direction) -> fmt::Result {
        let of_direction = self.governed.iter().filter(|((other, _), _)| *other == direction);
        let elements = of_direction.map(|((_, pod), chain)| format!("{pod} : jump {}", chain_name(*chain)));
        write_elements(out, "map", word(direction), "ipv4_addr : verdict", &elements.collect())
    }
}

/// What every forwarded packet meets. A pod's packets come from or go to an
/// interface that is not the uplink.
fn write_forward(out: &mut String, uplink: &str) -> fmt::Result {
    writeln!(
        out,
        r#"	chain forward {{
		type filter hook forward priority 10; policy accept;
		ct state established,related accept
		# Pods have no IPv6 addresses, so nothing here judges IPv6.
		meta nfproto ipv6 drop
		# The sender's address is that of the interface that the packet came from.
		fib saddr . iif oif missing drop
		# A pod that this ruleset was not compiled for reaches nobody, and nobody reaches it.
		iifname != "{uplink}" ip saddr != @known drop
		oifname != "{uplink}" ip daddr != @known drop
		# A pod reaches itself through a Service.
		ip saddr . ip daddr @itself accept
		ip saddr vmap @egress
		ip daddr vmap @ingress
	}}"#
    )
}

/// A rule that allows returns, so that the other direction is judged as well.
fn write_chain(out: &mut String, name: ChainName, rules: &[Allow]) -> fmt::Result {
    writeln!(out, "\tchain {} {{", chain_name(name))?;
    for rule in rules {
        out.push_str("\t\t");
        write_peer(out, name.0, &rule.peer)?;
        write_port(out, &rule.port)?;
        out.push_str("return\n");
    }
    out.push_str("\t\tdrop\n\t}\n");
    Ok(())
}

fn write_peer(out: &mut String, direction: Direction, peer: &PeerMatch) -> fmt::Result {
    let side = match direction {
        Direction::Ingress => "saddr",
        Direction::Egress => "daddr",
    };
    match peer {
        PeerMatch::Any => Ok(()),
        PeerMatch::Set(id) => write!(out, "ip {side} @{} ", set_name(*id)),
        PeerMatch::Block { range, except } => {
            if !range.is_everything() {
                write!(out, "ip {side} {range} ")?;
            }
            // One match each: the ranges may overlap, which an anonymous set refuses.
            except.iter().try_for_each(|range| write!(out, "ip {side} != {range} "))
        }
    }
}

fn write_port(out: &mut String, port: &PortMatch) -> fmt::Result {
    match port {
        PortMatch::Any => Ok(()),
        PortMatch::Protocol(protocol) => write!(out, "meta l4proto {} ", protocol_word(*protocol)),
        PortMatch::Numbers(protocol, first, last) if first == last => {
            write!(out, "{} dport {first} ", protocol_word(*protocol))
        }
        PortMatch::Numbers(protocol, first, last) => {
            write!(out, "{} dport {first}-{last} ", protocol_word(*protocol))
        }
        PortMatch::Named(protocol, name) => {
            let set = port_set_name(*protocol, name);
            write!(out, "ip daddr . {} dport @{set} ", protocol_word(*protocol))
        }
    }
}

fn write_set(out: &mut String, name: &str, kind: &str, elements: &BTreeSet<String>) -> fmt::Result {
    write_elements(out, "set", name, kind, elements)
}

fn write_elements(
    out: &mut String,
    what: &str,
    name: &str,
    kind: &str,
    elements: &BTreeSet<String>,
) -> fmt::Result {
    writeln!(out, "\t{what} {name} {{\n\t\ttype {kind}")?;
    if !elements.is_empty() {
        let elements: Vec<&str> = elements.iter().map(String::as_str).collect();
        writeln!(out, "\t\telements = {{ {} }}", elements.join(", "))?;
    }
    writeln!(out, "\t}}")
}

fn strings<T: Display>(values: &BTreeSet<T>) -> BTreeSet<String> {
    values.iter().map(ToString::to_string).collect()
}

fn set_name(id: SetId) -> String {
    format!("peers_{}", id.0)
}

fn chain_name((direction, number): ChainName) -> String {
    format!("{}_{number}", word(direction))
}

/// Port names hold `-`, which a set's name may hold as well, but must not begin with a digit.
fn port_set_name(protocol: Protocol, name: &str) -> String {
    format!("{}_port_{name}", protocol_word(protocol))
}

fn word(direction: Direction) -> &'static str {
    match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    }
}

fn protocol_word(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
        Protocol::Sctp => "sctp",
    }
}
