//! The committed CRDs, samples and field reference are those of the types.

use std::path::Path;

use payplane_crds::{Channel, PaymentTenant, generate, samples};

#[test]
fn generated_files_are_current() {
    let root = Path::new("..");
    let update = std::env::var_os("UPDATE").is_some();
    let mut stale = vec![];
    for file in generate::files().unwrap() {
        let path = root.join(&file.path);
        if update {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &file.content).unwrap();
        }
        // Helm would take such text for its own.
        assert!(!file.content.contains("{{"), "{}", file.path.display());
        if std::fs::read_to_string(&path).unwrap_or_default() != file.content {
            stale.push(file.path);
        }
    }
    assert!(stale.is_empty(), "stale: {stale:?}: run the test again with UPDATE=1");
}

/// A field that the types do not have would be lost here.
#[test]
fn samples_hold_nothing_that_the_types_do_not_know() {
    for sample in samples::all() {
        let given = sample.manifest;
        let read = match given["kind"].as_str().unwrap() {
            "PaymentTenant" => {
                serde_json::to_value(serde_json::from_value::<PaymentTenant>(given.clone()).unwrap()).unwrap()
            }
            _ => serde_json::to_value(serde_json::from_value::<Channel>(given.clone()).unwrap()).unwrap(),
        };
        assert_within(&given, &read, sample.name);
    }
}

fn assert_within(given: &serde_json::Value, read: &serde_json::Value, path: &str) {
    match given {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                assert_within(value, &read[name], &format!("{path}.{name}"));
            }
        }
        serde_json::Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                assert_within(item, &read[index], &format!("{path}[{index}]"));
            }
        }
        leaf => assert_eq!(leaf, read, "{path}"),
    }
}
