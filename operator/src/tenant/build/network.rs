//! The declared flows. Everything else is dropped.

use ipnet::IpNet;
use payplane_api::names::{PORT_ADMIN, PORT_APP, PORT_DATABASE, PORT_HEALTH, PORT_LEDGER};
use serde_json::{Value, json};

use super::{Facts, metadata, selector};
use crate::framework::object::Object;
use crate::settings::Settings;
use crate::tenant::validate::Tenant;

/// CloudNativePG's status port of an instance.
const PORT_INSTANCE_STATUS: u16 = 8000;
/// Where apps may be notified.
const PORTS_NOTIFY: [u16; 2] = [443, 8443];

/// They stay with the books: a database that was released awake is as shut off as before.
const WITH_THE_BOOKS: [&str; 2] = ["default-deny", "database"];

/// Every policy of the tenant but those of its channels.
#[must_use]
pub fn build_policies(tenant: &Tenant, facts: &Facts, settings: &Settings) -> Vec<Object> {
    let mut policies = vec![
        policy(tenant, "tenant", "default-deny", &json!({}), &[], &[]),
        build_gateway_policy(tenant, settings),
        build_ledger_policy(tenant, settings),
        build_migrate_policy(tenant, settings),
    ];
    if tenant.managed().is_some() {
        policies.push(build_database_policy(tenant, facts, settings));
    }
    policies
}

fn build_gateway_policy(tenant: &Tenant, settings: &Settings) -> Object {
    let from = tenant.spec.network.as_ref().and_then(|n| n.ingress_from.clone()).unwrap_or_default();
    let inside: Vec<Value> = from.namespaces.iter().map(|name| namespace(name)).collect();
    let outside = blocks(&from.cidrs, settings);
    let mut ingress = vec![
        rule("from", &[namespace(&settings.pod_namespace)], &[PORT_ADMIN]),
        rule("from", &[namespace(&settings.monitoring_namespace)], &[PORT_HEALTH]),
    ];
    if !inside.is_empty() {
        ingress.push(rule("from", &inside, &[PORT_APP, PORT_ADMIN]));
    }
    if !outside.is_empty() {
        ingress.push(rule("from", &outside, &[PORT_APP]));
    }
    let mut egress = names_and_database(tenant, settings);
    egress.push(rule("to", &[component(tenant, "ledger")], &[PORT_LEDGER]));
    // Apps' endpoints. An empty list of peers would let everything through.
    let apps = blocks(&egress_cidrs(tenant), settings);
    if !apps.is_empty() {
        egress.push(rule("to", &apps, &PORTS_NOTIFY));
    }
    policy(tenant, "gateway", "gateway", &selector(tenant, "gateway"), &ingress, &egress)
}

fn build_ledger_policy(tenant: &Tenant, settings: &Settings) -> Object {
    let ingress = vec![
        rule("from", &[component(tenant, "gateway"), namespace(&settings.pod_namespace)], &[PORT_LEDGER]),
        rule("from", &[namespace(&settings.monitoring_namespace)], &[PORT_HEALTH]),
    ];
    policy(
        tenant,
        "ledger",
        "ledger",
        &selector(tenant, "ledger"),
        &ingress,
        &names_and_database(tenant, settings),
    )
}

fn build_migrate_policy(tenant: &Tenant, settings: &Settings) -> Object {
    policy(
        tenant,
        "migrate",
        "migrate",
        &selector(tenant, "migrate"),
        &[],
        &names_and_database(tenant, settings),
    )
}

/// What CloudNativePG's pods need: each other, its operator, the API server, DNS.
fn build_database_policy(tenant: &Tenant, facts: &Facts, settings: &Settings) -> Object {
    let own = json!({"podSelector": {"matchLabels": {"cnpg.io/cluster": "database"}}});
    let clients = ["ledger", "gateway", "migrate"].map(|name| component(tenant, name));
    let ingress = vec![
        rule("from", &[&clients[..], std::slice::from_ref(&own)].concat(), &[PORT_DATABASE]),
        rule(
            "from",
            &[own.clone(), namespace(&settings.cnpg_namespace)],
            &[PORT_DATABASE, PORT_INSTANCE_STATUS],
        ),
    ];
    let mut egress = vec![dns(), rule("to", &[own], &[PORT_DATABASE, PORT_INSTANCE_STATUS])];
    for (address, port) in &facts.api_servers {
        let prefix = if address.contains(':') { 128 } else { 32 };
        egress.push(json!({
            "to": [{"ipBlock": {"cidr": format!("{address}/{prefix}")}}],
            "ports": [{"protocol": "TCP", "port": port}],
        }));
    }
    policy(tenant, "database", "database", &json!({"cnpg.io/cluster": "database"}), &ingress, &egress)
}

/// The name of a channel's flow.
#[must_use]
pub fn channel_policy_name(channel: &str) -> String {
    format!("channel-{channel}")
}

/// The flow to a simulated network: pods of one namespace by their labels. One that plays
/// a real network sends notifications, too. Networks outside are reached by the tenant's
/// `egressCidrs`, and reach the gateway as its callers do.
#[must_use]
pub fn build_channel_policy(tenant: &Tenant, channel: &payplane_crds::Channel) -> Option<Object> {
    let name = channel.metadata.name.as_deref()?;
    let (service, pod_labels) = channel.spec.simulated()?;
    let pods = json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": service.namespace}},
        "podSelector": {"matchLabels": pod_labels},
    });
    let ingress: Vec<_> =
        channel.spec.network.iter().map(|_| rule("from", std::slice::from_ref(&pods), &[PORT_APP])).collect();
    let egress = [rule("to", &[pods], &[service.port])];
    let gateway = selector(tenant, "gateway");
    Some(policy(tenant, "channel", &channel_policy_name(name), &gateway, &ingress, &egress))
}

fn policy(
    tenant: &Tenant,
    part: &str,
    name: &str,
    pods: &Value,
    ingress: &[Value],
    egress: &[Value],
) -> Object {
    let is_channel = name.starts_with("channel-");
    let types =
        if is_channel && ingress.is_empty() { json!(["Egress"]) } else { json!(["Ingress", "Egress"]) };
    Object::new(json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(tenant, part, name, !WITH_THE_BOOKS.contains(&name)),
        "spec": {
            "podSelector": if pods.as_object().is_some_and(|p| p.is_empty()) { json!({}) } else { json!({"matchLabels": pods}) },
            "policyTypes": types,
            "ingress": ingress,
            "egress": egress,
        },
    }))
}

/// Networks outside the cluster: its own pods are met by their labels, never by an address.
fn blocks(cidrs: &[String], settings: &Settings) -> Vec<Value> {
    let inside = |inner: &str, outer: &str| {
        let (inner, outer) = (inner.parse::<IpNet>(), outer.parse::<IpNet>());
        inner.is_ok_and(|inner| outer.is_ok_and(|outer| outer.contains(&inner)))
    };
    let block = |cidr: &String| {
        if settings.closed().any(|denied| inside(cidr, denied)) {
            return None;
        }
        let except: Vec<_> = settings.closed().filter(|denied| inside(denied, cidr)).collect();
        Some(if except.is_empty() {
            json!({"ipBlock": {"cidr": cidr}})
        } else {
            json!({"ipBlock": {"cidr": cidr, "except": except}})
        })
    };
    cidrs.iter().filter_map(block).collect()
}

fn rule(direction: &str, peers: &[Value], ports: &[u16]) -> Value {
    let ports: Vec<_> = ports.iter().map(|port| json!({"protocol": "TCP", "port": port})).collect();
    json!({direction: peers, "ports": ports})
}

fn namespace(name: &str) -> Value {
    json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}})
}

fn component(tenant: &Tenant, name: &str) -> Value {
    json!({"podSelector": {"matchLabels": selector(tenant, name)}})
}

fn dns() -> Value {
    let pods = json!({"k8s-app": "kube-dns"});
    json!({
        "to": [{
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
            "podSelector": {"matchLabels": pods},
        }],
        // 5353: where the DNS pods listen behind the Service on some clusters.
        "ports": [
            {"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53},
            {"protocol": "UDP", "port": 5353}, {"protocol": "TCP", "port": 5353},
        ],
    })
}

fn names_and_database(tenant: &Tenant, settings: &Settings) -> Vec<Value> {
    [dns()].into_iter().chain(database(tenant, settings)).collect()
}

fn egress_cidrs(tenant: &Tenant) -> Vec<String> {
    tenant.spec.network.as_ref().map(|network| network.egress_cidrs.clone()).unwrap_or_default()
}

fn database(tenant: &Tenant, settings: &Settings) -> Option<Value> {
    match tenant.external() {
        None => Some(rule(
            "to",
            &[json!({"podSelector": {"matchLabels": {"cnpg.io/cluster": "database"}}})],
            &[PORT_DATABASE],
        )),
        Some(external) => {
            let to = blocks(&egress_cidrs(tenant), settings);
            // An empty list of peers would let everything through.
            (!to.is_empty()).then(|| rule("to", &to, &[external.port]))
        }
    }
}
