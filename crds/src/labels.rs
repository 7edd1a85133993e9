//! Maps of labels. What Kubernetes would refuse of a label later, where the
//! operator writes it, is refused here, where somebody reads the answer.

use schemars::{Schema, SchemaGenerator, json_schema};

const RULE: &str = "self.all(key, !format.qualifiedName().validate(key).hasValue() \
                    && !format.labelValue().validate(self[key]).hasValue())";
const MESSAGE: &str = "each must be a label as Kubernetes has them, like app.kubernetes.io/name: simulator";

/// Labels that choose pods.
pub(crate) fn of_pods(_: &mut SchemaGenerator) -> Schema {
    labels(1, 8)
}

/// Labels that choose nodes.
pub(crate) fn of_nodes(_: &mut SchemaGenerator) -> Schema {
    labels(0, 16)
}

fn labels(least: u32, most: u32) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": least,
        "maxProperties": most,
        "additionalProperties": { "type": "string", "maxLength": 63 },
        "x-kubernetes-validations": [{ "rule": RULE, "message": MESSAGE }],
    })
}
