//! Faults of everything around the ledger while many callers post: they live in the
//! network of a tenant's gateway pod, so they meet what a gateway meets, and each of
//! their connections goes through a proxy that can cut it, silence it, or lose answers.

mod caller;
mod callers;
mod compare;
mod counts;
mod fault;
mod plan;
pub mod proxy;
mod record;

pub use callers::{Callers, Place};
pub use compare::assert_agree;
pub use counts::Counts;
pub use fault::{Fault, Scene};
pub use record::Record;
