//! NetworkPolicies enforced with real packets.
//!
//! The way of a policy: [`read`] turns API objects into a [`world::World`],
//! [`compile`] turns the world into one [`ruleset::Ruleset`] for each node, and
//! [`daemon`] loads its text into the node's network namespace. The first two
//! know neither the API server nor the kernel.

pub mod cidr;
pub mod compile;
pub mod daemon;
pub mod gate;
pub mod plugin;
pub mod read;
pub mod ruleset;
pub mod selector;
pub mod state;
pub mod switch;
pub mod text;
pub mod world;

/// The nft table (family `inet`) that holds everything this module loads.
pub const TABLE: &str = "payplane_policy";
