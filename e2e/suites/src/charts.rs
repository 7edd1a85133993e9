//! The charts, rendered by the real helm.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use payplane_lab::programs;
use serde_json::Value;

/// A folder of the repository's charts.
#[must_use]
pub fn folder(chart: &str) -> PathBuf {
    Path::new("../../charts").join(chart)
}

/// What a chart cannot do without, as `--set` takes it.
#[must_use]
pub fn required(chart: &str) -> &'static [&'static str] {
    if chart == "payplane-operator" { &["clusterCidrs={10.244.0.0/16,10.96.0.0/12}"] } else { &[] }
}

/// The objects that helm makes of a chart in namespace `payplane-system`, with
/// values as `--set` takes them.
pub fn render(chart: &str, values: &[&str]) -> anyhow::Result<Vec<Value>> {
    let text = template(chart, values)?;
    let mut objects = vec![];
    for document in serde_yaml::Deserializer::from_str(&text) {
        let value = <Value as serde::Deserialize>::deserialize(document)?;
        if !value.is_null() {
            objects.push(value);
        }
    }
    Ok(objects)
}

/// The same as text, comments included; an error holds what helm says.
pub fn template(chart: &str, values: &[&str]) -> anyhow::Result<String> {
    let home = tempfile::tempdir()?;
    let mut command = Command::new(programs::ensure(Some("helm"))?.path("helm"));
    command.args(["template", "payplane"]).arg(folder(chart)).args(["--namespace", "payplane-system"]);
    for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(folder, home.path());
    }
    for value in values {
        command.args(["--set", value]);
    }
    let output = command.output().context("cannot run helm")?;
    if !output.status.success() {
        bail!("helm: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
