//! The field reference: everything that the types say, as Markdown.

use std::fmt::Write as _;

use serde_json::Value;

use crate::condition::{ConditionType, Reason};
use crate::tenant::parameters;
use crate::{generate, schema};

const HEADER: &str = "\
<!-- Generated from crds/src: do not edit. UPDATE=1 cargo test writes it anew. -->
# Field reference

`kubectl explain` shows the same texts. A rule marked *on update* compares with
the object as it was. What the API server cannot know by looking at one object
is found by the operator and said in a condition.
";

/// The whole document.
pub(crate) fn markdown() -> Result<String, generate::Error> {
    let mut text = HEADER.to_owned();
    for crd in schema::crds()? {
        let names = &crd.spec.names;
        let short = names.short_names.iter().flatten().cloned().collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "\n## {} (`{}`, {})\n", names.kind, short, crd.spec.scope);
        let root = serde_json::to_value(crd.spec.versions.first().and_then(|v| v.schema.as_ref()))?;
        let root = &root["openAPIV3Schema"];
        let spec = &root["properties"]["spec"];
        let _ = writeln!(text, "{}\n", words(spec["description"].as_str().unwrap_or_default()));
        section(&mut text, "spec", spec);
        section(&mut text, "status", &root["properties"]["status"]);
        let _ = writeln!(text, "\n### Rules\n\n| field | rule |\n|---|---|");
        rules(&mut text, "", root);
    }
    conditions(&mut text);
    settings(&mut text);
    Ok(text)
}

fn section(text: &mut String, name: &str, schema: &Value) {
    let _ = writeln!(text, "### {name}\n\n| field | type | default | meaning |\n|---|---|---|---|");
    fields(text, name, schema);
    text.push('\n');
}

fn fields(text: &mut String, path: &str, schema: &Value) {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let here = format!("{path}.{name}");
        let default = match field.get("default") {
            Some(value) => format!("`{value}`"),
            None if required.contains(&name.as_str()) => "required".to_owned(),
            None => String::new(),
        };
        let meaning = words(field["description"].as_str().unwrap_or_default());
        let _ = writeln!(text, "| `{here}` | {} | {default} | {meaning} |", kind(field));
        fields(text, &here, field);
        if field["items"]["type"] == "object" {
            fields(text, &format!("{here}[]"), &field["items"]);
        }
    }
}

fn kind(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        return values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" \\| ");
    }
    if field["x-kubernetes-int-or-string"] == true {
        return "quantity".to_owned();
    }
    let plain = |value: &Value| match (value["type"].as_str(), value["format"].as_str()) {
        (Some("string"), Some(format)) => format.to_owned(),
        (Some(name), _) => name.to_owned(),
        (None, _) => "any".to_owned(),
    };
    match field["x-kubernetes-list-type"].as_str() {
        Some("map") => {
            let keys = field["x-kubernetes-list-map-keys"].as_array().into_iter().flatten();
            format!("list by {}", keys.filter_map(Value::as_str).collect::<Vec<_>>().join(", "))
        }
        Some(list) => format!("{list} of {}", plain(&field["items"])),
        None if field["additionalProperties"].is_object() => {
            format!("map of {}", plain(&field["additionalProperties"]))
        }
        None => plain(field),
    }
}

fn rules(text: &mut String, path: &str, schema: &Value) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let below = rule["fieldPath"].as_str().unwrap_or_default();
        let field = format!("{path}{below}");
        let field = field.trim_start_matches('.');
        let update = if uses_old(rule) { " *(on update)*" } else { "" };
        let message = rule["message"].as_str().unwrap_or_default();
        let field = if field.is_empty() { "metadata.name" } else { field };
        let _ = writeln!(text, "| `{field}` | {message}{update} |");
    }
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        rules(text, &format!("{path}.{name}"), field);
    }
    if schema["items"].is_object() {
        rules(text, &format!("{path}[]"), &schema["items"]);
    }
}

fn uses_old(rule: &Value) -> bool {
    rule["rule"].as_str().is_some_and(|text| text.contains("oldSelf"))
}

fn conditions(text: &mut String) {
    text.push_str("\n## Conditions\n\n| type | True means | on |\n|---|---|---|\n");
    for condition in ConditionType::TENANT {
        let kinds = if ConditionType::CHANNEL.contains(&condition) {
            "PaymentTenant, Channel"
        } else {
            "PaymentTenant"
        };
        let _ = writeln!(text, "| {condition} | {} | {kinds} |", condition.meaning());
    }
    text.push_str("\n## Reasons\n\n| reason | meaning | what to do |\n|---|---|---|\n");
    for reason in Reason::ALL {
        let remedy = reason.remedy().replace('<', "&lt;");
        let _ = writeln!(text, "| {reason} | {} | {remedy} |", reason.meaning());
    }
}

fn settings(text: &mut String) {
    text.push_str(
        "\n## PostgreSQL settings of a managed database\n\n| setting | range | what it changes |\n|---|---|---|\n",
    );
    for known in parameters::ALLOWED {
        let range = parameters::describe(known);
        let _ = writeln!(text, "| `{}` | {range} | {} |", known.name, known.why);
    }
}

/// One line, fit for a table.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;")
}
