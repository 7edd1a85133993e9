//! Compute resources of a container.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use crate::quantity::Quantity;

/// What a container asks for and may use at most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new(at_most("cpu")).field_path(".limits.cpu").message("the cpu limit must not be below the request"),
    validation = Rule::new(at_most("memory")).field_path(".limits.memory").message("the memory limit must not be below the request"),
    validation = Rule::new(at_least("cpu", "50m")).field_path(".limits.cpu").message("a container needs at least 50m of CPU to be ready in time"),
    validation = Rule::new(at_least("memory", "128Mi")).field_path(".limits.memory").message("a container needs at least 128Mi of memory to work under load")
)]
pub struct Resources {
    /// What the scheduler keeps free for each pod. It counts against the tenant's quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<ResourceList>,
    /// What a pod may use at most: at least 50m of CPU, 128Mi of memory. A container above its memory limit is killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<ResourceList>,
}

/// CPU and memory.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceList {
    /// CPUs, e.g. `2` or `500m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::quantity::schema")]
    pub cpu: Option<Quantity>,
    /// Bytes of memory, e.g. `512Mi`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::quantity::schema")]
    pub memory: Option<Quantity>,
}

fn at_least(resource: &str, least: &str) -> String {
    format!(
        "!self.?limits.?{resource}.hasValue() || \
         quantity(string(self.limits.{resource})).compareTo(quantity('{least}')) >= 0"
    )
}

fn at_most(resource: &str) -> String {
    format!(
        "!(self.?requests.?{resource}.hasValue() && self.?limits.?{resource}.hasValue()) || \
         quantity(string(self.requests.{resource})).compareTo(quantity(string(self.limits.{resource}))) <= 0"
    )
}
