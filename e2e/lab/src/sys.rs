//! Programs and files of the machine, with errors that name them.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use snafu::{ResultExt, Snafu, ensure};

#[derive(Debug, Snafu)]
#[snafu(visibility(pub))]
pub enum Error {
    #[snafu(display("cannot start {program}"))]
    Start { program: String, source: std::io::Error },
    #[snafu(display("{command} failed ({status}): {message}"))]
    Failed { command: String, status: String, message: String },
    #[snafu(display("cannot {action} {}", path.display()))]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    #[snafu(display("{} holds what this tool cannot read", path.display()))]
    Content { path: PathBuf, source: serde_json::Error },
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Runs a program to its end and returns what it printed.
pub fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<String> {
    finish(Command::new(program).args(arguments))
}

/// Runs a prepared command to its end and returns what it printed.
pub fn finish(command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().context(StartSnafu { program })?;
    ensure!(
        output.status.success(),
        FailedSnafu {
            command: describe(command),
            status: output.status.to_string(),
            message: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        }
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a prepared command to its end with its output on our standard error:
/// for builds, whose progress a human watches.
pub fn stream(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status =
        command.stdin(Stdio::null()).stdout(std::io::stderr()).status().context(StartSnafu { program })?;
    ensure!(
        status.success(),
        FailedSnafu { command: describe(command), status: status.to_string(), message: "see above" }
    );
    Ok(())
}

/// A command that runs inside a network namespace.
pub fn in_netns(netns: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={}", netns.display())).arg("--").arg(program);
    command
}

fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().take(8).map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}

pub fn create_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).context(FileSnafu { action: "create", path })
}

pub fn write(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    std::fs::write(path, contents).context(FileSnafu { action: "write", path })
}

/// Writes a file so that a reader, or a restart after a kill, finds all of it or nothing.
pub fn write_whole(path: &Path, contents: impl AsRef<[u8]>) -> Result<()> {
    let half = path.with_extension("half");
    write(&half, contents)?;
    std::fs::rename(&half, path).context(FileSnafu { action: "replace", path })
}

pub fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).context(FileSnafu { action: "read", path })
}

/// Writes a value as JSON, whole or not at all.
pub fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value).context(ContentSnafu { path })?;
    write_whole(path, text)
}

pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    serde_json::from_str(&read(path)?).context(ContentSnafu { path })
}

/// Removes a folder with all it holds; none there is as good.
pub fn remove_tree(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(FileSnafu { action: "remove", path })
        }
        _ => Ok(()),
    }
}

/// Removes a file; none there is as good.
pub fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context(FileSnafu { action: "remove", path })
        }
        _ => Ok(()),
    }
}

/// Where a program is on the PATH, or in one of the folders given.
pub fn find_program(name: &str, also: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(also.iter().map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}
