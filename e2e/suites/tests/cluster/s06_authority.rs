//! What the operator keeps secret and somebody deletes comes back as new: the
//! CA's key, known everywhere before it signs anything, and every leaf.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use payplane_e2e::{audit, env, faults, kubectl, tenant, wait};
use serde_json::Value;

use crate::s03_payments::ready;
use crate::s06_quiet::settled;

const NAMESPACE: &str = "ptn-alpha";
const BACK_WITHIN: Duration = Duration::from_secs(10);

fn secret(name: &str) -> Option<Value> {
    kubectl::get(&["secret", name, "-n", NAMESPACE])
}

/// Deletes a Secret; gives back the old and the new one.
fn replaced(name: &str) -> (Value, Value) {
    let old = secret(name).unwrap_or_else(|| panic!("{name} is not there"));
    let _ = kubectl::ok(&["delete", "secret", name, "-n", NAMESPACE, "--wait=false"]);
    let new = wait::until(&format!("{name} to come back"), BACK_WITHIN, || match secret(name) {
        Some(new) if new["metadata"]["uid"] != old["metadata"]["uid"] => Ok(new),
        _ => Err("not yet".to_owned()),
    });
    for part in ["tls.crt", "tls.key"] {
        assert!(new["data"][part].is_string() && new["data"][part] != old["data"][part], "{name}: {part}");
    }
    (old, new)
}

#[test]
fn a_deleted_ca_key_comes_back_as_new_and_payments_go_on() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let app = ready("alpha", 60);
    let offset = settled();
    let components = "payplane.io/component in (gateway, ledger)";
    let before = faults::incarnations(NAMESPACE, components);
    let leaves = || tenant::LEAVES.map(|name| secret(name).expect("it is there")["data"]["tls.crt"].clone());
    let issued = leaves();
    let _ = replaced("tenant-ca");
    wait::until("a bundle of both CAs", BACK_WITHIN, || {
        let bundle = kubectl::get(&["configmap", "trust-bundle", "-n", NAMESPACE]).ok_or("no bundle")?;
        let both = bundle["data"]["ca.crt"].as_str().map(|pem| pem.matches("BEGIN CERTIFICATE").count());
        if both >= Some(2) { Ok(()) } else { Err(format!("{both:?} certificates")) }
    });
    // Connections of a moment later are made with what the pods hold by then.
    for number in 0..5 {
        let paid = app.pay(&format!("ca-{number}-{}", env::seed()), 100, "CNY").expect("paid");
        assert_eq!(paid["status"], "Succeeded", "{paid}");
        std::thread::sleep(Duration::from_secs(1));
    }
    tenant::await_condition(&["ptn", "alpha"], "Ready", "True", Duration::from_secs(60));
    assert_eq!(faults::incarnations(NAMESPACE, components), before, "no pod was replaced or restarted");
    assert_eq!(leaves(), issued, "leaves live out their time");
    let written: BTreeSet<_> = audit::writes(offset)
        .into_iter()
        .filter(|write| !write.resource.ends_with("/status"))
        .filter(|write| !["pods", "events"].contains(&write.resource.as_str()))
        .map(|write| format!("{} {}", write.resource, write.name))
        .collect();
    // The team's certificate comes with the bundle that it must believe.
    let follows = [
        "configmaps trust-bundle",
        "secrets admin-client",
        "secrets database-ca",
        "secrets tenant-ca",
        "secrets trust",
    ];
    assert_eq!(written, follows.map(str::to_owned).into(), "the key and the bundles that name it");
}

/// Whoever may write ConfigMaps brings in no CA of his own.
#[test]
fn a_foreign_ca_in_the_bundle_is_taken_out_again() {
    if !env::cluster() {
        return;
    }
    let _ = ready("alpha", 60);
    let read = |name: &str| {
        let map = kubectl::get(&["configmap", name, "-n", NAMESPACE]).expect("it is there");
        map["data"]["ca.crt"].as_str().expect("PEM").to_owned()
    };
    let (own, foreign) = (read("trust-bundle"), read("kube-root-ca.crt"));
    let data = serde_json::json!({"data": {"ca.crt": format!("{own}{foreign}")}});
    kubectl::patch(&["configmap", "trust-bundle", "-n", NAMESPACE], &data).expect("patched");
    wait::until("the bundle to be the operator's", BACK_WITHIN, || {
        if read("trust-bundle") == own { Ok(()) } else { Err("not yet".to_owned()) }
    });
    for name in ["trust", "database-ca"] {
        let believed = secret(name).expect("it is there")["data"]["ca.crt"].clone();
        let believed = STANDARD.decode(believed.as_str().expect("base64")).expect("base64");
        assert_eq!(String::from_utf8_lossy(&believed), own, "{name}");
    }
}

#[test]
#[ignore = "long form: make e2e-full"]
fn every_deleted_leaf_comes_back_as_new() {
    if !env::cluster() {
        return;
    }
    let app = ready("alpha", 60);
    for name in tenant::LEAVES {
        let _ = replaced(name);
        // A look that is under way may still know this one, and keep what it knows.
        std::thread::sleep(Duration::from_secs(3));
    }
    tenant::await_condition(&["ptn", "alpha"], "Ready", "True", Duration::from_secs(120));
    let paid = app.pay(&format!("leaves-{}", env::seed()), 100, "CNY").expect("paid");
    assert_eq!(paid["status"], "Succeeded", "{paid}");
}
