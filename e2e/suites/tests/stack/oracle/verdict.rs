//! Runs the program of `e2e/oracle` and reads what it says.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// What the kits say of one request, reply or notification.
#[derive(Debug, Deserialize)]
pub(super) struct Verdict {
    /// The exchange, from 0.
    pub line: usize,
    pub part: String,
    /// Missing where the exchange cannot even be read.
    #[serde(default)]
    pub network: String,
    /// Why it is refused.
    pub why: Option<String>,
}

/// Lets the kits judge a record, with the keys that `simulator init` made.
pub(super) fn judge(traffic: &[Value], keys: &Path) -> Result<Vec<Verdict>> {
    let file = tempfile::NamedTempFile::new()?;
    let lines: Vec<_> = traffic.iter().map(Value::to_string).collect();
    std::fs::write(file.path(), lines.join("\n"))?;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../oracle/oracle.sh");
    let said = Command::new(program).arg(file.path()).arg(keys).output()?;
    let (out, errors) = (String::from_utf8(said.stdout)?, String::from_utf8_lossy(&said.stderr));
    let read = |line: &str| serde_json::from_str(line).with_context(|| line.to_owned());
    let verdicts = out.lines().map(read).collect::<Result<Vec<Verdict>>>()?;
    // 0: all believed; 1: not all. Everything else is no verdict.
    let expected = i32::from(verdicts.iter().any(|verdict| verdict.why.is_some()));
    ensure!(said.status.code() == Some(expected), "{}: {errors}", said.status);
    Ok(verdicts)
}
