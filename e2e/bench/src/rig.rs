//! The parts under test: PostgreSQL with fsync on, and the ledger as a process of
//! its own, as it runs in a pod.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use payplane_api::ledger::v1::OpenAccountsRequest;
use payplane_api::ledger::v1::ledger_client::LedgerClient;
use payplane_common::tls::{self, Files};
use payplane_testkit::{Pki, Postgres};
use tonic::transport::{Channel, Endpoint};

use crate::mix;

/// What differs from PostgreSQL's defaults, printed with the results.
pub(crate) const SETTINGS: &[(&str, &str)] = &[
    ("shared_buffers", "1GB"),
    ("max_wal_size", "4GB"),
    ("checkpoint_timeout", "15min"),
    ("wal_compression", "on"),
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
        tls::install_provider();
        let postgres = Postgres::start_with(SETTINGS).await?;
        postgres.migrate().await?;
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
        let program = std::env::current_exe()?.with_file_name("payplane");
        let ledger = Command::new(&program)
            .arg("ledger")
            .arg("--config")
            .arg(folder.path().join("config.json"))
            .arg("--tls")
            .arg(pki.leaf("ledger", &[])?)
            .arg("--trust")
            .arg(pki.trust())
            .arg("--database-tls")
            .arg(postgres.identity("ledger")?)
            .arg("--database-trust")
            .arg(postgres.pki.trust())
            .arg("--seal-key")
            .arg(folder.path().join("seal.key"))
            .args(["--listen", &address.to_string(), "--health", &health.to_string()])
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(folder.path().join("log"))?)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let rig = Self { postgres, folder, pki, address, health, ledger };
        rig.wait_ready().await?;
        rig.open(merchants).await?;
        Ok(rig)
    }

    async fn wait_ready(&self) -> Result<()> {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        for _ in 0..400 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let Ok(mut stream) = tokio::net::TcpStream::connect(self.health).await else { continue };
            stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer).await;
            if answer.starts_with("HTTP/1.1 200") {
                return Ok(());
            }
        }
        bail!("the ledger is not ready: {}", std::fs::read_to_string(self.folder.path().join("log"))?)
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
        let address = self.address;
        let connector = tower::service_fn(move |_: http::Uri| {
            let mut config = (*config.current()).clone();
            config.alpn_protocols = vec![b"h2".to_vec()];
            async move {
                let stream = tokio::net::TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let name =
                    rustls_pki_types::ServerName::try_from("localhost").map_err(std::io::Error::other)?;
                let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
                let stream = connector.connect(name, stream).await?;
                Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
            }
        });
        let endpoint = Endpoint::from_static("http://localhost");
        Ok(LedgerClient::new(endpoint.connect_with_connector_lazy(connector)))
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

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.ledger.kill();
        let _ = self.ledger.wait();
    }
}

fn free() -> Result<SocketAddr> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}
