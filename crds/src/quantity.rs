//! Kubernetes quantities in a schema that bounds them.

pub use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use schemars::{Schema, SchemaGenerator, json_schema};

/// Whole or decimal numbers with the usual suffixes. Exponents and signs are
/// left out: nobody writes them, and CEL would have to bound them.
const PATTERN: &str = r"^[0-9]{1,12}(\.[0-9]{1,3})?(m|k|M|G|T|Ki|Mi|Gi|Ti)?$";
/// The longest text that the pattern allows, which bounds the cost of CEL.
const LENGTH_MAX: u32 = 18;

pub(crate) fn schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "x-kubernetes-int-or-string": true,
        "pattern": PATTERN,
        "maxLength": LENGTH_MAX,
    })
}
