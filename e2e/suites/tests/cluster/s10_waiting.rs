//! Whoever waits for Ready, with kubectl or helm, is never told so too early:
//! what was awaited works at once.

use std::time::Duration;

use payplane_e2e::{books, env, helm, kubectl, tenant, wait};

use crate::s03_payments::register;

const NAME: &str = "waited";

/// Installs one part of the test chart, and waits as helm waits.
fn install(part: &str) -> Result<String, String> {
    let (release, set, name) = (format!("waited-{part}"), format!("part={part}"), format!("name={NAME}"));
    let chart = "e2e/upgrade/tenant";
    helm::attempt(&[
        "install",
        &release,
        chart,
        "-n",
        "default",
        "--set",
        &set,
        "--set",
        &name,
        "--wait",
        "--timeout",
        "5m",
    ])
}

#[test]
fn whoever_waits_for_ready_is_never_told_too_early() {
    if !env::cluster() {
        return;
    }
    tenant::destroy(NAME);
    for part in ["tenant", "channel"] {
        let _ = helm::attempt(&["uninstall", &format!("waited-{part}"), "-n", "default"]);
    }
    let namespace = format!("ptn-{NAME}");
    let tenant = std::thread::spawn(|| install("tenant"));
    // The namespace is the operator's; a Channel can be there a moment later.
    let channel = wait::until("the channel's release", Duration::from_secs(60), || {
        kubectl::get(&["namespace", &format!("ptn-{NAME}")]).ok_or("no namespace")?;
        tenant::credentials(NAME);
        Ok(std::thread::spawn(|| install("channel")))
    });
    let wait = |target: &'static str| {
        let namespace = namespace.clone();
        std::thread::spawn(move || {
            let target = [target, "-n", &namespace];
            kubectl::attempt(&[&["wait", "--for=condition=Ready", "--timeout=300s"][..], &target].concat())
        })
    };
    let by_kubectl = wait("ptn/waited");
    let said = tenant.join().expect("helm ran");
    assert!(said.is_ok(), "{said:?}");
    // What it says is so at once: money was moved, and the admin API answers.
    assert!(books::probes(NAME) > 0, "helm said that the tenant is there before it was tried");
    let app = register(NAME);
    assert_ready(&["ptn", NAME], "helm said that the tenant is there");
    let said = channel.join().expect("helm ran");
    assert!(said.is_ok(), "{said:?}");
    assert_ready(&["pch", "sim", "-n", &namespace], "helm said that the channel is there");
    let said = by_kubectl.join().expect("kubectl ran");
    assert!(said.is_ok(), "{said:?}");
    let paid = app.pay(&format!("waited-{}", env::seed()), 10_000, "CNY").expect("paid");
    assert_eq!(paid["feeMinor"], 60, "{paid}");

    for (number, basis_points) in [(1, 120), (2, 60)] {
        let mut object = tenant::channel(NAME, "sim", basis_points);
        let methods = object["spec"]["methods"][0].as_object_mut().expect("a method");
        for list in ["fees", "limits"] {
            methods[list].as_array_mut().expect("a list").truncate(1);
        }
        tenant::apply(&object);
        let said = wait("pch/sim").join().expect("kubectl ran");
        assert!(said.is_ok(), "{said:?}");
        let paid = app.pay(&format!("waited-{number}-{}", env::seed()), 10_000, "CNY").expect("paid");
        assert_eq!(paid["feeMinor"], basis_points, "kubectl wait came back before the edit was in force");
    }
    let edit = serde_json::json!({"spec": {"components": {"ledger": {"replicas": 2}}}});
    kubectl::patch(&["ptn", NAME], &edit).expect("patched");
    let said = wait("ptn/waited").join().expect("kubectl ran");
    assert!(said.is_ok(), "{said:?}");
    let ledger = kubectl::get(&["deployment", "ledger", "-n", &namespace]).expect("it is there");
    assert_eq!(ledger["status"]["availableReplicas"], 2, "kubectl wait came back before the pods were there");
    let _ = helm::attempt(&["uninstall", "waited-channel", "-n", "default", "--wait"]);
    tenant::destroy(NAME);
    let _ = helm::attempt(&["uninstall", "waited-tenant", "-n", "default"]);
}

/// Fails unless Ready is true of the present generation at this moment.
fn assert_ready(target: &[&str], what: &str) {
    let object = kubectl::get(target).expect("it is there");
    let ready = tenant::condition(&object, "Ready");
    assert!(ready.as_ref().is_some_and(|(status, _, _)| status == "True"), "{what}: {ready:?}");
}
