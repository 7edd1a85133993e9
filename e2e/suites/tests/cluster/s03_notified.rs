//! An app outside of the cluster is told of its payments, once its network is open to
//! the tenant; nobody inside of the cluster can be named.

use std::sync::atomic::Ordering;
use std::time::Duration;

use payplane_e2e::outside::Outside;
use payplane_e2e::receiver::Receiver;
use payplane_e2e::{env, kubectl, merchant, tenant, wait};
use payplane_testkit::Pki;
use serde_json::json;

use crate::s03_payments::ready;

/// Registers `app1` at alpha with an address.
fn registered(url: &str) -> Result<String, String> {
    let app = ["client", "register-app", "--app", "app1", "--name", "App", "--public", "/keys/alpha/app.pub"];
    let admin = ["--gateway", "https://gateway.ptn-alpha.svc:9443", "--ca", "/keys/alpha/ca.crt"];
    let identity = ["--cert", "/keys/alpha/tls.crt", "--cert-key", "/keys/alpha/tls.key"];
    let notify = ["--notify-url", url, "--notify-ca", "/keys/alpha/shop.crt"];
    merchant::exec(&[&app[..], &admin, &identity, &notify].concat())
}

#[test]
fn apps_are_told_outside_of_the_cluster_and_nowhere_inside() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let app = ready("alpha", 60);
    let outside = Outside::make(&env::lab_cluster().expect("checked"));
    let host = outside.address.to_string();
    let bundle = kubectl::get(&["configmap", "trust-bundle", "-n", "ptn-alpha"]).expect("the trust bundle");
    let keys = bundle["data"]["notify.pub"].as_str().expect("the keys of notifications").to_owned();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().expect("a folder");
    let pki = Pki::create(folder.path()).expect("a CA");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let address = (outside.address, 8443).into();
    let receiver = runtime.block_on(Receiver::start(address, &host, &pki, keys.as_bytes()));
    let receiver = receiver.expect("an endpoint");

    let ca = std::fs::read_to_string(pki.trust().join("ca.crt")).expect("the CA");
    let store = ["exec", "-i", "-n", "merchants", "deploy/merchant", "--", "/payplane", "client", "store"];
    let stored = kubectl::run(&[&store[..], &["/keys/alpha/shop.crt"]].concat(), Some(&ca));
    assert!(stored.status.success(), "the CA is not stored");
    let service = kubectl::get(&["service", "gateway", "-n", "ptn-alpha"]).expect("the gateway's Service");
    let service = format!("https://{}:8443", service["spec"]["clusterIP"].as_str().expect("an address"));
    for inside in ["https://simulator.simnet.svc:8443", "https://127.0.0.1:8443", &service] {
        let refused = registered(inside);
        assert!(refused.as_ref().is_err_and(|e| e.contains("notification.url")), "{inside}: {refused:?}");
    }

    registered(receiver.notification()["url"].as_str().expect("an address")).expect("registered");
    let order = format!("told-{}", env::seed());
    assert_eq!(app.pay(&order, 10_000, "CNY").expect("paid")["status"], "Succeeded");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(receiver.asked.load(Ordering::SeqCst), 0, "its network is not open to the tenant");
    let mut alpha = tenant::development("alpha");
    alpha["spec"]["network"]["egressCidrs"] = json!([format!("{host}/32")]);
    tenant::apply(&alpha);
    wait::until("the notification", Duration::from_secs(90), || {
        let taken = receiver.taken();
        let told = taken.values().find(|told| told.data["orderNumber"] == order.as_str());
        told.map(|_| ()).ok_or_else(|| format!("{} asked", receiver.asked.load(Ordering::SeqCst)))
    });
    assert_eq!(receiver.forged.load(Ordering::SeqCst), 0);
    // As it was, without an address.
    let _ = ready("alpha", 60);
}
