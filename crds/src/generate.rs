//! The committed files that are made from the types.

use std::path::PathBuf;

use serde::Serialize;

use crate::{reference, samples, schema};

/// A file of the repository, and what it must hold.
pub struct Generated {
    /// Below the repository's root.
    pub path: PathBuf,
    /// The whole content.
    pub content: String,
}

const HEADER: &str = "# Generated from crds/src: do not edit. UPDATE=1 cargo test writes it anew.\n";

/// Why a file could not be made.
#[derive(Debug)]
pub enum Error {
    /// The schema is not what the API's types hold.
    Schema(serde_json::Error),
    /// A value cannot be written as YAML.
    Yaml(serde_yaml::Error),
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Schema(_) => f.write_str("the schema is not a CustomResourceDefinition's"),
            Self::Yaml(_) => f.write_str("the value cannot be written as YAML"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Schema(source) => Some(source),
            Self::Yaml(source) => Some(source),
        }
    }
}

impl From<serde_json::Error> for Error {
    fn from(source: serde_json::Error) -> Self {
        Self::Schema(source)
    }
}

impl From<serde_yaml::Error> for Error {
    fn from(source: serde_yaml::Error) -> Self {
        Self::Yaml(source)
    }
}

/// Every generated file.
pub fn files() -> Result<Vec<Generated>, Error> {
    let mut files = vec![];
    for crd in schema::crds()? {
        let path = format!("charts/payplane-crds/templates/{}.yaml", crd.spec.names.plural);
        files.push(Generated { path: path.into(), content: yaml(HEADER, &crd)? });
    }
    for sample in samples::all() {
        let comment = format!("{HEADER}# {}\n", sample.comment);
        let path = format!("crds/samples/{}.yaml", sample.name);
        files.push(Generated { path: path.into(), content: yaml(&comment, &sample.manifest)? });
    }
    files.push(Generated { path: "docs/reference.md".into(), content: reference::markdown()? });
    Ok(files)
}

fn yaml(header: &str, value: &impl Serialize) -> Result<String, serde_yaml::Error> {
    Ok(format!("{header}{}", serde_yaml::to_string(value)?))
}
