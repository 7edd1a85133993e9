//! What every component needs to run: telemetry, shutdown, live config, TLS that
//! follows its files, health and a database pool. It knows no payments.

pub mod config;
pub mod database;
pub mod health;
pub mod serve;
pub mod shutdown;
pub mod telemetry;
pub mod tls;
pub mod trace;
