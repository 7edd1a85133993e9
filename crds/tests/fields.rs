//! A field enters a kind only when a suite shows its effect: `fields.yaml` names
//! the test of each.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use payplane_crds::schema;
use serde_json::Value;

/// The fields below a schema that hold values, as dotted paths.
fn fields(schema: &Value, path: &str, found: &mut BTreeSet<String>) {
    if schema["items"].is_object() {
        return fields(&schema["items"], &format!("{path}[]"), found);
    }
    let Some(properties) = schema["properties"].as_object() else {
        found.insert(path.to_owned());
        return;
    };
    for (name, inner) in properties {
        let inside = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        fields(inner, &inside, found);
    }
}

#[test]
fn every_field_names_the_test_that_shows_its_effect() {
    let root = Path::new(".");
    let text = std::fs::read_to_string(root.join("fields.yaml")).unwrap();
    let listed: BTreeMap<String, BTreeMap<String, String>> = serde_yaml::from_str(&text).unwrap();
    let reasons = std::fs::read_to_string(root.join("reasons.yaml")).unwrap();
    for crd in schema::crds().unwrap() {
        let crd = serde_json::to_value(crd).unwrap();
        let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut found = BTreeSet::new();
        fields(spec, "", &mut found);
        let rows = &listed[crd["spec"]["names"]["kind"].as_str().unwrap()];
        assert_eq!(rows.keys().cloned().collect::<BTreeSet<_>>(), found, "fields.yaml against the kind");
        for (field, test) in rows {
            if let Some(reason) = test.strip_prefix("reasons.yaml ") {
                assert!(reasons.contains(&format!("reason: {reason}")), "{field}: {test}");
                continue;
            }
            let (suite, name) = test.split_once("::").unwrap();
            let suite = root.join(format!("../e2e/suites/tests/cluster/{suite}.rs"));
            let text = std::fs::read_to_string(&suite).unwrap_or_default();
            assert!(text.contains(&format!("fn {name}(")), "{field}: there is no {test}");
        }
    }
}
