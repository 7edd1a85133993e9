//! What the components and their clients share: wire messages, config structs,
//! ids and money. It knows neither Kubernetes nor SQL.

pub mod accounting;
pub mod config;
pub mod control;
pub mod currency;
pub mod error;
pub mod id;
pub mod money;
pub mod names;
pub mod settlement;

/// Generated wire messages and services.
#[allow(clippy::all, clippy::pedantic, unreachable_pub, missing_docs)]
pub mod ledger {
    pub mod v1 {
        tonic::include_proto!("payplane.ledger.v1");
    }
}
