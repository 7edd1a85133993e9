//! Whoever waits for Ready, with kubectl or helm, is never told so too early:
//! what was awaited works at once.

use std::time::Duration;

use payplane_e2e::{books, env, helm, kubectl, tenant, wait};

use crate::s03_payments::register;

const NAME: &str = "waited";

/// Installs parts of the test chart as a release, and waits as helm waits.
fn install(release: &str, parts: &str) -> Result<String, String> {
    let (parts, name) = (format!("parts={{{parts}}}"), format!("name={NAME}"));
    let fixed = ["install", release, "e2e/upgrade/tenant", "-n", "default", "--wait", "--timeout", "5m"];
    helm::attempt(&[&fixed[..], &["--set", &parts, "--set", &name]].concat())
}

fn uninstall(release: &str) -> Result<String, String> {
    helm::attempt(&["uninstall", release, "-n", "default", "--wait", "--timeout", "3m"])
}

/// No tenant, no books and no release is left of an earlier run.
fn clean() {
    let kept = kubectl::get(&["namespace", "ptn-waited"]).is_some() && kubectl::get(&["ptn", NAME]).is_none();
    if kept {
        // Books are destroyed by a tenant alone.
        tenant::apply(&tenant::development(NAME));
        tenant::await_condition(&["ptn", NAME], "Ready", "True", Duration::from_secs(240));
    }
    tenant::destroy(NAME);
    for release in ["waited", "waited-tenant", "waited-channel"] {
        let _ = uninstall(release);
    }
}

#[test]
fn whoever_waits_for_ready_is_never_told_too_early() {
    if !env::cluster() {
        return;
    }
    clean();
    let namespace = format!("ptn-{NAME}");
    let tenant = std::thread::spawn(|| install("waited-tenant", "tenant"));
    let wait = |target: &'static str| {
        let namespace = namespace.clone();
        std::thread::spawn(move || {
            let target = [target, "-n", &namespace];
            let there = ["wait", "--for=create", "--timeout=60s"];
            let _ = kubectl::attempt(&[&there[..], &target].concat())?;
            kubectl::attempt(&[&["wait", "--for=condition=Ready", "--timeout=300s"][..], &target].concat())
        })
    };
    let by_kubectl = wait("ptn/waited");
    // The namespace is the operator's; a Channel can be there a moment later.
    let channel = wait::until("the channel's release", Duration::from_secs(60), || {
        kubectl::get(&["namespace", &format!("ptn-{NAME}")]).ok_or("no namespace")?;
        tenant::credentials(NAME);
        Ok(std::thread::spawn(|| install("waited-channel", "channel")))
    });
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
    let gone = uninstall("waited-channel");
    assert!(gone.is_ok(), "{gone:?}");
    clean();
}

/// One release of both, into a namespace that keeps books: helm says that they
/// are there when they are, and takes both away again.
#[test]
#[ignore = "long form: make e2e-full"]
fn one_release_of_tenant_and_channel_comes_and_goes_whole() {
    if !env::cluster() {
        return;
    }
    clean();
    // Books of the chart's own tenant, which is then deleted together with its channel.
    assert_eq!(install("waited-tenant", "tenant").map(drop), Ok(()));
    tenant::credentials(NAME);
    assert_eq!(install("waited-channel", "channel").map(drop), Ok(()));
    let channel = ["pch", "sim", "-n", "ptn-waited"];
    let _ = kubectl::ok(&["delete", "ptn/waited", "pch/sim", "-n", "ptn-waited", "--wait=false"]);
    for round in 0..2 {
        let gone = "both to go";
        wait::until(gone, Duration::from_secs(120), || {
            let left = [kubectl::get(&["ptn", NAME]), kubectl::get(&channel)];
            if left.iter().all(Option::is_none) { Ok(()) } else { Err(format!("{left:?}")) }
        });
        assert!(kubectl::get(&["namespace", "ptn-waited"]).is_some(), "it keeps the books");
        let said = install("waited", "tenant,channel");
        assert!(said.is_ok(), "{said:?}");
        assert_ready(&["ptn", NAME], "helm said that the tenant is there");
        assert_ready(&channel, "helm said that the channel is there");
        let app = register(NAME);
        let paid = app.pay(&format!("whole-{round}-{}", env::seed()), 10_000, "CNY").expect("paid");
        assert_eq!(paid["feeMinor"], 60, "{paid}");
        let said = uninstall("waited");
        assert!(said.is_ok(), "{said:?}");
    }
    let _ = install("waited", "tenant");
    tenant::destroy(NAME);
    clean();
}

/// Fails unless Ready is true of the present generation at this moment.
fn assert_ready(target: &[&str], what: &str) {
    let object = kubectl::get(target).expect("it is there");
    let ready = tenant::condition(&object, "Ready");
    assert!(ready.as_ref().is_some_and(|(status, _, _)| status == "True"), "{what}: {ready:?}");
}
