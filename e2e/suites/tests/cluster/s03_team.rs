//! What a tenant's own team can and cannot do in its namespace: it brings
//! Channels and their credentials, and never gets at the database's logins or the CA.

use std::time::Duration;

use payplane_e2e::{env, kubectl, tenant};
use serde_json::{Value, json};

const ADMIN: [&str; 2] = ["--as=jane", "--as-group=crew-admins"];
const VIEWER: [&str; 2] = ["--as=jim", "--as-group=crew-viewers"];
const GUARDED: [&str; 10] = [
    "db-ledger",
    "db-owner",
    "db-vault",
    "tenant-ca",
    "seal-key",
    "notify-key",
    "data-key",
    "trust",
    "database-ca",
    "gateway-config",
];

fn prepare() {
    let mut alpha = tenant::development("alpha");
    alpha["spec"]["access"] =
        json!({"tenantAdminGroups": ["crew-admins"], "tenantViewerGroups": ["crew-viewers"]});
    tenant::ready(&alpha, 60);
}

fn refused(who: &[&str; 2], args: &[&str], stdin: Option<&Value>) {
    let output = kubectl::run(&[args, who].concat(), stdin.map(Value::to_string).as_deref());
    let error = String::from_utf8_lossy(&output.stderr);
    let forbidden = ["forbidden", "Forbidden", "may write only Secrets of type"];
    let said = !output.status.success() && forbidden.iter().any(|word| error.contains(word));
    assert!(said, "{who:?} {args:?}: {error}");
}

fn allowed(who: &[&str; 2], args: &[&str], stdin: Option<&Value>) {
    let output = kubectl::run(&[args, who].concat(), stdin.map(Value::to_string).as_deref());
    assert!(output.status.success(), "{who:?} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

const APPLY: [&str; 6] = ["apply", "--server-side", "--force-conflicts", "--field-manager=team", "-f", "-"];

fn secret(name: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": kind,
        "metadata": {"name": name, "namespace": "ptn-alpha"}, "stringData": {"tls.key": "forged"},
    })
}

fn pod(mounts: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "reader", "namespace": "ptn-alpha"},
        // Pod Security has nothing against it.
        "spec": {
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "c", "image": "none", "volumeMounts": [{"name": "s", "mountPath": "/s"}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                "resources": {"limits": {"cpu": "50m", "memory": "32Mi"}},
            }],
            "volumes": [{"name": "s", "secret": {"secretName": mounts}}],
        },
    })
}

#[test]
fn a_tenants_team_does_not_get_at_logins_or_the_ca() {
    if !env::cluster() {
        return;
    }
    prepare();
    for name in GUARDED {
        let at = ["-n", "ptn-alpha"];
        refused(&ADMIN, &[&["get", "secret", name][..], &at].concat(), None);
        refused(&ADMIN, &[&["delete", "secret", name][..], &at].concat(), None);
        // As another type it is refused whoever asks; as its own, by the policy alone.
        let other = secret(name, "payplane.io/channel-credentials");
        let written = kubectl::run(&[&APPLY[..], &ADMIN].concat(), Some(&other.to_string()));
        assert!(!written.status.success(), "{name} was overwritten");
        let live = kubectl::get(&[&["secret", name][..], &at].concat()).expect("it is there");
        refused(&ADMIN, &APPLY, Some(&secret(name, live["type"].as_str().expect("a type"))));
        let mounted = kubectl::run(&[&APPLY[..], &ADMIN].concat(), Some(&pod(name).to_string()));
        let error = String::from_utf8_lossy(&mounted.stderr).into_owned();
        assert!(error.contains("cannot patch resource \"pods\""), "{name} is mounted: {error}");
    }
    refused(&ADMIN, &["get", "secrets", "-n", "ptn-alpha"], None);
    for verb in [
        &["exec", "-n", "ptn-alpha", "deploy/gateway", "--", "/payplane", "--help"][..],
        &["create", "job", "thief", "--image=none", "-n", "ptn-alpha"],
        &["create", "token", "gateway", "-n", "ptn-alpha"],
        &["create", "rolebinding", "mine", "--clusterrole=admin", "--user=jane", "-n", "ptn-alpha"],
        &["delete", "networkpolicy", "default-deny", "-n", "ptn-alpha"],
    ] {
        // kubectl takes flags of its own before those of the program in the pod.
        let args = [&ADMIN[..], verb].concat();
        let output = kubectl::attempt(&args);
        assert!(
            output.as_ref().is_err_and(|e| e.to_lowercase().contains("forbidden")),
            "{verb:?}: {output:?}"
        );
    }
}

#[test]
fn a_channel_cannot_name_a_login_or_the_ca_as_its_credentials() {
    if !env::cluster() {
        return;
    }
    prepare();
    for name in ["db-ledger", "tenant-ca"] {
        let mut channel = tenant::channel("alpha", "thief", 60);
        channel["spec"]["simulator"]["credentials"]["name"] = json!(name);
        allowed(&ADMIN, &APPLY, Some(&channel));
        let target = ["pch", "thief", "-n", "ptn-alpha"];
        let said = tenant::await_reason(&target, "Ready", "CredentialsInvalid", Duration::from_secs(30));
        let (_, _, message) = tenant::condition(&said, "Ready").expect("just seen");
        assert!(message.contains(name), "{message}");
        let config =
            kubectl::get(&["secret", "gateway-config", "-n", "ptn-alpha"]).expect("the gateway's config");
        assert!(!config["data"].to_string().contains("thief"), "nothing of it reached the gateway");
    }
    allowed(&ADMIN, &["delete", "pch", "thief", "-n", "ptn-alpha", "--timeout=60s"], None);
}

#[test]
fn each_group_has_what_it_was_given() {
    if !env::cluster() {
        return;
    }
    prepare();
    allowed(&ADMIN, &APPLY, Some(&secret("team-brought-it", "payplane.io/channel-credentials")));
    refused(&ADMIN, &APPLY, Some(&secret("team-brought-it-too", "Opaque")));
    allowed(&ADMIN, &["delete", "secret", "team-brought-it", "-n", "ptn-alpha"], None);
    allowed(&ADMIN, &["get", "secret", "admin-client", "-n", "ptn-alpha", "-o", "name"], None);
    refused(&ADMIN, &["get", "secret", "admin-checker", "-n", "ptn-alpha"], None);
    for who in [&ADMIN, &VIEWER] {
        allowed(who, &["get", "pch,pods,deployments,networkpolicies", "-n", "ptn-alpha", "-o", "name"], None);
    }
    refused(&VIEWER, &["get", "secret", "admin-client", "-n", "ptn-alpha"], None);
    refused(&VIEWER, &APPLY, Some(&tenant::channel("alpha", "viewers", 60)));
    refused(&ADMIN, &["get", "pch", "-n", "ptn-beta"], None);
    // The groups go when the spec names them no more.
    tenant::ready(&tenant::development("alpha"), 60);
    refused(&VIEWER, &["get", "pch", "-n", "ptn-alpha"], None);
}
