//! A part of the stack as a process of its own, as it runs in a pod.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

const READY_MAX: Duration = Duration::from_secs(60);

/// It is killed when dropped.
pub(super) struct Process {
    pub(super) name: &'static str,
    child: Child,
    log: PathBuf,
    health: u16,
}

impl Process {
    /// Starts `payplane` with its default log level, into a file of its name.
    pub(super) fn start(name: &'static str, args: &[String], folder: &Path, health: u16) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let out = std::fs::File::create(&log)?;
        let child = Command::new(binary()?)
            .args(args)
            .env_remove("RUST_LOG")
            // As the operator sets them for a pod that asks for a CPU or less.
            .env("MIMALLOC_PURGE_DELAY", "1000")
            .env("TOKIO_WORKER_THREADS", "1")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .context("cannot start payplane")?;
        Ok(Self { name, child, log, health })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) async fn ready(&mut self) -> Result<()> {
        let (url, started) = (format!("http://127.0.0.1:{}/readyz", self.health), Instant::now());
        loop {
            if reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if self.child.try_wait()?.is_some() || started.elapsed() > READY_MAX {
                bail!("{} is not ready: {}", self.name, std::fs::read_to_string(&self.log)?);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The lines of its log that need a person.
    pub(super) fn errors(&self) -> Result<Vec<String>> {
        let log = std::fs::read_to_string(&self.log)?;
        Ok(log.lines().filter(|line| line.contains("\"level\":\"ERROR\"")).map(str::to_owned).collect())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command of `payplane` to its end.
pub(super) fn finish(args: &[String]) -> Result<()> {
    let done = Command::new(binary()?).args(args).output()?;
    ensure!(done.status.success(), "payplane {args:?}: {}", String::from_utf8_lossy(&done.stderr));
    Ok(())
}

fn binary() -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name("payplane"))
}
