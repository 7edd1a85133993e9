//! Who may call a tenant, and whom it may call: each field of the declared flows
//! opens what it names, and nothing is open that none names.

use std::net::SocketAddr;
use std::time::Duration;

use payplane_e2e::intruder::client;
use payplane_e2e::manifests::merged;
use payplane_e2e::outside::Outside;
use payplane_e2e::{env, kubectl, tenant, wait};
use serde_json::{Value, json};

use crate::s03_payments::ready;

/// Waits until a dial says this.
fn comes(what: &str, words: &str, dial: impl Fn() -> String) {
    wait::until(&format!("{what}: {words}"), Duration::from_secs(30), || {
        let said = dial();
        if said == words { Ok(()) } else { Err(said) }
    });
}

fn called_from(from: Value) {
    let mut alpha = tenant::development("alpha");
    alpha["spec"]["network"]["ingressFrom"] = from;
    tenant::apply(&alpha);
}

#[test]
fn callers_are_let_in_by_their_namespace() {
    if !env::cluster() {
        return;
    }
    let _ = ready("alpha", 60);
    let dial =
        || client("merchants", "deploy/merchant", &["dial", "gateway.ptn-alpha.svc:8443", "--timeout", "1s"]);
    comes("named", "open", dial);
    called_from(json!({"namespaces": ["somebody-else"]}));
    comes("named no more", "timeout", dial);
    let _ = ready("alpha", 60);
    comes("named again", "open", dial);
}

#[test]
fn callers_outside_the_cluster_are_let_in_by_their_network() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let _ = ready("alpha", 60);
    let outside = Outside::make(&env::lab_cluster().expect("checked"));
    let pods = kubectl::list(&["pods", "-n", "ptn-alpha", "-l", "payplane.io/component=gateway"]);
    let address = pods[0]["status"]["podIP"].as_str().expect("a running pod").parse().expect("an address");
    let dial = |port| outside.dial(SocketAddr::new(address, port));
    assert_eq!(dial(8443), "timeout", "its network is not named");
    let network = |network: &str| json!({"namespaces": ["merchants"], "cidrs": [network]});
    called_from(network(&format!("{}/32", outside.address)));
    comes("named", "open", || dial(8443));
    for (port, what) in [(8080, "health"), (9443, "admin")] {
        assert_eq!(dial(port), "timeout", "the {what} port is none of theirs");
    }
    // However wide the network, the cluster's own pods are not in it.
    called_from(network("0.0.0.0/0"));
    comes("named widely", "open", || dial(8443));
    let pod =
        || client("ptn-alpha", "deploy/ledger", &["dial", &format!("{address}:8443"), "--timeout", "1s"]);
    assert_eq!(pod(), "timeout", "a pod is let in by its namespace alone");
    let _ = ready("alpha", 60);
    comes("named no more", "timeout", || dial(8443));
}

/// A pod that can dial, in a namespace of its own where nothing else decides.
fn scraper(namespace: &str) {
    let _ = kubectl::attempt(&["create", "namespace", namespace]);
    let merchant = kubectl::get(&["deploy", "merchant", "-n", "merchants"]).expect("the merchant runs");
    let container = &merchant["spec"]["template"]["spec"]["containers"][0];
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "scraper", "namespace": namespace},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [
            {"name": "scraper", "image": container["image"], "args": container["args"]},
        ]},
    });
    kubectl::apply(&pod.to_string()).expect("a scraper");
    let ready = ["wait", "pod/scraper", "-n", namespace, "--for=condition=Ready", "--timeout=60s"];
    let _ = kubectl::ok(&ready);
}

/// The chart's value names `monitoring`.
#[test]
fn metrics_are_open_to_the_monitoring_namespace_alone() {
    if !env::cluster() {
        return;
    }
    let _ = ready("alpha", 60);
    let namespaces = ["monitoring", "elsewhere"];
    namespaces.iter().for_each(|namespace| scraper(namespace));
    for (who, namespace, labels) in [
        ("gateway", "ptn-alpha", "payplane.io/component=gateway"),
        ("ledger", "ptn-alpha", "payplane.io/component=ledger"),
        ("operator", "payplane-system", "app.kubernetes.io/name=payplane-operator"),
    ] {
        let pods = kubectl::list(&["pods", "-n", namespace, "-l", labels]);
        let address = pods[0]["status"]["podIP"].as_str().expect("a running pod").to_owned();
        let dial = |from| {
            let args = ["dial", &format!("{address}:8080"), "--timeout", "1s"];
            client(from, "scraper", &args)
        };
        comes(who, "open", || dial("monitoring"));
        assert_eq!(dial("elsewhere"), "timeout", "{who}'s metrics are nobody else's");
    }
    for namespace in namespaces {
        let _ = kubectl::ok(&["delete", "namespace", namespace, "--wait=false"]);
    }
}

#[test]
fn a_channel_opens_the_way_to_its_network_alone() {
    if !env::cluster() {
        return;
    }
    let _ = ready("alpha", 60);
    let dial =
        || client("ptn-alpha", "deploy/gateway", &["dial", "simulator.simnet.svc:8443", "--timeout", "1s"]);
    comes("the network's pods are named", "open", dial);
    for other in [
        json!({"podLabels": {"app.kubernetes.io/name": "something-else"}}),
        json!({"service": {"namespace": "simnet", "name": "simulator", "port": 9443}}),
    ] {
        tenant::apply(&merged(&tenant::channel("alpha", "sim", 60), &json!({"spec": {"simulator": other}})));
        comes(&format!("{other} is named"), "timeout", dial);
        tenant::apply(&tenant::channel("alpha", "sim", 60));
        comes("its pods are named again", "open", dial);
    }
    // Another namespace is another Channel.
    let anew = |namespace: &str| {
        let _ = kubectl::ok(&["delete", "pch", "sim", "-n", "ptn-alpha", "--timeout=60s"]);
        let other = json!({"spec": {"simulator": {"service": {"namespace": namespace}}}});
        tenant::apply(&merged(&tenant::channel("alpha", "sim", 60), &other));
    };
    anew("somewhere");
    comes("another namespace is named", "timeout", dial);
    anew("simnet");
    let _ = ready("alpha", 60);
    comes("its own is named again", "open", dial);
}
