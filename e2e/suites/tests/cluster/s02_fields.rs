//! The fields of a PaymentTenant whose effect no other suite shows: where its
//! pods stand, how large they are, how its database is set, what it may ask for.

use payplane_e2e::{books, env, kubectl, tenant};
use serde_json::{Value, json};

use crate::s02_terms::{a_currency_is_added, an_unknown_merchant_number_is_refused_by_the_network};
use crate::s03_payments::register;

pub(crate) const NAMESPACE: &str = "ptn-fields";
const POOL: &str = "e2e.payplane.io/pool";
/// Not the cluster's default, which is what a tenant gets that names none.
const CLASS: &str = "e2e-second";

/// The second instance, which takes its time, comes in the long form.
fn instances() -> usize {
    if env::full() { 2 } else { 1 }
}

/// A tenant with every such field set.
pub(crate) fn fields() -> Value {
    let mut tenant = tenant::development("fields");
    let sized = |cpu: &str, memory: &str, limit: &str| json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "1500m", "memory": limit}});
    let spec = json!({
        "timezone": "America/New_York",
        "database": {"managed": {
            "instances": instances(),
            "storage": {"size": "2Gi", "className": CLASS},
            "resources": sized("110m", "272Mi", "544Mi"),
            "parameters": {"work_mem": "7MB", "max_connections": "90"},
        }},
        "components": {
            "gateway": {"replicas": 2, "resources": sized("55m", "72Mi", "272Mi")},
            "ledger": {"replicas": 1, "resources": sized("65m", "80Mi", "288Mi")},
        },
        "quota": {"cpu": "1200m", "memory": "3Gi"},
        "placement": {
            "nodeSelector": {POOL: "payments"},
            "tolerations": [{"key": POOL, "operator": "Equal", "value": "payments", "effect": "NoSchedule"}],
            "zoneSpread": "Required",
        },
    });
    tenant["spec"].as_object_mut().expect("a spec").extend(spec.as_object().expect("an object").clone());
    tenant
}

/// The cluster's first and third node as a pool of their own, until dropped.
struct Pool(Vec<String>);

impl Pool {
    fn set_apart() -> Self {
        let nodes = kubectl::list(&["nodes"]);
        let name = |node: &Value| node["metadata"]["name"].as_str().expect("a name").to_owned();
        let pool = Self(nodes.iter().step_by(2).map(name).collect());
        for node in &pool.0 {
            let _ = kubectl::ok(&["label", "--overwrite", "node", node, &format!("{POOL}=payments")]);
            let _ =
                kubectl::ok(&["taint", "--overwrite", "node", node, &format!("{POOL}=payments:NoSchedule")]);
        }
        pool
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for node in &self.0 {
            let _ = kubectl::attempt(&["taint", "node", node, &format!("{POOL}-")]);
        }
    }
}

#[test]
fn placement_size_database_and_quota_are_as_declared() {
    if !env::cluster() {
        return;
    }
    tenant::destroy("fields");
    second_class();
    let pool = Pool::set_apart();
    tenant::ready(&fields(), 60);
    let app = register("fields");
    let paid = app.pay(&format!("placed-{}", env::seed()), 100, "CNY").expect("paid");
    assert_eq!(paid["status"], "Succeeded", "{paid}");
    placed(&pool);
    sized();
    for (setting, value) in [("work_mem", "7MB"), ("max_connections", "90"), ("synchronous_commit", "on")] {
        assert_eq!(books::sql("fields", &format!("show {setting}")).trim(), value, "{setting}");
    }
    let claims = kubectl::list(&["pvc", "-n", NAMESPACE]);
    assert_eq!(claims.len(), instances(), "a volume for each instance");
    for claim in claims {
        assert_eq!(claim["status"]["capacity"]["storage"], "2Gi");
        assert_eq!(claim["spec"]["storageClassName"], CLASS);
    }
    grows();
    quota();
    a_currency_is_added(&app);
    an_unknown_merchant_number_is_refused_by_the_network(&app);
    tenant::destroy("fields");
}

/// A class like the cluster's own, under another name.
fn second_class() {
    let like = kubectl::get(&["storageclass", "standard"]).expect("the cluster has volumes");
    let mut class =
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": CLASS}});
    for field in ["provisioner", "reclaimPolicy", "volumeBindingMode", "allowVolumeExpansion"] {
        class[field] = like[field].clone();
    }
    tenant::apply(&class);
}

/// Every pod stands in the pool, and spreads over its zones.
fn placed(pool: &Pool) {
    let pods = kubectl::list(&["pods", "-n", NAMESPACE, "--field-selector=status.phase=Running"]);
    assert!(pods.len() >= 3 + instances(), "database, gateways and ledger run");
    for pod in &pods {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
        assert!(pool.0.iter().any(|name| name == node), "{} stands on {node}", pod["metadata"]["name"]);
    }
    if pool.0.len() < 2 {
        return;
    }
    for (labels, count) in [("payplane.io/component=gateway", 2), ("cnpg.io/podRole=instance", instances())] {
        let pods =
            kubectl::list(&["pods", "-n", NAMESPACE, "-l", labels, "--field-selector=status.phase=Running"]);
        let nodes: std::collections::BTreeSet<_> =
            pods.iter().map(|pod| pod["spec"]["nodeName"].to_string()).collect();
        assert_eq!((pods.len(), nodes.len()), (count, count), "{labels}: one in each zone, {nodes:?}");
    }
}

fn sized() {
    for (labels, cpu, memory, limit) in [
        ("payplane.io/component=gateway", "55m", "72Mi", "272Mi"),
        ("payplane.io/component=ledger", "65m", "80Mi", "288Mi"),
        ("cnpg.io/cluster=database", "110m", "272Mi", "544Mi"),
    ] {
        let pods = kubectl::list(&["pods", "-n", NAMESPACE, "-l", labels]);
        for pod in &pods {
            let resources = &pod["spec"]["containers"][0]["resources"];
            let declared = json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "1500m", "memory": limit}});
            assert_eq!(resources, &declared, "{labels}");
        }
        assert!(!pods.is_empty(), "{labels}");
    }
}

/// Storage expands under a running database, and never shrinks.
fn grows() {
    let size = |size: &str| json!({"spec": {"database": {"managed": {"storage": {"size": size}}}}});
    kubectl::patch(&["ptn", "fields"], &size("3Gi")).expect("it may grow");
    payplane_e2e::wait::until("the volumes to grow", std::time::Duration::from_secs(60), || {
        let claims = kubectl::list(&["pvc", "-n", NAMESPACE]);
        let sizes: Vec<_> =
            claims.iter().map(|claim| claim["status"]["capacity"]["storage"].to_string()).collect();
        if sizes.iter().all(|size| size == "\"3Gi\"") { Ok(()) } else { Err(format!("{sizes:?}")) }
    });
    let shrunk = kubectl::patch(&["ptn", "fields"], &size("2Gi"));
    assert!(shrunk.as_ref().is_err_and(|e| e.contains("storage may only grow")), "{shrunk:?}");
    tenant::await_condition(&["ptn", "fields"], "Ready", "True", std::time::Duration::from_secs(120));
}

/// What is beyond the quota is refused by the API server, whoever asks.
fn quota() {
    let quota = kubectl::get(&["resourcequota", "tenant", "-n", NAMESPACE]).expect("a quota");
    assert_eq!(quota["spec"]["hard"]["requests.cpu"], "1200m");
    assert_eq!(quota["spec"]["hard"]["requests.memory"], "3Gi");
    for (resource, amount) in [("cpu", "1100m"), ("memory", "2900Mi")] {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "greedy", "namespace": NAMESPACE},
            "spec": {
                "securityContext": {"runAsNonRoot": true, "runAsUser": 1, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "c", "image": "none", "resources": {"requests": {resource: amount}, "limits": {resource: amount}},
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                }],
            },
        });
        let said = kubectl::apply(&pod.to_string());
        assert!(said.as_ref().is_err_and(|e| e.contains("exceeded quota")), "{resource}: {said:?}");
    }
}
