//! A component's process: started, awaited, killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

const READY_MAX: Duration = Duration::from_secs(60);

/// A component's process. It is killed when dropped.
pub(crate) struct Process {
    child: Child,
    command: Vec<String>,
    log: PathBuf,
    health: u16,
}

impl Process {
    pub(crate) fn start(command: Vec<String>, log: PathBuf, health: u16) -> Result<Self> {
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let child = Command::new(binary()?)
            .args(&command)
            // Every answer is logged, with its trace.
            .env("RUST_LOG", "info,payplane_common::trace=debug")
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()?;
        Ok(Self { child, command, log, health })
    }

    pub(crate) fn kill_9(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    pub(crate) async fn restart(&mut self) -> Result<()> {
        let _ = self.kill_9();
        *self = Self::start(self.command.clone(), self.log.clone(), self.health)?;
        self.ready().await
    }

    /// Starts it again after a kill, and does not wait for it.
    pub(crate) fn start_again(&mut self) -> Result<()> {
        let _ = self.kill_9();
        *self = Self::start(self.command.clone(), self.log.clone(), self.health)?;
        Ok(())
    }

    /// Has it ended by itself?
    pub(crate) fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Restarts it with further arguments.
    pub(crate) async fn restart_with(&mut self, more: impl IntoIterator<Item = String>) -> Result<()> {
        self.command.extend(more);
        self.restart().await
    }

    /// SIGSTOP and SIGCONT.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        let done = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status()?;
        ensure!(done.success(), "kill -{name}");
        Ok(())
    }

    pub(crate) async fn ready(&mut self) -> Result<()> {
        let url = format!("http://127.0.0.1:{}/readyz", self.health);
        let started = Instant::now();
        loop {
            if reqwest::get(&url).await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if self.child.try_wait()?.is_some() || started.elapsed() > READY_MAX {
                bail!("{:?} is not ready: {}", self.command, std::fs::read_to_string(&self.log)?);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.kill_9();
    }
}

/// The multi-call binary, built with this test.
pub(crate) fn binary() -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    let folder = here.parent().and_then(Path::parent).context("no target folder")?;
    Ok(folder.join("payplane"))
}
