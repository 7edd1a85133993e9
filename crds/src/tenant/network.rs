//! Whom a tenant's pods may talk to.

use kube::KubeSchema;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

const ARE_CIDRS: &str = "self.all(c, isCIDR(c) && cidr(c) == cidr(c).masked())";
const ARE_CIDRS_MESSAGE: &str =
    "each must be a network like 10.20.0.0/16 or 2001:db8::/32, without bits behind the prefix";

/// The declared flows in and out of the tenant's namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// Networks outside the cluster that the tenant may reach: payment networks,
    /// an external database, apps' notification addresses and the sender of one-time codes
    /// (on ports 443 and 8443),
    /// e.g. `203.0.113.0/24`. At most 32. The cluster's own ranges, loopback and
    /// link-local addresses stay closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "cidrs")]
    #[x_kube(
        validation = Rule::new(ARE_CIDRS).message(ARE_CIDRS_MESSAGE),
        validation = Rule::new("!self.exists(c, isCIDR(c) && ['127.0.0.0/8', '169.254.0.0/16', '::1/128', 'fe80::/10'].exists(n, cidr(n).containsCIDR(c)))")
            .message("loopback and link-local networks are refused")
    )]
    pub egress_cidrs: Vec<String>,
    /// Who may call the app API, beside the platform's own monitoring. The admin API
    /// is open to the namespaces alone, and answers only to the certificates `admin-client` and `admin-checker`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ingress_from: Option<IngressFrom>,
}

/// Callers of the app API. Never another tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressFrom {
    /// Namespaces whose pods may call, e.g. `[shop]`. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))
    )]
    #[x_kube(
        merge_strategy = ListMerge::Set,
        validation = Rule::new("!self.exists(n, n.startsWith('ptn-'))").message("another tenant's namespace is never let in")
    )]
    pub namespaces: Vec<String>,
    /// Networks outside the cluster that may call, e.g. `192.0.2.0/24`. At most 32.
    /// Pods of the cluster are not let in by an address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "cidrs")]
    #[x_kube(validation = Rule::new(ARE_CIDRS).message(ARE_CIDRS_MESSAGE))]
    pub cidrs: Vec<String>,
}

fn cidrs(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 32,
        "items": { "type": "string", "minLength": 1, "maxLength": 43 },
        "x-kubernetes-list-type": "set",
    })
}
