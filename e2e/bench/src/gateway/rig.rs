//! The whole stack on this machine: PostgreSQL with fsync on, ledger, simulator and two
//! gateways, each a process of its own, TLS between all of them; and the merchant's endpoint.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};
use payplane_common::tls;
use payplane_testkit::{Pki, Postgres, port};
use serde_json::{Value, json};

use super::mix::{Mix, Places};
use super::parts::{gateway, ledger, simulator};
use super::process::Process;
use super::receiver::Receiver;
use crate::rig::wear_in;

/// What differs from PostgreSQL's defaults, printed with the results.
pub(super) const SETTINGS: &[(&str, &str)] = &[
    ("shared_buffers", "1GB"),
    ("max_wal_size", "8GB"),
    ("min_wal_size", "2GB"),
    ("checkpoint_timeout", "15min"),
    ("wal_compression", "lz4"),
    // As the operator has it.
    ("default_statistics_target", "10"),
];
/// What the statements of a payment cost, for `--statements`.
const STATEMENTS: (&str, &str) = ("shared_preload_libraries", "pg_stat_statements");

pub(super) struct Rig {
    // Dropped first to last: processes before what they use.
    pub(super) gateways: Vec<Process>,
    pub(super) ledger: Process,
    pub(super) simulator: Process,
    pub(super) postgres: Postgres,
    pub(super) receiver: Arc<Receiver>,
    pub(super) folder: tempfile::TempDir,
    pub(super) mix: Mix,
    pub(super) merchants: usize,
    pub(super) statements: bool,
    /// Of the gateways: app API and admin.
    ports: Vec<[u16; 2]>,
    pub(super) record: u16,
}

impl Rig {
    pub(super) async fn start(mix: Mix, merchants: usize, statements: bool) -> Result<Self> {
        tls::install_provider();
        let folder = tempfile::tempdir()?;
        let mut settings = SETTINGS.to_vec();
        settings.extend(statements.then_some(STATEMENTS));
        let postgres = Postgres::start_with(&settings).await?;
        postgres.migrate().await?;
        wear_in(&postgres).await?;
        if statements {
            let owner = postgres.connect("postgres").await?;
            owner.batch_execute("CREATE EXTENSION pg_stat_statements").await?;
            // What functions do, too: they are listed beside the statement that called them.
            owner.batch_execute("ALTER SYSTEM SET pg_stat_statements.track = 'all'").await?;
            owner.batch_execute("SELECT pg_reload_conf()").await?;
        }
        let at = folder.path();
        let (ledger_port, ledger) = ledger(&postgres, at)?;
        let trust = postgres.pki.trust();
        let (simulator_port, record, simulator) = simulator(at, &trust)?;
        let apps = [port::free()?, port::free()?];
        let config = configure(&mix, &postgres, at, ([ledger_port, simulator_port], apps))?;
        Pki::notify_key(at)?;
        Pki::data_key(at)?;
        // Made once: the second gateway must not take it from under the first.
        let (leaf, vault) = (postgres.pki.leaf("gateway", &[])?, postgres.identity("payplane_vault")?);
        let (mut gateways, mut ports) = (vec![], vec![]);
        for (name, app) in ["gateway-0", "gateway-1"].into_iter().zip(apps) {
            let (two, gateway) = gateway(name, &config, [&leaf, &vault, &trust], (app, at))?;
            gateways.push(gateway);
            ports.push(two);
        }
        let keys = std::fs::read(at.join("notify.pub"))?;
        let receiver = Receiver::start(&postgres.pki, &keys).await?;
        let mut rig = Self {
            gateways,
            ledger,
            simulator,
            postgres,
            receiver,
            folder,
            mix,
            merchants,
            statements,
            ports,
            record,
        };
        rig.ready().await?;
        Ok(rig)
    }

    async fn ready(&mut self) -> Result<()> {
        self.ledger.ready().await?;
        self.simulator.ready().await?;
        for gateway in &mut self.gateways {
            gateway.ready().await?;
        }
        super::register::all(self).await
    }

    /// The app API of each gateway.
    pub(super) fn urls(&self) -> Vec<String> {
        self.ports.iter().map(|[app, _]| format!("https://localhost:{app}")).collect()
    }

    /// The admin API of the first gateway.
    pub(super) fn admin_url(&self) -> String {
        format!("https://localhost:{}", self.ports[0][1])
    }

    pub(super) fn trust(&self) -> PathBuf {
        self.postgres.pki.trust().join("ca.crt")
    }

    /// Nothing was logged that a person must look at.
    pub(super) fn nothing_is_wrong(&self) -> Result<()> {
        for process in self.gateways.iter().chain([&self.ledger, &self.simulator]) {
            let errors = process.errors()?;
            ensure!(
                errors.is_empty(),
                "{} logged {} errors: {:?}",
                process.name,
                errors.len(),
                errors.first()
            );
        }
        Ok(())
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.receiver.close();
    }
}

/// Writes the gateways' config.
fn configure(
    mix: &Mix,
    postgres: &Postgres,
    at: &Path,
    ([ledger, simulator], gateways): ([u16; 2], [u16; 2]),
) -> Result<PathBuf> {
    let folder = at.join("config");
    std::fs::create_dir(&folder)?;
    let places = Places { keys: &at.join("network"), config: &folder, simulator, gateways: &gateways };
    let config = json!({
        "tenant": "bench", "environment": "Test", "epoch": 1, "currencies": ["CNY"],
        "calendar": calendar(), "database": postgres.config("gateway"),
        "ledger": format!("https://localhost:{ledger}"),
        "channels": mix.channels(&places)?,
    });
    std::fs::write(folder.join("config.json"), serde_json::to_vec_pretty(&config)?)?;
    Ok(folder.join("config.json"))
}

pub(super) fn calendar() -> Value {
    json!({"timezone": "Asia/Shanghai", "cutoff": "23:00"})
}
