//! Every name and address of a cluster, computed from its name and index alone.
//!
//! Nothing here asks the machine: a tool that was killed finds again what its
//! predecessor made, because it computes the same names.

/// How many clusters can run at once: their ranges must not meet.
pub const INDEX_MAX: u8 = 15;
/// A node's number is part of an address.
pub const NODES_MAX: u8 = 9;
/// Together with `-n9` a cluster's name is a host name and part of cgroup names.
const NAME_LENGTH_MAX: usize = 20;

/// The names and addresses of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub name: String,
    pub index: u8,
}

impl Plan {
    pub fn bridge(&self) -> String {
        format!("pplab{}", self.index)
    }

    /// The host's end of the wire to node `k`, or to the control plane (0).
    pub fn wire(&self, k: u8) -> String {
        format!("pplab{}n{k}", self.index)
    }

    /// Nodes, control plane and host share this network.
    pub fn node_range(&self) -> String {
        format!("10.77.{}.0/24", self.index)
    }

    pub fn host_ip(&self) -> String {
        format!("10.77.{}.254", self.index)
    }

    /// The address of node `k`, or of the control plane (0).
    pub fn ip(&self, k: u8) -> String {
        if k == 0 { format!("10.77.{}.1", self.index) } else { format!("10.77.{}.1{k}", self.index) }
    }

    pub fn api_server(&self) -> String {
        format!("https://{}:6443", self.ip(0))
    }

    pub fn pod_range(&self) -> String {
        format!("10.{}.0.0/16", 100 + self.index)
    }

    /// The pods of node `k`.
    pub fn node_pod_range(&self, k: u8) -> String {
        format!("10.{}.{k}.0/24", 100 + self.index)
    }

    pub fn service_range(&self) -> String {
        format!("10.{}.0.0/16", 120 + self.index)
    }

    /// The Service `kubernetes`.
    pub fn api_service_ip(&self) -> String {
        format!("10.{}.0.1", 120 + self.index)
    }

    pub fn dns_ip(&self) -> String {
        format!("10.{}.0.10", 120 + self.index)
    }

    pub fn node_name(&self, k: u8) -> String {
        format!("{}-n{k}", self.name)
    }

    /// Zones a, b, c, and a again.
    pub fn zone(k: u8) -> &'static str {
        ["zone-a", "zone-b", "zone-c"][usize::from(k.saturating_sub(1) % 3)]
    }

    /// The cgroup below which a kubelet makes its own.
    pub fn cgroup(&self, k: u8) -> String {
        format!("pplab-{}", self.node_name(k))
    }
}

/// Why a cluster cannot have this name, if it cannot.
pub fn name_fault(name: &str) -> Option<String> {
    let letters = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    let edges = !name.starts_with('-') && !name.ends_with('-') && !name.is_empty();
    if letters && edges && name.len() <= NAME_LENGTH_MAX {
        return None;
    }
    Some(format!("a cluster's name is 1 to {NAME_LENGTH_MAX} of a-z, 0-9 and inner dashes, not {name:?}"))
}

/// The number of the node that `node` names: `dev-n2`, `n2` or `2`.
pub fn node_number(plan: &Plan, node: &str) -> Option<u8> {
    let short = node.strip_prefix(&format!("{}-", plan.name)).unwrap_or(node);
    short.strip_prefix('n').unwrap_or(short).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_have_names_that_linux_accepts() {
        let plan = Plan { name: "a".repeat(NAME_LENGTH_MAX), index: INDEX_MAX };
        assert!(plan.wire(NODES_MAX).len() <= 15, "IFNAMSIZ");
        assert!(plan.node_name(NODES_MAX).len() <= 63, "a DNS label");
    }

    #[test]
    fn ranges_of_two_clusters_never_meet() {
        let plans: Vec<_> = (1..=INDEX_MAX).map(|index| Plan { name: "a".into(), index }).collect();
        let mut ranges: Vec<_> =
            plans.iter().flat_map(|p| [p.pod_range(), p.service_range(), p.node_range()]).collect();
        let count = ranges.len();
        ranges.sort();
        ranges.dedup();
        assert_eq!(ranges.len(), count);
    }

    #[test]
    fn a_node_answers_to_three_names() {
        let plan = Plan { name: "n1".into(), index: 1 };
        for name in ["n1-n2", "n2", "2"] {
            assert_eq!(node_number(&plan, name), Some(2), "{name}");
        }
        assert_eq!(node_number(&plan, "other"), None);
    }

    #[test]
    fn names_that_could_not_be_host_names_are_refused() {
        for name in ["", "-a", "a-", "A", "a.b", "a/b", "a".repeat(21).as_str()] {
            assert!(name_fault(name).is_some(), "{name}");
        }
        assert_eq!(name_fault("e2e-4"), None);
    }
}
