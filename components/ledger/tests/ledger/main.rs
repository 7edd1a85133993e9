//! The ledger against a real, durable PostgreSQL.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test's helpers fail the test")]

mod accounting;
mod byhand;
mod changes;
mod checkpoints;
mod circles;
mod crash;
mod days;
mod departures;
mod due;
mod events;
mod find;
mod harness;
mod histories;
mod holds;
mod hostile;
mod model;
mod neighbours;
mod partitions;
mod passwords;
mod past;
mod plants;
mod positions;
mod posting;
mod rules;
#[cfg(feature = "plants")]
mod rust_plants;
mod sealed;
mod service;
mod settlements;
mod sql_plants;
mod states;
mod unknown;
