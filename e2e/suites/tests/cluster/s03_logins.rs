//! The database login of one tenant opens nothing at another one, nor for
//! another role of its own.

use payplane_e2e::env;
use payplane_e2e::intruder::{Intruder, client};

use crate::s03_payments::ready;

const DATABASE: &str = "database-rw.ptn-alpha.svc:5432";

/// A login from alpha's own gateway pod with what is mounted there.
fn own(user: &str, folder: Option<&str>) -> String {
    let mut args = vec!["login", DATABASE, "--user", user, "--ca", "/etc/payplane/database-trust/ca.crt"];
    let files = folder.map(|folder| [format!("{folder}/tls.crt"), format!("{folder}/tls.key")]);
    if let Some([cert, key]) = &files {
        args.extend(["--cert", cert, "--cert-key", key]);
    }
    client("ptn-alpha", "deploy/gateway", &args)
}

#[test]
fn a_login_needs_the_roles_own_certificate() {
    if !env::cluster() {
        return;
    }
    let _ = ready("alpha", 60);
    let mounted = Some("/etc/payplane/database");
    assert_eq!(own("gateway", mounted), "logged in as gateway");
    let vault = Some("/etc/payplane/vault");
    assert_eq!(own("payplane_vault", vault), "logged in as payplane_vault");
    // Of alpha's own CA, but with a foreign name; and no certificate at all.
    for (user, folder) in [
        ("ledger", mounted),
        ("payplane_owner", mounted),
        ("postgres", mounted),
        ("gateway", None),
        ("payplane_vault", mounted),
        ("gateway", vault),
    ] {
        let said = own(user, folder);
        assert!(said.starts_with("SQLSTATE 28000"), "{user} with {folder:?}: {said}");
    }
}

#[test]
fn another_tenants_login_meets_a_tls_alert() {
    if !env::cluster() {
        return;
    }
    let _ = (ready("alpha", 60), ready("beta", 100));
    let intruder = Intruder::place("beta", "alpha");
    intruder.steal("ptn-beta", "db-gateway", "own");
    intruder.steal("ptn-alpha", "db-gateway", "stolen");
    intruder.steal("ptn-alpha", "database-ca", "trust");
    let login = |folder: &str| {
        let (cert, key) = (format!("/keys/{folder}/tls.crt"), format!("/keys/{folder}/tls.key"));
        let user = ["login", DATABASE, "--user", "gateway", "--ca", "/keys/trust/ca.crt"];
        [&user.map(str::to_owned)[..], &["--cert".to_owned(), cert, "--cert-key".to_owned(), key]].concat()
    };
    let say = |folder: &str, words: &str| {
        let args = login(folder);
        intruder.comes_to_say(&args.iter().map(String::as_str).collect::<Vec<_>>(), words);
    };
    // Both certificates are refused by the packet filter, and once it lets them
    // in, alpha's own is taken and beta's is not: each layer stands alone.
    say("stolen", "timeout");
    intruder.open_packets();
    say("stolen", "logged in as gateway");
    say("own", "alert UnknownCA");
    let _ = ready("alpha", 60);
    assert_eq!(own("gateway", Some("/etc/payplane/database")), "logged in as gateway");
}
