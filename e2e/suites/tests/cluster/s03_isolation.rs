//! Tenant beta's packet, certificate and app key are refused by tenant alpha:
//! each layer alone with the others opened, beside the same call succeeding from
//! alpha's own pod, each with a refusal of its own.

use payplane_e2e::intruder::{Intruder, client};
use payplane_e2e::{books, env, lab, merchant::App};

use crate::s03_payments::ready;

const LEDGER: &str = "ledger.ptn-alpha.svc:8443";
const TARGETS: [&str; 3] = [LEDGER, "gateway.ptn-alpha.svc:9443", "database-rw.ptn-alpha.svc:5432"];

fn both() -> (App, App) {
    (ready("alpha", 60), ready("beta", 100))
}

/// Arguments of a TLS handshake with files of one folder.
fn with<'a>(call: &[&'a str], ca: &'a str, cert: &'a str, key: &'a str) -> Vec<&'a str> {
    [call, &["--ca", ca, "--cert", cert, "--cert-key", key]].concat()
}

#[test]
fn a_packet_from_another_tenants_namespace_is_dropped() {
    if !env::cluster() {
        return;
    }
    let _ = both();
    let own = |address| client("ptn-alpha", "deploy/gateway", &["dial", address]);
    assert_eq!((own(TARGETS[0]), own(TARGETS[2])), ("open".to_owned(), "open".to_owned()));
    // It bears the labels of alpha's gateway and holds alpha's own keys: the
    // packet is all that is refused.
    let intruder = Intruder::place("beta", "alpha");
    intruder.steal("ptn-alpha", "gateway-tls", "stolen");
    intruder.steal("ptn-alpha", "admin-client", "trust");
    let stolen =
        with(&["handshake", LEDGER], "/keys/trust/ca.crt", "/keys/stolen/tls.crt", "/keys/stolen/tls.key");
    intruder.open_packets();
    for target in TARGETS {
        intruder.comes_to_say(&["dial", target], "open");
    }
    assert_eq!(intruder.says(&stolen), "accepted", "with stolen keys and the packet let in");
    intruder.close_packets();
    for target in TARGETS {
        intruder.comes_to_say(&["dial", target], "timeout");
    }
    assert_eq!(intruder.says(&stolen), "timeout");
    assert_eq!(own(LEDGER), "open", "its own pod, at the same time");
}

#[test]
fn with_the_enforcer_off_the_packet_passes() {
    if !env::cluster() || env::lab_cluster().is_none() {
        return;
    }
    let _ = both();
    let cluster = env::lab_cluster().expect("checked");
    let intruder = Intruder::place("beta", "alpha");
    intruder.comes_to_say(&["dial", LEDGER], "timeout");
    let _ = lab::run(&["policy", "off", &cluster]);
    let open = intruder.says(&["dial", LEDGER]);
    let _ = lab::run(&["policy", "on", &cluster]);
    assert_eq!(open, "open", "with the enforcer off");
    intruder.comes_to_say(&["dial", LEDGER], "timeout");
}

#[test]
fn another_tenants_certificate_meets_a_tls_alert() {
    if !env::cluster() {
        return;
    }
    let _ = both();
    let intruder = Intruder::place("beta", "alpha");
    intruder.steal("ptn-beta", "gateway-tls", "own");
    intruder.steal("ptn-alpha", "admin-client", "trust");
    intruder.open_packets();
    intruder.comes_to_say(&["dial", LEDGER], "open");
    let foreign =
        with(&["handshake", LEDGER], "/keys/trust/ca.crt", "/keys/own/tls.crt", "/keys/own/tls.key");
    assert_eq!(intruder.says(&foreign), "alert UnknownCA");
    let none = ["handshake", LEDGER, "--ca", "/keys/trust/ca.crt"];
    assert_eq!(intruder.says(&none), "alert CertificateRequired");
    let mounted = ["/etc/payplane/trust/ca.crt", "/etc/payplane/tls/tls.crt", "/etc/payplane/tls/tls.key"];
    let own = with(&["handshake", LEDGER], mounted[0], mounted[1], mounted[2]);
    assert_eq!(client("ptn-alpha", "deploy/gateway", &own), "accepted");
    // The admin port, from the merchants' pod, which both tenants let in.
    let admin = ["handshake", "gateway.ptn-alpha.svc:9443"];
    let of = |name: &str| [format!("/keys/{name}/tls.crt"), format!("/keys/{name}/tls.key")];
    for (name, words) in [("beta", "alert UnknownCA"), ("alpha", "accepted")] {
        let [cert, key] = of(name);
        let said = client("merchants", "deploy/merchant", &with(&admin, "/keys/alpha/ca.crt", &cert, &key));
        assert_eq!(said, words, "{name}'s admin certificate at alpha's admin port");
    }
}

#[test]
fn another_tenants_app_key_is_refused() {
    if !env::cluster() {
        return;
    }
    let (alpha, beta) = both();
    // Beta's key and app name, sent to alpha's gateway with alpha's CA: packet and
    // TLS are open, the signature is not.
    let foreign = App { tenant: "alpha".into(), ..beta };
    let refused = foreign.pay_trusting(&format!("{}/ca.crt", alpha.folder), "foreign-1", 100, "CNY");
    assert!(refused.as_ref().is_err_and(|e| e.contains("401")), "{refused:?}");
    // And with beta's CA the certificate of alpha's gateway is refused.
    let refused = foreign.pay("foreign-2", 100, "CNY");
    assert!(refused.as_ref().is_err_and(|e| e.contains("certificate")), "{refused:?}");
    let own = alpha.pay(&format!("own-{}", env::seed()), 100, "CNY").expect("its own key works beside it");
    assert_eq!(own["status"], "Succeeded");
    let rows = books::sql("alpha", "select count(*) from gateway.orders where order_number like 'foreign-%'");
    assert_eq!(rows.trim(), "0");
}
