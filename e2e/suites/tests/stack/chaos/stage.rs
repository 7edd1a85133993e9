//! The whole stack as the chart runs it: two gateways, two ledgers, PostgreSQL, the
//! simulated networks; and a proxy in each way from one to another.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Result, ensure};
use payplane_e2e::receiver::Receiver;
use payplane_testkit::{Pki, Postgres, port};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::links::Links;
use crate::harness::{ledger_config, listening, read, strings};
use crate::process::{Process, binary};

pub(super) const APP: &str = "app1";
pub(super) const MERCHANT: &str = "M1";
/// Both replicas of gateway and ledger, as in a Production tenant.
pub(super) const REPLICAS: usize = 2;

pub(super) struct Stage {
    // Dropped first to last: processes before what they use.
    pub(super) gateways: Vec<Mutex<Process>>,
    pub(super) ledgers: Vec<Mutex<Process>>,
    pub(super) simulator: Mutex<Process>,
    pub(super) postgres: Mutex<Postgres>,
    pub(super) links: Links,
    pub(super) receiver: Arc<Receiver>,
    /// Of PostgreSQL, whose lock may be held by who restarts it.
    pub(super) trust: PathBuf,
    admin_identity: Vec<u8>,
    checker_identity: Vec<u8>,
    admin_ports: Vec<u16>,
    record: u16,
    folder: tempfile::TempDir,
}

/// How a component is started beside its own arguments.
struct Place<'a> {
    at: &'a Path,
    postgres: &'a Postgres,
    trust: String,
    /// Of the ledgers, and of the gateways: to each other and to the database; and to the
    /// vault. Made once, as processes that run follow the files.
    identities: [String; 3],
}

impl<'a> Place<'a> {
    fn new(at: &'a Path, postgres: &'a Postgres) -> Result<Self> {
        let leaf = |name: &str| Ok::<_, anyhow::Error>(text(postgres.identity(name)?));
        let identities = [leaf("ledger")?, leaf("gateway")?, leaf("payplane_vault")?];
        Ok(Self { at, postgres, trust: text(postgres.pki.trust()), identities })
    }

    fn database(&self, identity: &str) -> Vec<String> {
        strings(&["--database-tls", identity, "--database-trust", &self.trust])
    }

    fn write(&self, name: &str, value: &Value) -> Result<String> {
        let path = self.at.join(name);
        std::fs::write(&path, serde_json::to_vec_pretty(value)?)?;
        Ok(text(path))
    }

    /// Where the database is found: through a link.
    fn through(config: Value, link: u16) -> Value {
        let mut config = config;
        config["database"]["port"] = link.into();
        config
    }

    fn migrate(&self) -> Result<()> {
        let config = self.write("migrate.json", &serde_json::to_value(self.postgres.migrate_config())?)?;
        let mut migrate = strings(&["migrate", "--config", &config, "--termination-log"]);
        migrate.push(text(self.at.join("report")));
        migrate.extend(self.database(&text(self.postgres.identity("payplane_owner")?)));
        migrate.extend(["--vault-tls".into(), self.identities[2].clone()]);
        let done = Command::new(binary()?).args(&migrate).output()?;
        ensure!(done.status.success(), "migrate: {}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    fn ledger(&self, n: usize, listen: u16, database: u16) -> Result<Process> {
        let health = port::free()?;
        let config = Self::through(ledger_config(self.postgres), database);
        let config = self.write(&format!("ledger-{n}.json"), &config)?;
        let [identity, ..] = &self.identities;
        let mut ledger = strings(&["ledger", "--config", &config, "--tls", identity, "--trust", &self.trust]);
        ledger.extend(listening(&[("--listen", listen), ("--health", health)]));
        ledger.extend(self.database(identity));
        Process::start(ledger, self.at.join(format!("ledger-{n}.log")), health)
    }

    fn simulator(&self, listen: u16, health: u16) -> Result<Process> {
        let network = text(self.at.join("network"));
        let init = ["simulator", "init", "--dir", &network, "--dns", "localhost"];
        let made = Command::new(binary()?).args(init).output()?;
        ensure!(made.status.success(), "simulator init: {}", String::from_utf8_lossy(&made.stderr));
        let file = |name: &str| format!("{network}/network/{name}");
        let mut simulator = strings(&["simulator", "--payer-after-ms", "100"]);
        for (flag, name) in [
            ("--tls-cert", "tls.crt"),
            ("--tls-key", "tls.key"),
            ("--network-key", "network.key"),
            ("--merchants", "merchants.json"),
            ("--state", "journal"),
            ("--networks", "networks.json"),
        ] {
            simulator.extend([flag.to_owned(), file(name)]);
        }
        simulator.extend(["--notify-ca".into(), format!("{}/ca.crt", self.trust)]);
        simulator.extend(listening(&[("--listen", listen), ("--health", health)]));
        Process::start(simulator, self.at.join("simulator.log"), health)
    }

    fn gateway(&self, n: usize, config: &Value, ports: [u16; 3]) -> Result<Process> {
        let config = self.write(&format!("gateway-{n}.json"), config)?;
        let [_, identity, vault] = &self.identities;
        let mut gateway =
            strings(&["gateway", "--config", &config, "--tls", identity, "--trust", &self.trust]);
        gateway.extend(listening(&[("--listen", ports[0]), ("--admin", ports[1]), ("--health", ports[2])]));
        gateway.extend(["--notify-key".into(), text(self.at.join("notify.key"))]);
        gateway.extend(["--data-key".into(), text(self.at.join("data.key"))]);
        gateway.extend(self.database(identity));
        gateway.extend(strings(&["--vault-tls", vault]));
        Process::start(gateway, self.at.join(format!("gateway-{n}.log")), ports[2])
    }
}

impl Stage {
    pub(super) async fn start() -> Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir()?;
        let postgres = Postgres::start().await?;
        let place = Place::new(folder.path(), &postgres)?;
        place.migrate()?;
        let ports = |count: usize| (0..count).map(|_| port::free()).collect::<Result<Vec<_>>>();
        let (ledgers_at, gateways_at) = (ports(REPLICAS)?, ports(REPLICAS * 3)?);
        let (simulator_at, record) = (port::free()?, port::free()?);
        let app_ports: Vec<_> = gateways_at.chunks(3).map(|ports| ports[0]).collect();
        let database = postgres.config("gateway").port;
        let links = Links::start(&app_ports, &ledgers_at, database, simulator_at).await?;
        let mut simulator = place.simulator(simulator_at, record)?;
        Pki::notify_key(folder.path())?;
        Pki::data_key(folder.path())?;
        let (mut ledgers, mut gateways) = (vec![], vec![]);
        for (n, listen) in ledgers_at.iter().enumerate() {
            ledgers.push(place.ledger(n, *listen, links.ledger_database[n].address.port())?);
        }
        for (n, ports) in gateways_at.chunks(3).enumerate() {
            let config = super::config::gateway(folder.path(), &postgres, &links, n)?;
            gateways.push(place.gateway(n, &config, [ports[0], ports[1], ports[2]])?);
        }
        for process in ledgers.iter_mut().chain(&mut gateways).chain([&mut simulator]) {
            process.ready().await?;
        }
        let keys = std::fs::read(folder.path().join("notify.pub"))?;
        let address = ([127, 0, 0, 1], port::free()?).into();
        let receiver = Receiver::start(address, "localhost", &postgres.pki, &keys).await?;
        let identity = |name: &str| -> Result<Vec<u8>> {
            let leaf = postgres.pki.leaf(name, &[])?;
            Ok([std::fs::read(leaf.join("tls.crt"))?, std::fs::read(leaf.join("tls.key"))?].concat())
        };
        let (admin_identity, checker_identity) = (identity("admin-client")?, identity("admin-checker")?);
        let trust = postgres.pki.trust();
        let admin_ports = gateways_at.chunks(3).map(|ports| ports[1]).collect();
        let lock = |all: Vec<Process>| all.into_iter().map(Mutex::new).collect();
        let (gateways, ledgers) = (lock(gateways), lock(ledgers));
        let (simulator, postgres) = (Mutex::new(simulator), Mutex::new(postgres));
        let stage = Self {
            gateways,
            ledgers,
            simulator,
            postgres,
            links,
            receiver,
            trust,
            admin_identity,
            checker_identity,
            admin_ports,
            record,
            folder,
        };
        stage.register().await?;
        Ok(stage)
    }

    /// The merchant, and its app with key and endpoint. Again, it ends an endpoint's rest.
    pub(super) async fn register(&self) -> Result<()> {
        let (key, public) = (self.key(), self.folder.path().join("app.pub"));
        payplane_client::key::keygen(&payplane_client::key::KeygenArgs { key, public: public.clone() })?;
        let keys = json!([{"keyId": "k1", "publicKeyPem": std::fs::read_to_string(public)?}]);
        let app = json!({"displayName": APP, "keys": keys, "notification": self.receiver.notification()});
        let merchant = format!("/admin/v1/merchants/{MERCHANT}");
        let app_at = format!("/admin/v1/apps/{APP}");
        let (maker, checker) = (&self.admin_identity, &self.checker_identity);
        for (who, method, path, body) in [
            (maker, "PUT", merchant.clone(), json!({"displayName": "Shop"})),
            (checker, "POST", format!("{merchant}/approve"), json!({})),
            (maker, "PUT", app_at.clone(), app),
            (maker, "PUT", format!("{app_at}/merchants/{MERCHANT}"), json!({})),
        ] {
            let (status, answer) = self.call(who, (method, &path), &body).await?;
            ensure!(status == 200, "{path}: {answer}");
        }
        Ok(())
    }

    pub(super) fn key(&self) -> PathBuf {
        self.folder.path().join("app.key")
    }

    /// Where a process of this name logs.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Calls the first gateway's admin port.
    pub(super) async fn admin(&self, method: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
        self.call(&self.admin_identity, (method, path), body).await
    }

    async fn call(&self, who: &[u8], (method, path): (&str, &str), body: &Value) -> Result<(u16, Value)> {
        let ca = reqwest::Certificate::from_pem_bundle(&std::fs::read(self.trust.join("ca.crt"))?)?;
        let identity = reqwest::Identity::from_pem(who)?;
        let client = reqwest::Client::builder().tls_certs_only(ca).no_proxy().identity(identity).build()?;
        let url = format!("https://localhost:{}{path}", self.admin_ports[0]);
        read(client.request(method.parse()?, url).json(body)).await
    }

    /// What the networks took: their own record.
    pub(super) async fn record(&self) -> Result<Vec<Value>> {
        let url = format!("http://127.0.0.1:{}/sim/v1/record", self.record);
        let record: Value = reqwest::get(url).await?.json().await?;
        Ok(record["payments"].as_array().cloned().unwrap_or_default())
    }
}

fn text(path: PathBuf) -> String {
    path.to_string_lossy().into_owned()
}
