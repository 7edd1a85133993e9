//! A pod in one tenant's namespace that wears the labels of another tenant's
//! gateway, and policies that open single layers to it.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::{kubectl, tenant, wait};

const NAME: &str = "e2e-intruder";

/// The pod. It goes with this value, and so do the policies.
pub struct Intruder {
    home: String,
    target: String,
}

impl Intruder {
    /// Places it in the namespace of tenant `home`, labelled as tenant `target`'s
    /// gateway, free to send to anybody as far as `home` is concerned.
    #[must_use]
    pub fn place(home: &str, target: &str) -> Self {
        let intruder = Self { home: format!("ptn-{home}"), target: format!("ptn-{target}") };
        let gateway = kubectl::get(&["deployment", "gateway", "-n", &intruder.home]).expect("a gateway");
        let pod = &gateway["spec"]["template"]["spec"]["containers"][0];
        tenant::apply(&intruder.pod(target, &pod["image"]));
        tenant::apply(&policy(&intruder.home, json!({"e2e": NAME}), "Egress", "egress", json!([{}])));
        let _ = kubectl::ok(&[
            "wait",
            "--for=condition=Ready",
            "pod",
            NAME,
            "-n",
            &intruder.home,
            "--timeout=60s",
        ]);
        intruder
    }

    fn pod(&self, target: &str, image: &Value) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": NAME, "namespace": self.home, "labels": {
                "e2e": NAME, "payplane.io/tenant": target, "payplane.io/component": "gateway",
            }},
            "spec": {
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    "runAsNonRoot": true, "runAsUser": 65532, "fsGroup": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "client", "image": image, "args": ["client", "idle"],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    "volumeMounts": [{"name": "keys", "mountPath": "/keys"}],
                }],
                "volumes": [{"name": "keys", "emptyDir": {}}],
            },
        })
    }

    /// Lets this namespace's packets into the target's, over the target's own policies.
    pub fn open_packets(&self) {
        let from = json!([{"from": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.home}}}]}]);
        tenant::apply(&policy(&self.target, json!({}), "Ingress", "ingress", from));
    }

    /// The target's own policies alone again.
    pub fn close_packets(&self) {
        let _ = kubectl::ok(&["delete", "networkpolicy", NAME, "-n", &self.target, "--ignore-not-found"]);
    }

    /// Copies a Secret of any namespace into the pod: `/keys/FOLDER/KEY`.
    pub fn steal(&self, namespace: &str, secret: &str, folder: &str) {
        let found = kubectl::get(&["secret", secret, "-n", namespace]).expect("the Secret is there");
        for (key, value) in found["data"].as_object().expect("it has data") {
            let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).expect("base64");
            let text = String::from_utf8(bytes).expect("PEM");
            let path = format!("/keys/{folder}/{key}");
            let store = ["exec", "-i", "-n", &self.home, NAME, "--", "/payplane", "client", "store", &path];
            assert!(kubectl::run(&store, Some(&text)).status.success(), "{path} is not stored");
        }
    }

    /// What the client says in the pod.
    #[must_use]
    pub fn says(&self, args: &[&str]) -> String {
        client(&self.home, NAME, args)
    }

    /// Waits until the client says this, and fails with what it says instead.
    pub fn comes_to_say(&self, args: &[&str], words: &str) {
        wait::until(&format!("{args:?} to say {words:?}"), Duration::from_secs(15), || {
            let said = self.says(args);
            if said.starts_with(words) { Ok(()) } else { Err(said) }
        });
    }
}

impl Drop for Intruder {
    fn drop(&mut self) {
        for namespace in [&self.home, &self.target] {
            let _ =
                kubectl::attempt(&["delete", "networkpolicy", NAME, "-n", namespace, "--ignore-not-found"]);
        }
        let _ = kubectl::attempt(&["delete", "pod", NAME, "-n", &self.home, "--force", "--ignore-not-found"]);
    }
}

/// What `payplane client` says in a pod (or `deploy/NAME`); a failure to run it is what kubectl says.
#[must_use]
pub fn client(namespace: &str, pod: &str, args: &[&str]) -> String {
    let exec = ["exec", "-n", namespace, pod, "--", "/payplane", "client"];
    kubectl::attempt(&[&exec[..], args].concat()).unwrap_or_else(|error| error).trim().to_owned()
}

fn policy(namespace: &str, pods: Value, kind: &str, field: &str, rules: Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {"podSelector": {"matchLabels": pods}, "policyTypes": [kind], field: rules},
    })
}
