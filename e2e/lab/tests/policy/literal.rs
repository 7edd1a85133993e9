//! From YAML to nft, for one policy that uses everything.

use payplane_lab::policy::compile::compile;
use payplane_lab::policy::read::{read_pod, read_policy};
use payplane_lab::policy::world::{Node, World};
use serde_json::{Value, json};

const POLICY: &str = r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: gateway, namespace: ptn-a}
spec:
  podSelector: {matchLabels: {app: gateway}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - namespaceSelector: {matchLabels: {team: shop}}
    - ipBlock: {cidr: 10.8.0.0/16, except: [10.8.1.0/24, 10.8.1.128/25]}
    ports: [{port: app}, {port: 9000, endPort: 9010}]
  egress:
  - to: [{podSelector: {matchLabels: {app: ledger}}}]
    ports: [{port: 8443}]
  - to: [{namespaceSelector: {}, podSelector: {matchLabels: {app: dns}}}]
    ports: [{port: 53, protocol: UDP}]
  - to: [{ipBlock: {cidr: "fd00::/8"}}]
"#;

fn pod(namespace: &str, app: &str, node: &str, address: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut pod = json!({
        "metadata": {"name": app, "namespace": namespace, "labels": {"app": app}},
        "spec": {"nodeName": node, "containers": [{"name": "c", "ports": [{"name": "app", "containerPort": 8443}]}]},
        "status": {"phase": "Running", "podIP": address},
    });
    change(&mut pod);
    pod
}

fn world() -> World {
    let pods = [
        pod("ptn-a", "gateway", "n1", "10.1.1.1", |_| {}),
        pod("ptn-a", "ledger", "n2", "10.1.2.1", |_| {}),
        pod("shop", "till", "n2", "10.1.2.2", |_| {}),
        pod("shop", "agent", "n2", "192.0.2.2", |pod| pod["spec"]["hostNetwork"] = json!(true)),
        pod("kube-system", "dns", "n1", "10.1.1.2", |_| {}),
        pod("ptn-a", "migrate", "n1", "10.1.1.3", |pod| pod["status"]["phase"] = json!("Succeeded")),
    ];
    let read = |pod: Value| read_pod(&serde_json::from_value(pod).unwrap(), None);
    let team = |team: &str| [("team".to_owned(), team.to_owned())].into();
    World {
        policies: read_policy(&serde_yaml::from_str(POLICY).unwrap()).into_iter().collect(),
        pods: pods.into_iter().filter_map(read).collect(),
        namespaces: [
            ("shop".into(), team("shop")),
            ("ptn-a".into(), team("a")),
            ("kube-system".into(), team("k")),
        ]
        .into(),
        nodes: ["n1", "n2"].map(|name| Node { name: name.into(), uplink: "eth0".into() }).into(),
    }
}

#[test]
fn one_policy_as_its_node_gets_it() {
    let text = compile(&world())["n1"].text().unwrap();
    let expected = "\
add table inet payplane_policy
delete table inet payplane_policy
table inet payplane_policy {
	set known {
		type ipv4_addr
		elements = { 10.1.1.1, 10.1.1.2 }
	}
	set itself {
		type ipv4_addr . ipv4_addr
		elements = { 10.1.1.1 . 10.1.1.1, 10.1.1.2 . 10.1.1.2 }
	}
	set peers_2 {
		type ipv4_addr
		elements = { 10.1.1.2 }
	}
	set peers_1 {
		type ipv4_addr
		elements = { 10.1.2.1 }
	}
	set peers_0 {
		type ipv4_addr
		elements = { 10.1.2.2 }
	}
	set tcp_port_app {
		type ipv4_addr . inet_service
		elements = { 10.1.1.1 . 8443, 10.1.1.2 . 8443, 10.1.2.1 . 8443, 10.1.2.2 . 8443 }
	}
	chain ingress_0 {
		ip saddr @peers_0 tcp dport 9000-9010 return
		ip saddr @peers_0 ip daddr . tcp dport @tcp_port_app return
		ip saddr 10.8.0.0/16 ip saddr != 10.8.1.0/24 ip saddr != 10.8.1.128/25 tcp dport 9000-9010 return
		ip saddr 10.8.0.0/16 ip saddr != 10.8.1.0/24 ip saddr != 10.8.1.128/25 ip daddr . tcp dport @tcp_port_app return
		drop
	}
	chain egress_1 {
		ip daddr @peers_1 tcp dport 8443 return
		ip daddr @peers_2 udp dport 53 return
		drop
	}
	map egress {
		type ipv4_addr : verdict
		elements = { 10.1.1.1 : jump egress_1 }
	}
	map ingress {
		type ipv4_addr : verdict
		elements = { 10.1.1.1 : jump ingress_0 }
	}
";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn a_node_without_governed_pods_has_no_chains_of_its_own() {
    let rulesets = compile(&world());
    assert!(rulesets["n2"].chains.is_empty());
    assert_eq!(rulesets["n2"].known.len(), 2, "the pod on the node's own address is not one of them");
}
