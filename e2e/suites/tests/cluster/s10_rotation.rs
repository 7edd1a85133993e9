//! Leaf certificates with a lifetime of minutes rotate under load: no restart,
//! no failed request, and never one that is past its end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use payplane_e2e::load::{Load, Options};
use payplane_e2e::merchant::App;
use payplane_e2e::{books, env, faults, helm, kubectl, tenant, wait};

use crate::s03_payments::register;
use crate::s04_faults::{production, whole};
use crate::s05_live_config::two_gateways;
use crate::s10_upgrade::assert_nobody_noticed;

const LIFETIME: &str = "leafCertificateLifetimeSeconds=90";
const ROTATIONS: usize = 2;
const STANDBYS_EVERY: usize = 5;
const ROTATIONS_WITHIN: Duration = Duration::from_secs(300);

fn leaf(name: &str) -> String {
    let secret = kubectl::get(&["secret", name, "-n", "ptn-rotate"]).expect("the leaf is there");
    secret["data"]["tls.crt"].as_str().expect("a certificate").to_owned()
}

/// New connections everywhere: to the gateway, to the ledger, to the database; now
/// and then, as commits wait for them, the standbys' too.
fn reconnect(app: &App, number: usize) {
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where usename in ('gateway', 'ledger', 'payplane_vault')";
    let _ = books::sql(&app.tenant, end);
    if number.is_multiple_of(STANDBYS_EVERY) {
        let _ = books::sql(&app.tenant, "select pg_terminate_backend(pid) from pg_stat_replication");
    }
    let paid = app.pay(&format!("rotated-{number}-{}", env::seed()), 100, "CNY").expect("paid");
    assert_eq!(paid["status"], "Succeeded", "{paid}");
}

/// Fails for a pod that has not read its certificates anew since a moment.
fn all_loaded(namespace: &str, labels: &str, since: &str) -> Result<(), String> {
    for pod in faults::pods(namespace, labels) {
        let name = pod.split_once('/').map_or(pod.as_str(), |(_, name)| name);
        let log = kubectl::attempt(&["logs", "-n", namespace, name, "--since-time", since])?;
        if !log.contains("certificates loaded") {
            return Err(format!("{pod} still has the old ones"));
        }
    }
    Ok(())
}

/// The short form: leaves that are issued anew before their time.
#[test]
fn renewed_leaves_reach_running_pods_under_load() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let app = two_gateways("live");
    let labels = "payplane.io/component in (gateway, ledger)";
    let before = faults::incarnations("ptn-live", labels);
    let load = Load::start(&app, "renewed", &Options::fifty(env::seed()));
    let since = jiff::Timestamp::now().to_string();
    for name in ["gateway-tls", "ledger-tls", "db-gateway", "db-vault", "db-ledger", "operator-client"] {
        let _ = kubectl::ok(&["delete", "secret", name, "-n", "ptn-live", "--wait=false"]);
    }
    wait::until("every pod to load its new certificates", Duration::from_secs(60), || {
        all_loaded("ptn-live", labels, &since)
    });
    for number in 1..=3 {
        reconnect(&app, number);
    }
    let run = load.stop();
    assert_nobody_noticed(&run, "rotation");
    assert_eq!(faults::incarnations("ptn-live", labels), before, "no pod was replaced or restarted");
    tenant::await_condition(&["ptn", "live"], "Ready", "True", Duration::from_secs(60));
}

#[test]
#[ignore = "long form: make e2e-full"]
fn leaf_certificates_rotate_twice_without_restart_or_failure() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    helm::upgrade(&[LIFETIME]);
    let app = production("rotate");
    let incarnations = || {
        ["payplane.io/component in (gateway, ledger)", "cnpg.io/cluster=database"]
            .map(|labels| faults::incarnations("ptn-rotate", labels))
    };
    let before = incarnations();
    let load = Load::start(&app, "rotate", &Options::fifty(env::seed()));
    let mut seen: Vec<BTreeSet<String>> = tenant::LEAVES.iter().map(|name| [leaf(name)].into()).collect();
    let (began, mut number) = (Instant::now(), 0);
    while seen.iter().any(|certificates| certificates.len() <= ROTATIONS) {
        assert!(
            began.elapsed() < ROTATIONS_WITHIN,
            "too few rotations: {:?}",
            seen.iter().map(BTreeSet::len)
        );
        std::thread::sleep(Duration::from_secs(5));
        for (name, certificates) in tenant::LEAVES.iter().zip(&mut seen) {
            certificates.insert(leaf(name));
        }
        number += 1;
        reconnect(&app, number);
    }
    let run = load.stop();
    println!("figure: rotations_in={} s", began.elapsed().as_secs());
    assert_nobody_noticed(&run, "rotation");
    assert_eq!(incarnations(), before, "no pod was replaced or restarted");
    whole("rotate");
    // The team's certificate of these minutes opens the admin API.
    let app = register("rotate");
    assert_eq!(app.pay("rotated", 100, "CNY").expect("paid")["status"], "Succeeded");
    tenant::destroy("rotate");
    helm::upgrade(&["leafCertificateLifetimeSeconds=7776000"]);
}
