//! What the parts logged: an ERROR needs a person, and none is needed for what happens here.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use payplane_e2e::env;

use super::stage::Stage;

/// The file that logs so, and what is said in it that a fault or an amount asked for.
const LISTED: [(&str, &str); 1] = [
    // Amounts ending in 9011: a well-signed notification of another amount.
    ("gateway", "another amount"),
];

/// No line is a WARN, an ERROR or a panic that is not listed.
pub(super) fn nothing_unlisted(stage: &Stage) -> Result<()> {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for (name, path) in files(stage)? {
        for line in std::fs::read_to_string(path)?.lines() {
            let is_loud = ["WARN", "ERROR", "panicked"].iter().any(|word| line.contains(word));
            let is_listed = LISTED.iter().any(|(file, text)| name.starts_with(file) && line.contains(text));
            if is_loud && !is_listed {
                *found.entry(format!("{name}: {line}")).or_default() += 1;
            }
        }
    }
    let some: Vec<_> = found.keys().take(5).collect();
    ensure!(found.is_empty(), "{} lines in logs that are not listed: {some:#?}", found.len());
    Ok(())
}

/// Keeps logs and record of a run that failed.
pub(super) fn keep(stage: &Stage, record: &Path) -> Result<()> {
    let to = env::fresh_logs("chaos-gateway");
    for (name, path) in files(stage)? {
        std::fs::copy(path, to.join(name))?;
    }
    std::fs::copy(record, to.join("record.jsonl"))?;
    println!("logs and record are kept in {}", to.display());
    Ok(())
}

fn files(stage: &Stage) -> Result<Vec<(String, std::path::PathBuf)>> {
    let mut files = vec![];
    for entry in std::fs::read_dir(stage.folder())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            files.push((name.unwrap_or_default(), path));
        }
    }
    Ok(files)
}
