//! `rules.yaml` has a row for every CEL rule: accepted, refused and on an update.
//! The rows are sent to a real API server by e2e/suites/tests/crd_rules.rs,
//! because cost limits and Kubernetes' CEL libraries are only there.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "a test's helpers fail the test")]

use std::collections::BTreeMap;

use payplane_crds::condition::{Cause, Reason};
use payplane_crds::{samples, schema};
use serde_json::Value;

/// Rules that no manifest can reach yet, and why.
const UNREACHABLE: &[(&str, &str)] = &[];

fn table() -> Vec<Value> {
    let path = "rules.yaml";
    serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Every CEL rule's message, and whether the rule compares with the old object.
fn rules(schema: &Value, found: &mut BTreeMap<String, bool>) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().expect("every rule says what is wrong").to_owned();
        found.insert(message, rule["rule"].as_str().unwrap().contains("oldSelf"));
    }
    for inner in schema["properties"].as_object().into_iter().flat_map(|p| p.values()) {
        rules(inner, found);
    }
    rules_below(&schema["items"], found);
    rules_below(&schema["additionalProperties"], found);
}

fn rules_below(schema: &Value, found: &mut BTreeMap<String, bool>) {
    if schema.is_object() {
        rules(schema, found);
    }
}

#[test]
fn every_rule_is_accepted_refused_and_updated() {
    let mut found = BTreeMap::new();
    for crd in schema::crds().unwrap() {
        let crd = serde_json::to_value(crd).unwrap();
        rules(&crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"], &mut found);
    }
    assert!(found.len() >= 30, "the walk finds the rules: {}", found.len());
    let table = table();
    let mut missing = vec![];
    for (message, compares) in &found {
        if UNREACHABLE.iter().any(|(unreachable, _)| unreachable == message) {
            continue;
        }
        let groups: Vec<&Value> = table.iter().filter(|group| group["message"] == message.as_str()).collect();
        let cases = |key: &str| -> Vec<&Value> {
            groups.iter().flat_map(|g| g[key].as_array().into_iter().flatten()).collect()
        };
        let (accepted, refused) = (cases("accepted"), cases("refused"));
        let updated = accepted.iter().chain(&refused).any(|case| case.get("update").is_some());
        let on_update = !compares || refused.iter().any(|case| case.get("update").is_some());
        if accepted.is_empty() || refused.is_empty() || !updated || !on_update {
            missing.push(message);
        }
    }
    assert!(missing.is_empty(), "rules.yaml lacks an accepted, a refused or an updated case of {missing:#?}");
}

#[test]
fn groups_name_samples_that_exist() {
    let names: Vec<&str> = samples::all().iter().map(|sample| sample.name).collect();
    for group in table() {
        assert!(names.contains(&group["sample"].as_str().unwrap()), "{group}");
        assert!(group["field"].is_string() && group["message"].is_string(), "{group}");
    }
}

/// Tidy's word on reasons: what a manifest can cause, a suite must show.
#[test]
fn every_reason_that_a_manifest_can_cause_has_a_row() {
    let path = "reasons.yaml";
    let rows: Vec<Value> = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for row in &rows {
        let known = Reason::ALL.iter().any(|reason| row["reason"] == reason.as_str());
        assert!(known, "no such reason: {row}");
        let shown = row["says"].is_string() && row["mend"].is_object();
        // What is wrong with a name or a place is no field's fault.
        let placed = ["NamespaceNotOurs", "TenantMissing"].contains(&row["reason"].as_str().unwrap());
        assert!(!shown || placed || row["says"].as_str().unwrap().contains("spec."), "no field in {row}");
        if !shown {
            let suite = row["elsewhere"].as_str().unwrap_or_else(|| panic!("nobody shows {row}"));
            let path = format!("../e2e/suites/tests/cluster/{suite}.rs");
            let updates = if suite == "s07_updates" { "updates.yaml" } else { path.as_str() };
            let text = [path.as_str(), updates].map(|path| std::fs::read_to_string(path).unwrap()).concat();
            assert!(text.contains(row["reason"].as_str().unwrap()), "{suite} does not show {row}");
        }
    }
    for reason in Reason::ALL.iter().filter(|reason| reason.cause() == Cause::Manifest) {
        assert!(!reason.remedy().is_empty(), "{reason} has no remedy");
        assert!(
            rows.iter().any(|row| row["reason"] == reason.as_str()),
            "{reason} has no row in reasons.yaml"
        );
    }
}

/// At least ten bad updates of a paying tenant, some for the API server, some for the operator.
#[test]
fn updates_say_who_finds_fault_and_how_they_are_mended() {
    let path = "updates.yaml";
    let rows: Vec<Value> = serde_yaml::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (refused, taken): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row["refused"].is_string());
    assert!(refused.len() + taken.len() >= 10 && !refused.is_empty() && taken.len() >= 5);
    for row in &rows {
        assert!(row["update"].is_object() && row["says"].is_string(), "{row}");
    }
    for row in taken {
        let known = Reason::ALL.iter().find(|reason| row["reason"] == reason.as_str());
        assert!(known.is_some_and(|reason| reason.cause() == Cause::Manifest), "no such reason: {row}");
        assert!(!row["mend"].is_null(), "{row}");
        assert!(row["says"].as_str().unwrap().contains("spec."), "no field in {row}");
    }
}
