//! What every controller needs, and nothing about payments.

pub mod cluster;
pub mod condition;
pub mod finalizer;
pub mod health;
pub mod lease;
pub mod object;
pub mod queue;
pub mod reign;
pub mod seen;
pub mod watch;
