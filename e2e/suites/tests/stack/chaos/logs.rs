//! What the parts logged: an ERROR needs a person, and none is needed for what happens here.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use payplane_e2e::env;

use super::end::End;
use super::stage::Stage;

/// What may be logged: words of the message, and why that is right.
const LISTED: [(&str, &str); 3] = [
    ("pending-accept streams reached limit", "what came to a frozen simulator waits for it"),
    (
        "Connection could not be recycled",
        "a database that was killed closed its sessions; the pool makes others",
    ),
    ("the network says another amount", "amounts ending in 9014 ask for it"),
];
/// What amounts ending in 9011 ask for, well signed.
const LIE: &str = "a notification says another amount";
/// Where so many orders ask for a lie, one at least arrives, whatever is cut.
const LIES_ENOUGH: usize = 6;

/// No line is a WARN, an ERROR or a panic that is not listed; and lies were noticed.
pub(super) fn nothing_unlisted(stage: &Stage, end: &End) -> Result<()> {
    let (mut found, mut noticed): (BTreeMap<String, usize>, usize) = Default::default();
    for (name, path) in files(stage)? {
        for line in std::fs::read_to_string(path)?.lines() {
            if is_unlisted(line) {
                *found.entry(format!("{name}: {line}")).or_default() += 1;
            }
            noticed += usize::from(line.contains(LIE));
        }
    }
    let some: Vec<_> = found.keys().take(5).collect();
    ensure!(found.is_empty(), "{} lines in logs that are not listed: {some:#?}", found.len());
    let asked =
        end.orders.values().filter(|order| order.is_qr_code() && order.amount_minor % 10_000 == 9_011);
    let asked = asked.count();
    ensure!(
        asked < LIES_ENOUGH || noticed > 0,
        "of {asked} notifications of another amount none was noticed"
    );
    Ok(())
}

/// A panic is no JSON, and nobody lists it.
fn is_unlisted(line: &str) -> bool {
    let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else {
        return line.contains("panicked at");
    };
    let message = event["message"].as_str().unwrap_or_default();
    let grave = matches!(event["level"].as_str(), Some("WARN" | "ERROR"));
    grave && !LISTED.iter().any(|(words, _)| message.contains(words))
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
