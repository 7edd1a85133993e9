//! What the operator says about a tenant.
//!
//! Nothing here moves while all is well: no time but `lastTransitionTime`, no
//! text of an error, no counter.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{Profile, ZoneSpread};
use crate::quantity::Quantity;
use crate::resources::Resources;

/// What the operator found and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentTenantStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Available, Progressing, Degraded, BooksBalanced, BackupHealthy and Paused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::condition::schema")]
    pub conditions: Vec<Condition>,
    /// The id of the tenant's books, a UUID. Absent until the migration wrote the
    /// database's control row.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 36))]
    pub books_id: Option<String>,
    /// The tenant's namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
    /// The version of the database's schema.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schema_version: Option<u32>,
    /// The gateway's config that was rendered last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigStatus>,
    /// What the last passed probe booked on: image, config, schema and database
    /// primary, as a digest. Another one calls for another probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub probe_fingerprint: Option<String>,
    /// The spec with everything resolved that was left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<Effective>,
}

/// A rendered config.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigStatus {
    /// Rises with every change of the config.
    pub epoch: u64,
    /// Hex SHA-256 of the config's content.
    #[schemars(length(max = 64))]
    pub hash: String,
}

/// What is in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    /// The currencies that the books are kept in, or will be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 3)), extend("x-kubernetes-list-type" = "set"))]
    pub currencies: Vec<String>,
    /// The size of the stack.
    pub profile: Profile,
    /// Where the books are kept.
    pub database: EffectiveDatabase,
    /// The scale of the payment services.
    pub components: EffectiveComponents,
    /// What the tenant may ask of the cluster.
    pub quota: EffectiveQuota,
    /// How strictly pods spread over zones.
    pub zone_spread: ZoneSpread,
}

/// The database in force: one of the two.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveDatabase {
    /// The managed database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed: Option<EffectiveManagedDatabase>,
    /// The external database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<EffectiveExternalDatabase>,
}

/// The managed database in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveManagedDatabase {
    /// PostgreSQL servers.
    pub instances: i32,
    /// How many standbys must have a commit before it is acknowledged.
    pub synchronous_standbys: i32,
    /// The volume of each instance.
    pub storage: EffectiveStorage,
    /// CPU and memory of each instance.
    pub resources: Resources,
    /// PostgreSQL settings, those that the operator chose included.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub parameters: BTreeMap<String, String>,
}

/// A volume in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveStorage {
    /// Bytes.
    #[schemars(schema_with = "crate::quantity::schema")]
    pub size: Quantity,
    /// The StorageClass; absent where the cluster's default is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub class_name: Option<String>,
}

/// The external database in force.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveExternalDatabase {
    /// The server's name or address.
    #[schemars(length(max = 253))]
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// The database's name.
    #[schemars(length(max = 63))]
    pub database: String,
}

/// The payment services in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveComponents {
    /// The gateway.
    pub gateway: EffectiveComponent,
    /// The ledger.
    pub ledger: EffectiveComponent,
}

/// A service in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveComponent {
    /// Pods.
    pub replicas: i32,
    /// CPU and memory of each pod.
    pub resources: Resources,
}

/// The quota in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EffectiveQuota {
    /// CPUs.
    #[schemars(schema_with = "crate::quantity::schema")]
    pub cpu: Quantity,
    /// Bytes of memory.
    #[schemars(schema_with = "crate::quantity::schema")]
    pub memory: Quantity,
}
