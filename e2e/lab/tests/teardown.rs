//! Real clusters are made and removed here, and the machine is compared before
//! and after. The clusters have a state directory of their own, so a cluster
//! that somebody works with meanwhile is not touched.
//!
//! Needs root and a filled cache (`lab programs`), as `make test` arranges.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

const NAME: &str = "teardown";

fn lab(state: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(arguments).env("PAYPLANE_STATE", state);
    command
}

fn run(state: &Path, arguments: &[&str]) -> Output {
    let output = lab(state, arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "lab {arguments:?}: {text}");
    output
}

/// The machine's state without what other people's processes do to it meanwhile.
fn snapshot(state: &Path) -> BTreeSet<String> {
    let output = run(state, &["snapshot"]);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !is_noise(line, state)).map(str::to_owned).collect()
}

/// A test of this tool may run beside builds and beside other clusters: processes
/// count when they bear our cluster's name or folder, other kinds always, except
/// what bears the name of a cluster in another state directory.
fn is_noise(line: &str, state: &Path) -> bool {
    let ours = line.contains(NAME) || line.contains(&*state.to_string_lossy());
    let foreign = others().iter().any(|mark| line.contains(mark));
    if line.starts_with("process ") {
        let caller = line.contains("deps/teardown") || line.contains("cargo");
        return !ours || caller;
    }
    // Namespaces have numbers only; ours are seen by their mounts, wires and processes.
    line.starts_with("netns ") || (foreign && !ours)
}

/// Marks of the clusters in the usual state directory.
fn others() -> Vec<String> {
    let entries = std::fs::read_dir("/var/lib/payplane-lab").into_iter().flatten().flatten();
    let mut marks = vec!["/var/lib/payplane-lab".to_owned()];
    for entry in entries {
        let Ok(text) = std::fs::read_to_string(entry.path().join("cluster.json")) else { continue };
        let spec: serde_json::Value = serde_json::from_str(&text).unwrap();
        let index = spec["index"].as_u64().unwrap();
        marks.push(format!("pplab-{}-n", spec["name"].as_str().unwrap()));
        marks.push(format!("pplab{index}"));
        marks.extend([
            format!("10.77.{index}."),
            format!("10.{}.", 100 + index),
            format!("10.{}.", 120 + index),
        ]);
    }
    marks
}

fn assert_same(before: &BTreeSet<String>, state: &Path, when: &str) {
    let after = snapshot(state);
    let left: Vec<_> = after.difference(before).collect();
    let lost: Vec<_> = before.difference(&after).collect();
    assert!(left.is_empty() && lost.is_empty(), "{when}: left behind {left:#?}, lost {lost:#?}");
}

#[test]
fn a_cluster_leaves_the_machine_as_it_was() {
    let folder = tempfile::Builder::new().prefix("payplane-lab-").tempdir_in("/var/tmp").unwrap();
    let state = folder.path().join("state");
    let before = snapshot(&state);

    run(&state, &["cluster", "up", NAME, "--no-cnpg"]);
    let during = snapshot(&state);
    for kind in ["process", "cgroup", "mount", "link", "route", "file"] {
        let seen = during.difference(&before).any(|line| line.starts_with(kind));
        assert!(seen, "a cluster shows in the snapshot as a {kind}, else the comparison proves nothing");
    }
    let again = run(&state, &["cluster", "up", NAME, "--no-cnpg"]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("runs already"));
    // The power of a node fails, and comes back.
    run(&state, &["node", "kill", &format!("{NAME}-n1")]);
    run(&state, &["node", "start", &format!("{NAME}-n1")]);
    run(&state, &["cluster", "wait", NAME]);
    run(&state, &["cluster", "down", NAME]);
    assert_same(&before, &state, "after up and down");
    assert!(!state.exists(), "the state directory goes with the last cluster");

    // Killed early, in the middle and late, it leaves different halves.
    for milliseconds in [40, 300, 1_500, 6_000] {
        killed(&state, &["cluster", "up", NAME, "--no-cnpg"], milliseconds);
        run(&state, &["cluster", "down", "--all"]);
        assert_same(&before, &state, &format!("up killed after {milliseconds} ms"));
    }
    for milliseconds in [100, 500] {
        run(&state, &["cluster", "up", NAME, "--no-cnpg"]);
        killed(&state, &["cluster", "down", NAME], milliseconds);
        run(&state, &["cluster", "down", "--all"]);
        assert_same(&before, &state, &format!("down killed after {milliseconds} ms"));
    }
}

/// Runs the tool, and kills it with SIGKILL after a while.
fn killed(state: &Path, arguments: &[&str], milliseconds: u64) {
    let mut tool = lab(state, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(milliseconds));
    tool.kill().unwrap();
    tool.wait().unwrap();
}
