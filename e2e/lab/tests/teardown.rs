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
        let Some((spec, index)) = spec(&entry.path()) else { continue };
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

/// What a cluster was asked to be, and its number.
fn spec(folder: &Path) -> Option<(serde_json::Value, u8)> {
    let text = std::fs::read_to_string(folder.join("cluster.json")).ok()?;
    let spec: serde_json::Value = serde_json::from_str(&text).unwrap();
    let index = u8::try_from(spec["index"].as_u64().unwrap()).unwrap();
    Some((spec, index))
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

    run(&state, &["cluster", "up", NAME, "--nodes", "2", "--no-cnpg"]);
    let during = snapshot(&state);
    for kind in ["process", "cgroup", "mount", "link", "route", "file"] {
        let seen = during.difference(&before).any(|line| line.starts_with(kind));
        assert!(seen, "a cluster shows in the snapshot as a {kind}, else the comparison proves nothing");
    }
    let again = run(&state, &["cluster", "up", NAME, "--nodes", "2", "--no-cnpg"]);
    assert!(String::from_utf8_lossy(&again.stdout).contains("runs already"));
    a_cut_link_carries_nothing(&state);
    // The power of one node fails, another is shut down in order; both come back.
    for (verb, node) in [("kill", "n1"), ("stop", "n2")] {
        let node = format!("{NAME}-{node}");
        run(&state, &["node", verb, &node]);
        let twice = lab(&state, &["node", verb, &node]).output().unwrap();
        let said = String::from_utf8_lossy(&twice.stderr).into_owned();
        assert!(!twice.status.success() && said.contains("does not run"), "{verb} {node} again: {said}");
        run(&state, &["node", "start", &node]);
    }
    run(&state, &["cluster", "wait", NAME]);
    // A second cluster has ranges of its own, and outlives the first.
    let second = format!("{NAME}2");
    run(&state, &["cluster", "up", &second, "--no-cnpg"]);
    run(&state, &["cluster", "down", NAME]);
    run(&state, &["cluster", "wait", &second]);
    run(&state, &["cluster", "down", &second]);
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

/// From one node to the other's kubelet, and back when it is healed.
fn a_cut_link_carries_nothing(state: &Path) {
    let (near, far) = (format!("{NAME}-n1"), format!("{NAME}-n2"));
    assert!(reaches(state), "{near} reaches {far}");
    for from in [&["--from", &far][..], &[]] {
        run(state, &[&["link", "cut", &near], from].concat());
        assert!(!reaches(state), "cut {from:?}");
        run(state, &["link", "heal", &near]);
        assert!(reaches(state), "healed {from:?}");
    }
}

/// Does a connection from the first node to the kubelet of the second come about?
fn reaches(state: &Path) -> bool {
    let folder = state.join(NAME);
    let (_, index) = spec(&folder).unwrap();
    let far = payplane_lab::plan::Plan { name: NAME.to_owned(), index }.ip(2);
    let connect = format!("exec 3<>/dev/tcp/{far}/10250");
    let net = format!("--net={}", folder.join("ns/n1").display());
    let done = Command::new("nsenter").args([&net, "timeout", "2", "bash", "-c", &connect]).output();
    done.unwrap().status.success()
}

/// Runs the tool, and kills it with SIGKILL after a while.
fn killed(state: &Path, arguments: &[&str], milliseconds: u64) {
    let mut tool = lab(state, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(Duration::from_millis(milliseconds));
    tool.kill().unwrap();
    tool.wait().unwrap();
}
