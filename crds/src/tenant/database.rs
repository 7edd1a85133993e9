//! Where the books are kept.

use std::collections::BTreeMap;

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::parameters;
use crate::quantity::Quantity;
use crate::resources::Resources;

/// PostgreSQL with its default settings and CloudNativePG's manager beside it.
const MEMORY_ENOUGH: &str = "!self.?resources.?limits.?memory.hasValue() || \
    quantity(string(self.resources.limits.memory)).compareTo(quantity('256Mi')) >= 0";

/// A managed or an external PostgreSQL: exactly one, never exchanged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.managed) != has(self.external)").message("exactly one of managed and external must be given"))]
pub struct Database {
    /// A PostgreSQL that CloudNativePG runs in the tenant's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed: Option<ManagedDatabase>,
    /// A PostgreSQL that the bank runs itself. The migration checks its version,
    /// its durability settings and its rights before the first write.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalDatabase>,
}

/// The managed database's size.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(MEMORY_ENOUGH).field_path(".resources.limits.memory").message("a database needs at least 256Mi of memory"))]
pub struct ManagedDatabase {
    /// PostgreSQL servers, 1 to 9: a primary and its standbys. Left out: 3 for Production,
    /// 1 for Development. It may only grow. With more than one, a payment is acknowledged
    /// once a standby has it too; of two, neither can be missed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9))]
    pub instances: Option<i32>,
    /// The volume of each instance. Left out: 10Gi for Production, 1Gi for Development.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
    /// CPU and memory of each instance. Left out: 100m and 256Mi are kept free, 1Gi is the limit;
    /// a limit of memory is at least 256Mi.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// PostgreSQL settings, e.g. `max_connections: "300"`. Only settings of size
    /// and speed are allowed, none that weakens durability; the field reference
    /// lists them. At most 32. Left out: `max_connections` 100, `shared_buffers` 64MB,
    /// `default_statistics_target` 10.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "parameters::schema")]
    #[x_kube(validation = Rule::new(parameters::rule()).message(parameters::MESSAGE))]
    pub parameters: BTreeMap<String, String>,
}

/// A volume for each database instance.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// Bytes, e.g. `100Gi`, at least 1Gi. It may only grow, and once given it must stay given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::quantity::schema")]
    #[x_kube(validation = Rule::new("quantity(string(self)).compareTo(quantity('1Gi')) >= 0").message("a database needs at least 1Gi"))]
    pub size: Option<Quantity>,
    /// The StorageClass. Left out: the cluster's default. Immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub class_name: Option<String>,
}

/// How to reach the bank's own PostgreSQL. TLS with a verified server name is
/// always required.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExternalDatabase {
    /// The server's DNS name or address, as its certificate has it. It must lie in
    /// `network.egressCidrs`.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[A-Za-z0-9]([-.:A-Za-z0-9]*[A-Za-z0-9])?$"))]
    #[x_kube(validation = Rule::new("!isIP(self) || !(ip(self).isLoopback() || ip(self).isLinkLocalUnicast() || ip(self).isUnspecified())").message("loopback and link-local addresses are refused"))]
    pub host: String,
    /// The server's port, 1 to 65535.
    #[serde(default = "postgresql_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The database's name; it must exist.
    #[serde(default = "database_name")]
    #[schemars(length(max = 63), regex(pattern = "^[a-z_][a-z0-9_]*$"))]
    pub database: String,
    /// The Secret, of type `payplane.io/database-credentials`, whose `ca.crt` holds the
    /// certificates (PEM) that the server's certificate must lead to.
    pub ca: SecretName,
    /// The Secret, of type `payplane.io/database-credentials`, with the passwords of the
    /// four login roles, under the keys `payplane_owner`, `ledger`, `gateway` and `payplane_vault`.
    pub credentials: SecretName,
}

/// A Secret in the tenant's namespace, of type
/// `payplane.io/database-credentials`. The operator makes the namespace first
/// and waits for the Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretName {
    /// Its bare name.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

fn postgresql_port() -> u16 {
    5432
}

fn database_name() -> String {
    "payplane".to_owned()
}
