//! Planned changes under load: no request fails. The client waits 30 s for an
//! answer and sends nothing twice.

use std::process::Command;
use std::time::Duration;

use payplane_e2e::load::{Load, Options, Run};
use payplane_e2e::{audit, env, faults, helm, kubectl, lab, tenant, wait};

use crate::s04_faults::{production, whole};
use crate::s05_live_config::two_gateways;

const ROLLOUT_MAX: Duration = Duration::from_secs(240);

/// The record agrees with the books, and nobody was refused.
pub(crate) fn assert_nobody_noticed(run: &Run, what: &str) {
    run.print_gaps();
    println!("figure: longest_wait({what})={} ms", run.longest_wait().as_millis());
    println!("figure: failed({what})={} requests of {}", run.failures().len(), run.record.entries.len());
    let later = run.decided_later();
    println!("figure: decided_after_their_answer({what})={later} requests");
    if later + run.failures().len() > 0 {
        // The cluster is gone when somebody asks why.
        println!("{}", kubectl::ok(&["get", "events", "-A", "--sort-by=.metadata.creationTimestamp"]));
    }
    assert!(
        later * 100 <= run.record.entries.len(),
        "{what}: more than one in a hundred waited for a decision"
    );
    let failures = run.failures();
    assert!(
        failures.is_empty(),
        "{what}: {} failed: {:#?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    run.assert_booked();
}

fn restart(namespace: &str, deployment: &str) {
    let target = format!("deployment/{deployment}");
    let _ = kubectl::ok(&["rollout", "restart", &target, "-n", namespace]);
    let _ = kubectl::ok(&["rollout", "status", &target, "-n", namespace, "--timeout=180s"]);
}

#[test]
fn rolling_restarts_and_a_reinstalled_operator_fail_no_request() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let app = two_gateways("live");
    let load = Load::start(&app, "restarts", &Options::two_hundred(env::seed()));
    for deployment in ["gateway", "ledger"] {
        restart("ptn-live", deployment);
    }
    tenant::await_condition(&["ptn", "live"], "Ready", "True", ROLLOUT_MAX);
    assert_nobody_noticed(&load.stop(), "rolling restart at 200 payments/s");

    let load = Load::start(&app, "rolling", &Options::fifty(env::seed()));
    drain_components();
    settled();
    // The second build takes long to make: here the operator is another one by its pods alone.
    helm::upgrade(&["logLevel=info\\,kube=info"]);
    helm::rollback();
    settled();

    let values = helm::uninstall();
    assert!(faults::pods("payplane-system", "app.kubernetes.io/name=payplane-operator").is_empty());
    std::thread::sleep(Duration::from_secs(5));
    let log = std::env::var("LAB_AUDIT_LOG").expect("the lab names its audit log");
    let from = std::fs::metadata(&log).expect("the audit log is there").len();
    helm::install(&values);
    wait::until("a leader", Duration::from_secs(60), || {
        let lease =
            kubectl::get(&["lease", "payplane-operator", "-n", "payplane-system"]).ok_or("no lease")?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        let running = faults::pods("payplane-system", "app.kubernetes.io/name=payplane-operator");
        if running.iter().any(|pod| pod.ends_with(holder) && !holder.is_empty()) {
            Ok(())
        } else {
            Err(holder.to_owned())
        }
    });
    std::thread::sleep(Duration::from_secs(15));
    let written: Vec<_> = audit::read(&log, from)
        .0
        .into_iter()
        .filter(|r| r.user == audit::OPERATOR && r.writes() && !r.is_leadership())
        .collect();
    let run = load.stop();
    assert_nobody_noticed(&run, "drain, operator upgraded, rolled back, uninstalled and installed");
    assert!(written.is_empty(), "an operator that comes back has nothing to write: {written:#?}");
}

/// Nothing is left to be told of the tenant, nor of the large one beside it, whose
/// standbys may still come back from what was done to them before.
fn settled() {
    for target in [["ptn", "live"], ["ptn", "prod"]].iter().filter(|target| kubectl::get(*target).is_some()) {
        for (condition, status) in [("Ready", "True"), ("Progressing", "False"), ("Degraded", "False")] {
            tenant::await_condition(target, condition, status, ROLLOUT_MAX);
        }
    }
}

/// Drains one node of the tenant's gateways and ledgers: the short form of a whole
/// drain. Other tenants are left alone: nobody waits for them here.
fn drain_components() {
    let pods = faults::pods("ptn-live", "payplane.io/component=gateway");
    let node = faults::node_of(pods.first().expect("a gateway runs"));
    let which = "--pod-selector=payplane.io/tenant=live,payplane.io/component in (gateway, ledger)";
    let _ = kubectl::ok(&["drain", &node, which, "--delete-emptydir-data", "--timeout=120s"]);
    let _ = kubectl::ok(&["uncordon", &node]);
}

#[test]
#[ignore = "long form: make e2e-full"]
fn an_upgrade_drains_and_a_rollback_fail_no_request() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let cluster = env::lab_cluster().expect("checked");
    let tag = next_build(&cluster);
    // Two cores carry this tenant through drains, not the tenants of all suites before it beside it.
    tenant::leave_only(&["prod"]);
    let app = production("prod");
    let load = Load::start(&app, "upgrade", &Options::fifty(env::seed()));
    let before = version();

    let together = std::thread::spawn({
        let tag = tag.clone();
        move || serve_together(&tag)
    });
    helm::upgrade(&[&format!("image.tag={tag}")]);
    await_image(&tag);
    together.join().expect("old and new served together");
    assert_eq!(version(), 900, "one more migration was applied");
    assert!(config().contains("\"site\""), "one more config field was rendered");
    let _ = whole("prod");

    for number in 1..=3 {
        let node = format!("{cluster}-n{number}");
        println!("drain of {node}, at {}", jiff::Timestamp::now());
        let drain = ["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=240s"];
        let _ = kubectl::ok(&drain);
        let _ = kubectl::ok(&["uncordon", &node]);
        println!("figure: three_healthy_after_drain({node})={} s", whole("prod").as_secs());
    }

    helm::rollback();
    await_image(&std::env::var("PAYPLANE_TAG").unwrap_or_default());
    assert_eq!(version(), 900, "the newer schema (before: {before}) stays");
    assert!(!config().contains("\"site\""), "the older release renders its own config");
    let _ = whole("prod");
    let run = load.stop();
    assert_nobody_noticed(&run, "upgrade, drains, rollback");
}

/// Builds the release after this one and loads it; gives back its tag.
fn next_build(cluster: &str) -> String {
    let script = env::root().join("e2e/scripts/next.sh");
    let output = Command::new(script).output().expect("bash runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tag = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let target = std::env::var("CARGO_TARGET_DIR").expect("make sets it");
    for name in ["payplane", "payplane-operator"] {
        let _ = lab::run(&["cluster", "load", cluster, &format!("{target}/next/images/{name}.tar")]);
    }
    tag
}

/// Sees each service at a moment at which pods of both builds are ready.
fn serve_together(tag: &str) {
    let mut alone = vec!["ledger", "gateway"];
    wait::until("old and new pods that are ready together", ROLLOUT_MAX, || {
        alone.retain(|component| {
            let labels = format!("payplane.io/component={component}");
            let pods = kubectl::list(&["pods", "-n", "ptn-prod", "-l", &labels]);
            let ready = pods.iter().filter(|pod| pod["status"]["containerStatuses"][0]["ready"] == true);
            let (new, old): (Vec<_>, Vec<_>) = ready
                .filter_map(|pod| pod["spec"]["containers"][0]["image"].as_str())
                .partition(|image| image.ends_with(tag));
            new.is_empty() || old.is_empty()
        });
        if alone.is_empty() { Ok(()) } else { Err(format!("not seen of {alone:?}")) }
    });
}

/// Waits until both services of the tenant run an image and nothing else.
fn await_image(tag: &str) {
    assert!(!tag.is_empty(), "which image?");
    for component in ["ledger", "gateway"] {
        wait::until(&format!("{component} to run {tag}"), ROLLOUT_MAX, || {
            let labels = format!("payplane.io/component={component}");
            let pods = kubectl::list(&["pods", "-n", "ptn-prod", "-l", &labels]);
            let images: Vec<_> =
                pods.iter().filter_map(|pod| pod["spec"]["containers"][0]["image"].as_str()).collect();
            if images.iter().all(|image| image.ends_with(tag)) { Ok(()) } else { Err(format!("{images:?}")) }
        });
    }
    tenant::await_condition(&["ptn", "prod"], "Ready", "True", ROLLOUT_MAX);
}

fn version() -> i64 {
    let sql = "select coalesce(max(version), 0) from payplane.schema_history";
    payplane_e2e::books::sql("prod", sql).trim().parse().expect("a version")
}

fn config() -> String {
    use base64::Engine as _;
    let secret = kubectl::get(&["secret", "gateway-config", "-n", "ptn-prod"]).expect("the config is there");
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(secret["data"]["config.json"].as_str().unwrap_or_default())
        .expect("base64");
    String::from_utf8_lossy(&bytes).into_owned()
}
