//! A WARN or an ERROR needs a person: whatever the suites before did to the
//! product, one that is not listed here fails the run.

use payplane_e2e::{env, kubectl};
use serde_json::Value;

/// What the faults that the suites inflict may make a pod say: words of the
/// message, and why that is right.
const LISTED: [(&str, &str); 4] = [
    ("leadership lost; this process ends", "a node without power, or a frozen leader, loses its Lease"),
    ("Connection could not be recycled", "a database that moved closed its sessions; the pool makes others"),
    ("a stored Channel cannot be read", "s02_unreadable stores one"),
    ("a stored PaymentTenant cannot be read", "s02_unreadable stores one"),
];

const LINES_MAX: &str = "--tail=20000";

#[test]
fn no_pod_asks_for_a_person() {
    if !env::cluster() {
        return;
    }
    let pods = kubectl::list(&["pods", "-A"]);
    let ours = pods.iter().filter(|pod| {
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        namespace.starts_with("ptn-") || ["payplane-system", "simnet", "merchants"].contains(&namespace)
    });
    let (mut read, mut unlisted) = (0, Vec::new());
    let killed: Vec<_> = pods.iter().filter(|pod| pod["status"].to_string().contains("OOMKilled")).collect();
    assert!(killed.is_empty(), "more memory than their limit: {killed:?}");
    for pod in ours.filter(|pod| pod["metadata"]["labels"]["cnpg.io/cluster"].is_null()) {
        let place = |field: &str| pod["metadata"][field].as_str().unwrap_or_default();
        let args = ["logs", "-n", place("namespace"), place("name"), "--all-containers", LINES_MAX];
        for previous in [&[][..], &["--previous"]] {
            // A container that never started, or started once, has no such log.
            let Ok(text) = kubectl::attempt(&[&args[..], previous].concat()) else { continue };
            read += text.lines().count();
            let said = text.lines().filter(|line| is_unlisted(line));
            unlisted.extend(said.map(|line| format!("{}/{}: {line}", place("namespace"), place("name"))));
        }
    }
    assert!(read > 0, "no pod of ours has logged anything");
    println!("figure: log_lines_read={read} lines");
    assert!(unlisted.is_empty(), "{} lines:\n{}", unlisted.len(), unlisted.join("\n"));
}

/// A panic is no JSON, and nobody lists it.
fn is_unlisted(line: &str) -> bool {
    let Ok(event) = serde_json::from_str::<Value>(line) else { return line.contains("panicked at") };
    let message = event["message"].as_str().unwrap_or_default();
    let grave = matches!(event["level"].as_str(), Some("WARN" | "ERROR"));
    grave && !LISTED.iter().any(|(words, _)| message.contains(words))
}

#[test]
fn an_unlisted_warning_and_a_panic_are_found() {
    assert!(is_unlisted(r#"{"level":"WARN","message":"something new"}"#));
    assert!(is_unlisted(r#"{"level":"ERROR","message":"left unfinished; the resolver keeps trying"}"#));
    assert!(is_unlisted("thread 'main' panicked at src/main.rs:1:1:"));
    assert!(!is_unlisted(r#"{"level":"WARN","message":"leadership lost; this process ends"}"#));
    assert!(!is_unlisted(r#"{"level":"INFO","message":"order created"}"#));
}
