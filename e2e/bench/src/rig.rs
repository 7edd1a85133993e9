//! The parts under test: PostgreSQL with fsync on, and the ledger as a process of
//! its own, as it runs in a pod.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use payplane_api::ledger::v1::OpenAccountsRequest;
use payplane_api::ledger::v1::ledger_client::LedgerClient;
use payplane_common::tls::{self, Files};
use payplane_testkit::{Pki, Postgres};
use tonic::transport::Channel;

use crate::mix;

/// What differs from PostgreSQL's defaults, printed with the results.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("shared_buffers", "1GB"),
    ("max_wal_size", "24GB"),
    ("min_wal_size", "16GB"),
    ("checkpoint_timeout", "15min"),
    ("wal_compression", "lz4"),
    // As the operator has it.
    ("default_statistics_target", "10"),
];

pub(crate) struct Rig {
    pub(crate) postgres: Postgres,
    folder: tempfile::TempDir,
    pki: Pki,
    address: SocketAddr,
    health: SocketAddr,
    ledger: Child,
}

impl Rig {
    pub(crate) async fn start(merchants: usize) -> Result<Self> {
        Self::start_with(merchants, SETTINGS).await
    }

    pub(crate) async fn start_with(merchants: usize, settings: &[(&str, &str)]) -> Result<Self> {
        tls::install_provider();
        let postgres = Postgres::start_with(settings).await?;
        postgres.migrate().await?;
        wear_in(&postgres).await?;
        let folder = tempfile::tempdir()?;
        let pki = Pki::create(folder.path())?;
        let config = serde_json::json!({
            "tenant": "bench", "environment": "Test", "currencies": ["CNY"],
            "calendar": {"timezone": "Asia/Shanghai", "cutoff": "23:00"},
            "database": postgres.config("ledger"),
        });
        std::fs::write(folder.path().join("config.json"), config.to_string())?;
        Pki::seal_key(folder.path())?;
        let (address, health) = (free()?, free()?);
        let ledger = program(&folder, &postgres, &["ledger"])?
            .arg("--tls")
            .arg(pki.leaf("ledger", &[])?)
            .arg("--trust")
            .arg(pki.trust())
            .arg("--seal-key")
            .arg(folder.path().join("seal.key"))
            .arg("--heads-file")
            .arg(folder.path().join("heads"))
            .args(["--listen", &address.to_string(), "--health", &health.to_string()])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log"))?)
            .spawn()
            .context("cannot start payplane")?;
        let rig = Self { postgres, folder, pki, address, health, ledger };
        rig.wait_ready().await?;
        rig.open(merchants).await?;
        Ok(rig)
    }

    async fn wait_ready(&self) -> Result<()> {
        for _ in 0..400 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if self.plain("/readyz").await.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Ok(());
            }
        }
        bail!("the ledger is not ready: {}", std::fs::read_to_string(self.folder.path().join("log"))?)
    }

    async fn plain(&self, path: &str) -> Result<String> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(self.health).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        Ok(answer)
    }

    /// One of the ledger's metrics that have no labels.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let text = self.plain("/metrics").await?;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.and_then(|value| value.parse().ok()).with_context(|| format!("no {name}"))
    }

    /// Ends the ledger: from here on there is the database alone.
    pub(crate) fn stop_ledger(&mut self) -> Result<()> {
        self.ledger.kill()?;
        self.ledger.wait()?;
        Ok(())
    }

    async fn open(&self, merchants: usize) -> Result<()> {
        let mut client = self.client()?;
        for accounts in mix::accounts(merchants).chunks(100) {
            let opened = client.open_accounts(OpenAccountsRequest { accounts: accounts.to_vec() }).await?;
            if let Some(refusal) = opened.into_inner().refusal {
                bail!("accounts are not opened: {}", refusal.message);
            }
        }
        Ok(())
    }

    /// A connection of its own, with the gateway's certificate.
    pub(crate) fn client(&self) -> Result<LedgerClient<Channel>> {
        let identity = Some(self.pki.leaf("gateway", &[])?);
        let config = tls::client(Files { identity, trust: Some(self.pki.trust()) })?;
        payplane_testkit::ledger::local(self.address, config)
    }

    /// Verifies all that the ledger has sealed until now.
    pub(crate) fn verify(&self) -> Result<Child> {
        let mut verify = program(&self.folder, &self.postgres, &["ledger", "verify"])?;
        verify.arg("--heads").arg(self.folder.path().join("heads"));
        Ok(verify.arg("--key").arg(self.folder.path().join("seal.pub")).spawn()?)
    }

    /// Every invariant, over all the books.
    pub(crate) async fn check(&self) -> Result<()> {
        let owner = self.postgres.connect("payplane_owner").await?;
        if let Some(broken) = payplane_ledger::verify::invariants(&owner).await?.first() {
            bail!("the books are broken: {}: {}", broken.what, broken.subject);
        }
        Ok(())
    }
}

/// Log files that were written before, as in a database that has run for some days: it
/// writes them again, where a new one must first have them made.
pub(crate) async fn wear_in(postgres: &Postgres) -> Result<()> {
    let database = postgres.connect("postgres").await?;
    let as_much_as_is_kept = "SELECT count(pg_logical_emit_message(false, 'log', repeat('x', 1 << 20)))
          FROM pg_settings s, generate_series(1, s.setting::int) WHERE s.name = 'min_wal_size' AND s.unit = 'MB'";
    database.query_one(as_much_as_is_kept, &[]).await?;
    database.batch_execute("CHECKPOINT").await?;
    Ok(())
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.ledger.kill();
        let _ = self.ledger.wait();
    }
}

/// The product's program, told where the database is.
fn program(folder: &tempfile::TempDir, postgres: &Postgres, what: &[&str]) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe()?.with_file_name("payplane"));
    command.args(what).arg("--config").arg(folder.path().join("config.json"));
    command.arg("--database-tls").arg(postgres.identity("ledger")?);
    command.arg("--database-trust").arg(postgres.pki.trust());
    Ok(command)
}

fn free() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
