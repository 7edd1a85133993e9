//! The CRDs as the API server gets them: what the derive makes, put right.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Map, Value, json};

use crate::condition::{ConditionType, Reason};
use crate::{Channel, PaymentTenant};

/// Every kind's CRD.
pub fn crds() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    [PaymentTenant::crd(), Channel::crd()].into_iter().map(finish).collect()
}

fn finish(crd: CustomResourceDefinition) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut crd = serde_json::to_value(crd)?;
    crd["metadata"]["annotations"] = json!({
        // Uninstalling the chart must not delete every tenant.
        "helm.sh/resource-policy": "keep",
    });
    let schema = &mut crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    tidy(schema);
    schema["properties"]["status"]["default"] = initial_status();
    // Names of children are made of it, and Services and labels bound those.
    schema["properties"]["metadata"] = json!({ "type": "object", "properties": { "name": {
        "type": "string", "maxLength": 40, "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$",
    }}});
    serde_json::from_value(crd)
}

/// What a tool reads before the operator's first write: an object that nobody
/// looked at is not ready, and says so.
fn initial_status() -> Value {
    json!({ "conditions": [{
        "type": ConditionType::Ready.as_str(),
        "status": "Unknown",
        "reason": Reason::Pending.as_str(),
        "message": "Waiting for the operator.",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }]})
}

/// Removes what the API server ignores or misreads.
fn tidy(schema: &mut Value) {
    let Value::Object(object) = schema else { return };
    // An explicit null would pass as present in CEL; without this it is pruned.
    object.remove("nullable");
    unwrap_optional(object);
    // The API server knows only int32 and int64, and warns of others.
    if let Some(format) = object.get_mut("format") {
        match format.as_str() {
            Some("uint8" | "uint16" | "int16" | "uint32") => *format = json!("int32"),
            Some("uint64") => *format = json!("int64"),
            _ => {}
        }
    }
    if object.get("format") == Some(&json!("int32")) && object.get("maximum").is_none() {
        object.remove("format");
    }
    for key in ["properties", "patternProperties"] {
        if let Some(Value::Object(properties)) = object.get_mut(key) {
            properties.values_mut().for_each(tidy);
        }
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = object.get_mut(key) {
            tidy(inner);
        }
    }
}

/// `Option<T>` comes out as "T or null"; only T remains.
fn unwrap_optional(object: &mut Map<String, Value>) {
    let Some(Value::Array(branches)) = object.get("anyOf") else { return };
    let is_null = |branch: &Value| branch.get("enum") == Some(&json!([null]));
    let [Value::Object(inner), null] = branches.as_slice() else { return };
    if !is_null(null) {
        return;
    }
    let inner = inner.clone();
    object.remove("anyOf");
    for (key, value) in inner {
        match (key.as_str(), object.get_mut(&key)) {
            // The field's own text and rules stand before its type's.
            ("x-kubernetes-validations", Some(Value::Array(rules))) => {
                rules.extend(value.as_array().cloned().unwrap_or_default());
            }
            (_, Some(_)) => {}
            (_, None) => {
                object.insert(key, value);
            }
        }
    }
}
