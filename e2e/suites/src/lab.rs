//! The lab's verbs, for suites that break things.

use std::process::Command;

/// Runs the lab's tool, which must succeed.
///
/// # Panics
/// With what it said.
#[must_use]
pub fn run(args: &[&str]) -> String {
    let program = std::env::var("LAB").unwrap_or_else(|_| "lab".to_owned());
    let output = Command::new(program).args(args).output().expect("the lab's tool starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "lab {args:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
