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

/// What a schema lacks for people and for servers, as dotted paths.
fn lacking(schema: &Value, path: &str, found: &mut Vec<String>) {
    let kind = schema["type"].as_str().unwrap_or_default();
    let is_bounded = |bound: &str| schema[bound].is_number();
    let fixed = schema["enum"].is_array() || schema["format"].is_string();
    if kind == "array" && !(is_bounded("maxItems") && schema["x-kubernetes-list-type"].is_string()) {
        found.push(format!("{path}: a list has a type and maxItems"));
    }
    if schema["additionalProperties"].is_object() && !is_bounded("maxProperties") {
        found.push(format!("{path}: a map has maxProperties"));
    }
    if kind == "string" && !fixed && !is_bounded("maxLength") {
        found.push(format!("{path}: a text has maxLength"));
    }
    if schema["items"].is_object() {
        lacking(&schema["items"], &format!("{path}[]"), found);
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if !inner["description"].is_string() {
            found.push(format!("{path}: a field has a description"));
        }
        lacking(inner, &path, found);
    }
}

#[test]
fn every_field_is_described_typed_and_bounded() {
    let mut found = vec![];
    for crd in schema::crds().unwrap() {
        let crd = serde_json::to_value(crd).unwrap();
        for part in ["spec", "status"] {
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][part];
            lacking(schema, part, &mut found);
        }
    }
    assert!(found.is_empty(), "{found:#?}");
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
