//! The namespace, and how much of the cluster it may take.

use payplane_api::names::ANNOTATION_BOOKS_ID;
use serde_json::json;

use super::{labels, metadata};
use crate::framework::object::Object;
use crate::settings::Settings;
use crate::tenant::gates::ANNOTATION_TENANT_UID;
use crate::tenant::validate::Tenant;

/// The namespace holds books: it has no owner, and says which books.
#[must_use]
pub fn build_namespace(tenant: &Tenant, books: Option<&str>) -> Object {
    let mut labels = labels(tenant, "tenant");
    labels["pod-security.kubernetes.io/enforce"] = "restricted".into();
    labels["pod-security.kubernetes.io/enforce-version"] = "latest".into();
    let mut metadata = json!({"name": tenant.namespace, "labels": labels, "annotations": {ANNOTATION_TENANT_UID: tenant.uid}});
    if let Some(books) = books {
        metadata["annotations"][ANNOTATION_BOOKS_ID] = books.into();
    }
    Object::new(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
}

/// The operator's own rights in this namespace, and nowhere else.
#[must_use]
pub fn build_operator_binding(tenant: &Tenant, settings: &Settings) -> Object {
    Object::new(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata(tenant, "tenant", "payplane-operator", false),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "payplane-operator-tenant",
        },
        "subjects": [{
            "kind": "ServiceAccount", "name": settings.service_account, "namespace": settings.pod_namespace,
        }],
    }))
}

/// What all pods together may ask for.
#[must_use]
pub fn build_quota(tenant: &Tenant) -> Object {
    let quota = &tenant.effective.quota;
    // Twice what is declared, for rolling updates, and Jobs.
    let components = &tenant.effective.components;
    let instances = tenant.managed().map_or(0, |managed| managed.instances);
    let declared = [components.gateway.replicas, components.ledger.replicas, instances];
    let pods = declared.into_iter().fold(8, |sum: i32, n| sum.saturating_add(n.saturating_mul(2))).max(64);
    Object::new(json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": metadata(tenant, "tenant", "tenant", true),
        "spec": {"hard": {"requests.cpu": quota.cpu, "requests.memory": quota.memory, "pods": pods.to_string()}},
    }))
}

/// What a container gets that does not say: the quota needs a number.
#[must_use]
pub fn build_limits(tenant: &Tenant) -> Object {
    Object::new(json!({
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": metadata(tenant, "tenant", "tenant", true),
        "spec": {"limits": [{
            "type": "Container",
            "default": {"memory": "256Mi"},
            "defaultRequest": {"cpu": "10m", "memory": "32Mi"},
        }]},
    }))
}
