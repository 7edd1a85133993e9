//! The third step: a pure function makes one struct of every object. It asks
//! nobody; what it needs to know is in its arguments.

pub mod access;
pub mod channel;
pub mod config;
pub mod database;
pub mod namespace;
pub mod network;
pub mod risk;
pub mod workload;

use serde_json::{Value, json};

use crate::framework::object::Object;
use crate::settings::Settings;
use crate::tenant::validate::Tenant;

/// What the build must know beside the tenant.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Addresses of the API server, which the database's pods must reach.
    pub api_servers: Vec<(String, i64)>,
    /// All standbys stream: from here on commits may wait for one of them.
    pub standbys_stream: bool,
    /// The namespace is marked with these books.
    pub books_marked: Option<String>,
}

/// Metadata of a child: labels, and the tenant as owner unless it holds books.
#[must_use]
pub fn metadata(tenant: &Tenant, component: &str, name: &str, owned: bool) -> Value {
    let mut metadata = json!({
        "name": name,
        "namespace": tenant.namespace,
        "labels": labels(tenant, component),
    });
    if owned {
        metadata["ownerReferences"] = owner(tenant);
    }
    metadata
}

/// The labels of every child and pod.
#[must_use]
pub fn labels(tenant: &Tenant, component: &str) -> Value {
    json!({
        "app.kubernetes.io/managed-by": "payplane-operator",
        "payplane.io/tenant": tenant.name,
        "payplane.io/component": component,
    })
}

/// What selects a component's pods.
#[must_use]
pub fn selector(tenant: &Tenant, component: &str) -> Value {
    json!({"payplane.io/tenant": tenant.name, "payplane.io/component": component})
}

fn owner(tenant: &Tenant) -> Value {
    json!([{
        "apiVersion": "payplane.io/v1alpha1",
        "kind": "PaymentTenant",
        "name": tenant.name,
        "uid": tenant.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    }])
}

/// What can be made before anything else is there.
#[derive(Clone, Debug)]
pub struct Foundation {
    pub quota: Object,
    pub limits: Object,
    pub service_accounts: Vec<Object>,
    pub bindings: Vec<Object>,
    pub policies: Vec<Object>,
}

/// What serves.
#[derive(Clone, Debug)]
pub struct Services {
    pub ledger_config: Object,
    pub deployments: Vec<Object>,
    pub services: Vec<Object>,
    pub budgets: Vec<Object>,
}

/// Quota, rights and flows.
#[must_use]
pub fn foundation(tenant: &Tenant, facts: &Facts, settings: &Settings) -> Foundation {
    let accounts = ["gateway", "ledger", "migrate"].map(|name| access::build_service_account(tenant, name));
    Foundation {
        quota: namespace::build_quota(tenant),
        limits: namespace::build_limits(tenant),
        service_accounts: accounts.into(),
        bindings: access::build_bindings(tenant),
        policies: network::build_policies(tenant, facts, settings),
    }
}

/// Ledger and gateway.
#[must_use]
pub fn services(tenant: &Tenant, settings: &Settings) -> Services {
    Services {
        ledger_config: config::build_ledger_config(tenant),
        deployments: vec![
            workload::build_deployment(tenant, settings, workload::Kind::Ledger),
            workload::build_deployment(tenant, settings, workload::Kind::Gateway),
        ],
        services: vec![
            workload::build_service(tenant, workload::Kind::Ledger),
            workload::build_service(tenant, workload::Kind::Gateway),
        ],
        budgets: vec![
            workload::build_budget(tenant, workload::Kind::Ledger),
            workload::build_budget(tenant, workload::Kind::Gateway),
        ],
    }
}
