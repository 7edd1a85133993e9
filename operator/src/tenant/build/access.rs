//! Who may do what in the tenant's namespace.

use std::collections::BTreeSet;

use serde_json::json;

use super::metadata;
use crate::framework::object::Object;
use crate::tenant::validate::Tenant;

const RBAC: &str = "rbac.authorization.k8s.io";

/// A component's identity. None of them speaks to the API server.
#[must_use]
pub fn build_service_account(tenant: &Tenant, name: &str) -> Object {
    Object::new(json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(tenant, name, name, true),
        "automountServiceAccountToken": false,
    }))
}

/// Groups of `spec.access` to the roles that the chart of the kinds brings.
/// Who may change may also look.
#[must_use]
pub fn build_bindings(tenant: &Tenant) -> Vec<Object> {
    let access = tenant.spec.access.clone().unwrap_or_default();
    let admins = access.tenant_admin_groups;
    let viewers: BTreeSet<_> = access.tenant_viewer_groups.iter().chain(&admins).cloned().collect();
    [("tenant-admin", admins.into_iter().collect()), ("tenant-viewer", viewers)]
        .into_iter()
        .map(|(name, groups): (&str, BTreeSet<String>)| {
            let subject = |group: &String| json!({"apiGroup": RBAC, "kind": "Group", "name": group});
            Object::new(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": metadata(tenant, "tenant", name, true),
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": format!("payplane-{name}")},
                "subjects": groups.iter().map(subject).collect::<Vec<_>>(),
            }))
        })
        .collect()
}
