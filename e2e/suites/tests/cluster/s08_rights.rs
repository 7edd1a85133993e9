//! What the product may do: its pods run restricted, and the operator's token
//! opens nothing outside of tenants' namespaces.

use base64::Engine;
use payplane_e2e::{env, kubectl};
use serde_json::{Value, json};

use crate::s03_payments::ready;

const NAMESPACES: [&str; 4] = ["ptn-alpha", "payplane-system", "simnet", "merchants"];

#[test]
fn every_pod_passes_restricted_pod_security_and_it_is_enforced() {
    if !env::cluster() {
        return;
    }
    let _ = ready("alpha", 60);
    let mut passed = 0;
    for namespace in NAMESPACES {
        let live = kubectl::get(&["namespace", namespace]).expect("it is there");
        let labels = &live["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted", "{namespace}");
        for pod in kubectl::list(&["pods", "-n", namespace]) {
            let said = would_run(&pod, &json!({}));
            assert!(said.is_ok(), "{namespace} {}: {said:?}", pod["metadata"]["name"]);
            passed += 1;
            let said = would_run(&pod, &json!({"privileged": true, "allowPrivilegeEscalation": true}));
            assert!(
                said.as_ref().is_err_and(|e| e.contains("violates PodSecurity")),
                "{namespace}: {said:?}"
            );
        }
    }
    println!("figure: pods_restricted={passed} pods of {NAMESPACES:?}, none runs with privileged");
    assert!(passed >= 6);
}

/// Would the API server take the same pod once more, with another security context?
fn would_run(pod: &Value, security: &Value) -> Result<String, String> {
    let mut spec = pod["spec"].clone();
    for field in ["nodeName", "priority", "preemptionPolicy"] {
        spec[field] = Value::Null;
    }
    for kind in ["containers", "initContainers"] {
        for container in spec[kind].as_array_mut().into_iter().flatten() {
            // The quota has no room for twice the pods.
            let tiny = json!({"cpu": "1m", "memory": "1Mi"});
            container["resources"] = json!({"requests": tiny, "limits": {"memory": "1Mi"}});
            for (name, value) in security.as_object().into_iter().flatten() {
                container["securityContext"][name] = value.clone();
            }
        }
    }
    let metadata = json!({"name": "once-more", "namespace": pod["metadata"]["namespace"]});
    let copy = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    kubectl::told(&kubectl::run(&["create", "--dry-run=server", "-f", "-"], Some(&copy.to_string())))
}

#[test]
fn the_operators_token_opens_nothing_outside_of_tenants() {
    if !env::cluster() {
        return;
    }
    let _ = ready("alpha", 60);
    let token = Token::new();
    let own = token.run(&["get", "secret", "tenant-ca", "-n", "ptn-alpha", "-o", "name"], None);
    assert!(own.is_ok(), "the token works: {own:?}");
    let refuses = |said: Result<String, String>, words: &str, what: &str| {
        assert!(said.as_ref().is_err_and(|e| e.contains(words)), "{what}: {said:?}");
    };
    for namespace in ["kube-system", "simnet", "cnpg-system", "default", "payplane-system"] {
        refuses(token.run(&["get", "secrets", "-n", namespace], None), "Forbidden", namespace);
    }
    refuses(token.run(&["get", "secrets", "-A"], None), "Forbidden", "all Secrets");

    const RBAC: &str = "rbac.authorization.k8s.io";
    let subject =
        json!({"kind": "ServiceAccount", "name": "payplane-operator", "namespace": "payplane-system"});
    let role = json!({"apiGroup": RBAC, "kind": "ClusterRole", "name": "payplane-operator-tenant"});
    for (name, words) in [("payplane-operator", "only in namespaces that it made"), ("other", "orbidden")] {
        let metadata = json!({"name": name, "namespace": "kube-system"});
        let binding = json!({
            "apiVersion": format!("{RBAC}/v1"), "kind": "RoleBinding", "metadata": metadata,
            "roleRef": role, "subjects": [subject],
        });
        refuses(token.run(&["apply", "--server-side", "-f", "-"], Some(&binding)), words, name);
    }
    let labels = json!({"payplane.io/tenant": "merchants"});
    let adopt =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "merchants", "labels": labels}});
    let words = "only namespaces that bear its label";
    let said = token.run(&["apply", "--server-side", "--force-conflicts", "-f", "-"], Some(&adopt));
    refuses(said, words, "adopting a foreign namespace");
    refuses(token.run(&["delete", "namespace", "merchants"], None), words, "deleting it");
    println!("figure: foreign_doors_shut=10 of 10");
}

/// The operator's identity in another's hands.
struct Token {
    server: String,
    authority: tempfile::NamedTempFile,
    token: String,
}

impl Token {
    fn new() -> Self {
        let config = kubectl::ok(&["config", "view", "--raw", "--minify", "-o", "json"]);
        let config: Value = serde_json::from_str(&config).expect("kubectl prints JSON");
        let cluster = &config["clusters"][0]["cluster"];
        let authority = tempfile::NamedTempFile::new().expect("a file");
        let encoded = cluster["certificate-authority-data"].as_str().expect("the kubeconfig holds the CA");
        let pem = base64::engine::general_purpose::STANDARD.decode(encoded).expect("base64");
        std::fs::write(authority.path(), pem).expect("written");
        let server = cluster["server"].as_str().expect("an address").to_owned();
        let token = kubectl::ok(&["create", "token", "payplane-operator", "-n", "payplane-system"]);
        Self { server, authority, token: token.trim().to_owned() }
    }

    fn run(&self, args: &[&str], object: Option<&Value>) -> Result<String, String> {
        let authority = self.authority.path().display().to_string();
        let identity = ["--kubeconfig=/dev/null", "--server", &self.server, "--token", &self.token];
        let all = [&identity[..], &["--certificate-authority", &authority], args].concat();
        kubectl::told(&kubectl::run(&all, object.map(Value::to_string).as_deref()))
    }
}
