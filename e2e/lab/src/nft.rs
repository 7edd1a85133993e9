//! Runs nft in the network namespace of a node.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use snafu::{ResultExt, Snafu, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// A ruleset of a test cluster loads in some 20 ms; a busy machine gets this long.
const NFT_SECONDS_MAX: u64 = 15;

#[derive(Debug, Snafu)]
pub enum Error {
    #[snafu(display("cannot run nft in network namespace {netns}"))]
    Run { netns: String, source: std::io::Error },
    #[snafu(display("nft in network namespace {netns} did not end within {NFT_SECONDS_MAX} s"))]
    TooSlow { netns: String, source: tokio::time::error::Elapsed },
    #[snafu(display("nft in network namespace {netns} refused: {message}"))]
    Refused { netns: String, message: String },
}

/// The file that keeps a network namespace alive: a path as it is, a name below `/run/netns`.
pub fn netns_path(netns: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(netns)
}

/// Loads `ruleset` as one transaction: all of it takes effect, or nothing.
pub async fn apply(netns: &str, ruleset: &str) -> Result<(), Error> {
    run(netns, &["-f", "-"], ruleset).await.map(drop)
}

/// Removes a table, and succeeds too where there is none: `add` makes it exist first.
pub async fn delete_table(netns: &str, table: &str) -> Result<(), Error> {
    apply(netns, &format!("add table inet {table}\ndelete table inet {table}\n")).await
}

/// The names of the `inet` tables in a namespace.
pub async fn tables(netns: &str) -> Result<Vec<String>, Error> {
    let listed = run(netns, &["list", "tables", "inet"], "").await?;
    Ok(listed.lines().filter_map(|l| l.trim().strip_prefix("table inet ")).map(str::to_owned).collect())
}

async fn run(netns: &str, arguments: &[&str], input: &str) -> Result<String, Error> {
    let path = netns_path(netns);
    let mut child = Command::new("nsenter")
        .arg(format!("--net={}", path.display()))
        .arg("nft")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context(RunSnafu { netns })?;
    let stdin = child.stdin.take();
    let work = async {
        if let Some(mut stdin) = stdin {
            // nft may refuse and close its input early; its message says more than our error would.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(Duration::from_secs(NFT_SECONDS_MAX), work)
        .await
        .context(TooSlowSnafu { netns })?
        .context(RunSnafu { netns })?;
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    ensure!(output.status.success(), RefusedSnafu { netns, message });
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
