//! What the end-to-end suites share. They know a kubeconfig, an image prefix and
//! an image-load command, so they run on any cluster; suites that break nodes
//! and links also need the lab (`docs/lab.md`).

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what a suite relies on and does not find fails the suite, with what was found"
)]

pub mod apiserver;
pub mod audit;
pub mod bank;
pub mod books;
pub mod chaos;
pub mod charts;
pub mod env;
pub mod faults;
pub mod helm;
pub mod intruder;
pub mod killer;
pub mod kubectl;
pub mod lab;
pub mod load;
pub mod manifests;
pub mod merchant;
pub mod metrics;
pub mod outside;
pub mod receiver;
pub mod rights;
pub mod snapshot;
pub mod tenant;
pub mod wait;

pub use payplane_testkit::random;
