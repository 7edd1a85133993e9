//! The suites that need a cluster. They run one after another, in the order of
//! their names: they share it.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "what a suite relies on and does not find fails the suite; it tells figures"
)]

mod s00_database_operator;
mod s02_calendar;
mod s02_fields;
mod s02_flows;
mod s02_leaving;
mod s02_paused;
mod s02_production;
mod s02_production_chaos;
mod s02_risk;
mod s02_terms;
mod s02_unreadable;
mod s03_isolation;
mod s03_logins;
mod s03_networks;
mod s03_notified;
mod s03_payments;
mod s03_payouts;
mod s03_sealed;
mod s03_team;
mod s04_available;
mod s04_crash_at_write;
mod s04_faults;
mod s04_leader;
mod s04_power;
mod s05_live_config;
mod s06_authority;
mod s06_children;
mod s06_quiet;
mod s07_external;
mod s07_manifests;
mod s07_updates;
mod s08_rights;
mod s08_sweep;
mod s09_books;
mod s09_destroy;
mod s09_guards;
mod s10_rotation;
mod s10_upgrade;
mod s10_waiting;
mod s99_audit;
mod s99_logs;
