//! Cuts a node off from others, and heals the cut.
//!
//! A cut is a table of its own in the node's network namespace, one for each
//! peer, so cuts add up, doing one twice changes nothing, and what is cut can be
//! read from the kernel: no other record exists that could disagree with it.

use std::fmt::Write;

use crate::nft::{self, Error};
use crate::paths::NodeNet;

const PREFIX: &str = "payplane_link_";
const EVERYONE: &str = "payplane_link_all";

/// The far end of a cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Names the cut: a node's name, or `control-plane`.
    pub name: String,
    /// Every address range that the peer sends from: its own and its pods'.
    pub ranges: Vec<String>,
}

/// Drops every packet between `node` and `peer`, or all that would use the
/// node's uplink where no peer is named. Established connections stop as well.
pub async fn cut(node: &NodeNet, peer: Option<&Peer>) -> Result<(), Error> {
    nft::apply(&node.netns, &build_ruleset(node, peer)).await
}

/// Undoes the cut towards `peer`, or every cut of the node where no peer is named.
pub async fn heal(node: &NodeNet, peer: Option<&Peer>) -> Result<(), Error> {
    if peer.is_some() {
        return nft::delete_table(&node.netns, &table_of(peer)).await;
    }
    for table in nft::tables(&node.netns).await? {
        if table.starts_with(PREFIX) {
            nft::delete_table(&node.netns, &table).await?;
        }
    }
    Ok(())
}

/// The table that holds a cut. Node names may hold `-` and `.`, table names may not.
fn table_of(peer: Option<&Peer>) -> String {
    match peer {
        None => EVERYONE.to_owned(),
        Some(peer) => {
            let name = peer.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            format!("{PREFIX}to_{name}")
        }
    }
}

/// Packets are dropped before connection tracking sees them coming in, and after
/// address translation going out, when the address is that of the real far end.
fn build_ruleset(node: &NodeNet, peer: Option<&Peer>) -> String {
    let table = table_of(peer);
    let (incoming, outgoing) = match peer {
        None => (String::new(), String::new()),
        Some(peer) => {
            let ranges = peer.ranges.join(", ");
            (format!("ip saddr {{ {ranges} }} "), format!("ip daddr {{ {ranges} }} "))
        }
    };
    let uplink = &node.uplink;
    let mut text = format!("add table inet {table}\ndelete table inet {table}\ntable inet {table} {{\n");
    for (hook, priority, side, addresses) in
        [("prerouting", -450, "iifname", incoming), ("postrouting", 450, "oifname", outgoing)]
    {
        let _ = writeln!(text, "\tchain {hook} {{");
        let _ = writeln!(text, "\t\ttype filter hook {hook} priority {priority}; policy accept;");
        let _ = writeln!(text, "\t\t{side} \"{uplink}\" {addresses}drop");
        let _ = writeln!(text, "\t}}");
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> NodeNet {
        NodeNet { name: "a-n1".into(), netns: "pp-a-n1".into(), uplink: "eth0".into() }
    }

    #[test]
    fn a_cut_from_one_peer_names_its_ranges_on_both_sides() {
        let peer = Peer { name: "a-n2".into(), ranges: vec!["10.1.0.2".into(), "10.2.2.0/24".into()] };
        assert_eq!(
            build_ruleset(&node(), Some(&peer)),
            "add table inet payplane_link_to_a_n2\n\
             delete table inet payplane_link_to_a_n2\n\
             table inet payplane_link_to_a_n2 {\n\
             \tchain prerouting {\n\
             \t\ttype filter hook prerouting priority -450; policy accept;\n\
             \t\tiifname \"eth0\" ip saddr { 10.1.0.2, 10.2.2.0/24 } drop\n\
             \t}\n\
             \tchain postrouting {\n\
             \t\ttype filter hook postrouting priority 450; policy accept;\n\
             \t\toifname \"eth0\" ip daddr { 10.1.0.2, 10.2.2.0/24 } drop\n\
             \t}\n\
             }\n"
        );
    }

    #[test]
    fn a_cut_from_everyone_is_a_table_that_no_node_can_be_named_like() {
        let text = build_ruleset(&node(), None);
        assert!(text.contains("\t\tiifname \"eth0\" drop\n"), "{text}");
        let all = Peer { name: "all".into(), ranges: vec![] };
        assert_ne!(table_of(None), table_of(Some(&all)));
    }
}
