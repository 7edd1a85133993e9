//! The scale of the payment services, and the tenant's share of the cluster.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::Quantity;
use crate::resources::Resources;

/// The payment services.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Components {
    /// Takes payments and refunds from apps and talks to the payment networks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Component>,
    /// Keeps the books.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ledger: Option<Component>,
}

/// The scale of one service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Pods that serve at once, 1 to 32. Left out: 2 for Production, 1 for Development.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 32))]
    pub replicas: Option<i32>,
    /// CPU and memory of each pod. Left out: 50m and 64Mi are kept free, 256Mi is the limit. It works with as many threads as it asks for CPUs, rounded up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// What all pods of the tenant together may request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Quota {
    /// CPUs, e.g. `8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::quantity::schema")]
    pub cpu: Option<Quantity>,
    /// Bytes of memory, e.g. `16Gi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::quantity::schema")]
    pub memory: Option<Quantity>,
}
