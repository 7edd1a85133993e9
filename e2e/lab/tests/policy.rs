//! NetworkPolicies: what is compiled against what Kubernetes says, first in
//! thought (every packet of random small worlds), then with real packets.

#![expect(clippy::expect_used, clippy::panic, clippy::unwrap_used, reason = "a test's helpers fail the test")]

#[path = "policy/literal.rs"]
mod literal;
#[path = "policy/nft_sense.rs"]
mod nft_sense;
#[path = "policy/packets.rs"]
mod packets;
#[path = "policy/property.rs"]
mod property;
#[path = "policy/reference.rs"]
mod reference;
#[path = "policy/stage.rs"]
mod stage;
#[path = "policy/worlds.rs"]
mod worlds;
