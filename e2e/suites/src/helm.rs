//! helm, and the operator's release, as a platform team handles it.

use std::process::Command;

use crate::env;

const RELEASE: [&str; 3] = ["payplane", "--namespace", "payplane-system"];

/// Runs helm in the repository; a failure is what it said.
pub fn attempt(args: &[&str]) -> Result<String, String> {
    let program = std::env::var("HELM").unwrap_or_else(|_| "helm".to_owned());
    let output = Command::new(program).args(args).current_dir(env::root()).output().expect("helm starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Runs helm, which must succeed.
///
/// # Panics
/// With what helm said.
pub fn ok(args: &[&str]) -> String {
    attempt(args).unwrap_or_else(|error| panic!("helm {args:?}: {error}"))
}

/// Upgrades the operator, keeping the values that it has.
pub fn upgrade(values: &[&str]) {
    let sets = values.iter().flat_map(|value| ["--set", value]);
    let fixed = ["upgrade", RELEASE[0], "charts/payplane-operator", RELEASE[1], RELEASE[2]];
    let waits = ["--reuse-values", "--wait", "--timeout", "3m"];
    let _ = ok(&fixed.into_iter().chain(waits).chain(sets).collect::<Vec<_>>());
}

/// Goes back to the revision before.
pub fn rollback() {
    let _ = ok(&[&["rollback"][..], &RELEASE, &["--wait", "--timeout", "3m"]].concat());
}

/// Takes the operator away; gives back its values, to install it again.
#[must_use]
pub fn uninstall() -> String {
    let values = ok(&[&["get", "values"][..], &RELEASE, &["-o", "json"]].concat());
    let _ = ok(&[&["uninstall"][..], &RELEASE, &["--wait", "--timeout", "2m"]].concat());
    values
}

/// Installs the operator with values that it had.
pub fn install(values: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("values.json");
    std::fs::write(&file, values).expect("the values are written");
    let fixed = ["install", RELEASE[0], "charts/payplane-operator", RELEASE[1], RELEASE[2]];
    let file = file.to_string_lossy().into_owned();
    let _ = ok(&[&fixed[..], &["-f", &file, "--wait", "--timeout", "3m"]].concat());
}
