//! Real Kubernetes clusters on one machine, made and broken on demand.
//!
//! [`plan`] computes names and addresses, [`cluster`] brings clusters up and
//! down, [`node`] is one node, [`programs`] and [`images`] make what they run,
//! [`policy`] enforces NetworkPolicies, [`link`] cuts nodes off.

pub mod addons;
pub mod cgroup;
pub mod cluster;
pub mod controlplane;
pub mod debian;
pub mod dirs;
pub mod image;
pub mod images;
pub mod kubeapi;
pub mod kubeclient;
pub mod link;
pub mod lock;
pub mod machine;
pub mod net;
pub mod nft;
pub mod node;
pub mod paths;
pub mod pki;
pub mod plan;
pub mod pod;
pub mod policy;
pub mod process;
pub mod programs;
pub mod provisioner;
pub mod snapshot;
pub mod sys;
pub mod template;

/// The tool's own daemons, one of each for every cluster.
pub const DAEMONS: &[&str] = &["policy", "provisioner"];
