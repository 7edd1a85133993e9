//! An object to be applied, and whether the live one already is as wanted.

use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Says what was applied last, so that a field that is no longer wanted is seen too.
pub const ANNOTATION_APPLIED: &str = "payplane.io/applied";

/// A desired object: apiVersion, kind, metadata and the fields that we own.
#[derive(Clone, Debug, PartialEq)]
pub struct Object(pub Value);

impl Object {
    /// Makes an object of a JSON literal and notes its digest in an annotation.
    #[must_use]
    pub fn new(mut value: Value) -> Self {
        let digest = hex::encode(&Sha256::digest(value.to_string())[..16]);
        value["metadata"]["annotations"][ANNOTATION_APPLIED] = digest.into();
        Self(value)
    }

    #[must_use]
    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap_or_default()
    }

    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.0["metadata"]["namespace"].as_str()
    }

    #[must_use]
    pub fn kind(&self) -> &str {
        self.0["kind"].as_str().unwrap_or_default()
    }

    #[must_use]
    pub fn resource(&self) -> ApiResource {
        resource(self.0["apiVersion"].as_str().unwrap_or_default(), self.kind())
    }

    /// Does the live object have every field that this one wants?
    #[must_use]
    pub fn is_met_by(&self, live: &Value) -> bool {
        contains(live, &self.0)
    }
}

/// The API resource of a kind; plurals follow the usual rules.
#[must_use]
pub fn resource(api_version: &str, kind: &str) -> ApiResource {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, kind);
    let plural = match kind {
        "NetworkPolicy" => "networkpolicies".to_owned(),
        "StorageClass" => "storageclasses".to_owned(),
        _ => format!("{}s", kind.to_lowercase()),
    };
    ApiResource::from_gvk_with_plural(&gvk, &plural)
}

/// What selects or lets in: with anything more in it, it is another one.
const WHOLE: [&str; 6] =
    ["selector", "labelSelector", "podSelector", "namespaceSelector", "ingress", "egress"];

/// Does `live` have everything that `wanted` says? Maps may hold more, but for
/// those of `WHOLE`; lists must be of equal length, since we own the lists that we
/// write. `null`, empty maps and empty lists are what the API server leaves out.
#[must_use]
pub fn contains(live: &Value, wanted: &Value) -> bool {
    match wanted {
        Value::Object(fields) => fields.iter().all(|(name, value)| {
            if WHOLE.contains(&name.as_str()) && !holds_no_more(&live[name], value) {
                return false;
            }
            let empty = value.is_null()
                || value.as_object().is_some_and(serde_json::Map::is_empty)
                || value.as_array().is_some_and(Vec::is_empty);
            match live.get(name) {
                Some(have) => contains(have, value) || (empty && have.is_null()),
                None => empty || name == "stringData",
            }
        }),
        Value::Array(items) => live.as_array().is_some_and(|have| {
            have.len() == items.len() && have.iter().zip(items).all(|(have, item)| contains(have, item))
        }),
        _ => live == wanted,
    }
}

/// Is there nothing in `live` that `wanted` does not say?
fn holds_no_more(live: &Value, wanted: &Value) -> bool {
    match live {
        Value::Object(fields) => fields
            .iter()
            .all(|(name, have)| wanted.get(name).map_or(have.is_null(), |value| holds_no_more(have, value))),
        Value::Array(items) => items.iter().enumerate().all(|(n, have)| holds_no_more(have, &wanted[n])),
        _ => live.is_null() || live == wanted,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_selects_or_lets_in_is_whole() {
        let peer = json!({"podSelector": {"matchLabels": {"a": "b"}}});
        let rule = json!({"from": [peer], "ports": [{"port": 1, "protocol": "TCP"}]});
        let spec = json!({"podSelector": {}, "ingress": [rule], "egress": [], "selector": {"a": "b"}});
        let wanted = Object::new(json!({"metadata": {"name": "a"}, "spec": spec}));
        let mut live = wanted.0.clone();
        live["spec"].as_object_mut().unwrap().remove("egress");
        live["spec"]["type"] = "ClusterIP".into();
        assert!(wanted.is_met_by(&live));
        for (path, more) in [
            ("/spec/selector/c", json!("d")),
            ("/spec/podSelector/matchLabels", json!({"a": "b"})),
            ("/spec/ingress/0/from/0/namespaceSelector", json!({})),
            ("/spec/ingress/0/from/0/podSelector/matchLabels/c", json!("d")),
            ("/spec/ingress/0/ports/0/endPort", json!(65535)),
            ("/spec/egress", json!([{}])),
        ] {
            let (parent, name) = path.rsplit_once('/').unwrap();
            let mut edited = live.clone();
            edited.pointer_mut(parent).unwrap()[name] = more;
            assert!(!wanted.is_met_by(&edited), "{path}");
        }
    }

    #[test]
    fn defaults_of_the_server_are_no_difference_but_edits_are() {
        let wanted = Object::new(
            json!({"kind": "Service", "metadata": {"name": "a"}, "spec": {"ports": [{"port": 1}], "x": []}}),
        );
        let mut live = wanted.0.clone();
        live["spec"] = json!({"ports": [{"port": 1, "protocol": "TCP"}], "type": "ClusterIP"});
        live["metadata"]["uid"] = "u".into();
        assert!(wanted.is_met_by(&live));
        live["spec"]["ports"][0]["port"] = 2.into();
        assert!(!wanted.is_met_by(&live));
    }

    #[test]
    fn a_field_that_is_no_longer_wanted_is_a_difference() {
        let before = Object::new(json!({"metadata": {"name": "a"}, "data": {"a": "1", "b": "2"}}));
        let after = Object::new(json!({"metadata": {"name": "a"}, "data": {"a": "1"}}));
        assert!(!after.is_met_by(&before.0));
    }

    #[test]
    fn plurals_are_the_servers() {
        assert_eq!(resource("networking.k8s.io/v1", "NetworkPolicy").plural, "networkpolicies");
        assert_eq!(resource("policy/v1", "PodDisruptionBudget").plural, "poddisruptionbudgets");
        assert_eq!(resource("v1", "Secret").group, "");
    }
}
