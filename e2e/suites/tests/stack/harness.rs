//! Starts PostgreSQL, migrate, ledger, simulator and two gateways.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use payplane_client::call::{App, AppArgs, CallError};
use payplane_client::message::{PayRequest, Payment, PaymentStatus, RefundRequest};
use payplane_client::sign::Signer;
use payplane_testkit::{Pki, Postgres, port};
use reqwest::{Certificate, Client, Identity};
use serde_json::{Value, json};

use crate::process::{Process, binary};

pub(crate) const DATE: &str = "2026-11-24";

pub(crate) struct Stack {
    // Dropped first to last: processes before what they use.
    pub(crate) gateways: Vec<Process>,
    pub(crate) ledger: Process,
    pub(crate) simulator: Process,
    pub(crate) postgres: Postgres,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) ports: Vec<u16>,
    record: u16,
    epoch: u64,
    pub(crate) environment: &'static str,
    /// The risk policies of the next config.
    pub(crate) risk: Value,
    /// And who sends one-time codes, if anybody.
    pub(crate) step_up: Value,
    pub(crate) simulator_port: u16,
    pub(crate) ledger_port: u16,
}

impl Stack {
    pub(crate) async fn start() -> Result<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir()?;
        let at = folder.path().to_owned();
        let postgres = Postgres::start().await?;
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let trust = text(postgres.pki.trust());
        let database = |role: &str| -> Result<[String; 4]> {
            let identity = text(postgres.identity(role)?);
            Ok(["--database-tls".into(), identity, "--database-trust".into(), trust.clone()])
        };
        let write = |name: &str, value: &Value| -> Result<String> {
            let path = at.join(name);
            std::fs::write(&path, serde_json::to_vec_pretty(value)?)?;
            Ok(text(path))
        };

        let config = write("migrate.json", &serde_json::to_value(postgres.migrate_config())?)?;
        let report = text(at.join("report"));
        let mut migrate = strings(&["migrate", "--config", &config, "--termination-log", &report]);
        migrate.extend(database("payplane_owner")?);
        let vault = text(postgres.identity("payplane_vault")?);
        migrate.extend(["--vault-tls".into(), vault.clone()]);
        let done = Command::new(binary()?).args(&migrate).output()?;
        ensure!(done.status.success(), "migrate: {}", String::from_utf8_lossy(&done.stderr));

        let (ledger_port, health) = (port::free()?, port::free()?);
        let config = write("ledger.json", &ledger_config(&postgres))?;
        let identity = text(postgres.pki.leaf("ledger", &[])?);
        let mut ledger = strings(&["ledger", "--config", &config, "--tls", &identity, "--trust", &trust]);
        ledger.extend(listening(&[("--listen", ledger_port), ("--health", health)]));
        ledger.extend(database("ledger")?);
        let ledger = Process::start(ledger, at.join("ledger.log"), health)?;

        let network = text(at.join("network"));
        let made = Command::new(binary()?)
            .args(["simulator", "init", "--dir", &network, "--dns", "localhost"])
            .output()?;
        ensure!(made.status.success(), "simulator init: {}", String::from_utf8_lossy(&made.stderr));
        let (simulator_port, record) = (port::free()?, port::free()?);
        let file = |name: &str| format!("{network}/network/{name}");
        let mut simulator = strings(&["simulator", "--tls-cert", &file("tls.crt"), "--tls-key"]);
        simulator.extend([file("tls.key"), "--network-key".into(), file("network.key")]);
        simulator.extend(["--merchants".into(), file("merchants.json"), "--state".into(), file("journal")]);
        simulator.extend([
            "--networks".into(),
            file("networks.json"),
            "--payer-after-ms".into(),
            "100".into(),
        ]);
        simulator.extend(["--notify-ca".into(), format!("{trust}/ca.crt")]);
        simulator.extend(listening(&[("--listen", simulator_port), ("--health", record)]));
        let simulator = Process::start(simulator, at.join("simulator.log"), record)?;

        let identity = text(postgres.pki.leaf("gateway", &[])?);
        let mut stack = Self {
            gateways: vec![],
            ledger,
            simulator,
            postgres,
            folder,
            ports: vec![],
            record,
            epoch: 0,
            environment: "Test",
            risk: json!([]),
            step_up: Value::Null,
            simulator_port,
            ledger_port,
        };
        let config = text(stack.configure(60, true)?);
        Pki::notify_key(&at)?;
        Pki::data_key(&at)?;
        for number in 0..2 {
            let ports = [port::free()?, port::free()?, port::free()?];
            let mut gateway =
                strings(&["gateway", "--config", &config, "--tls", &identity, "--trust", &trust]);
            gateway.extend(listening(&[
                ("--listen", ports[0]),
                ("--admin", ports[1]),
                ("--health", ports[2]),
            ]));
            gateway.extend(["--notify-key".into(), text(at.join("notify.key"))]);
            gateway.extend(["--data-key".into(), text(at.join("data.key"))]);
            gateway.extend(["--database-tls".into(), identity.clone()]);
            gateway.extend(["--database-trust".into(), trust.clone()]);
            gateway.extend(["--vault-tls".into(), vault.clone()]);
            let log = at.join(format!("gateway-{number}.log"));
            stack.gateways.push(Process::start(gateway, log, ports[2])?);
            stack.ports.extend(ports);
        }
        stack.ledger.ready().await?;
        stack.simulator.ready().await?;
        for gateway in &mut stack.gateways {
            gateway.ready().await?;
        }
        stack.register().await?;
        Ok(stack)
    }

    /// Writes the gateways' config: fee in basis points, and whether the
    /// channel is enabled. Each has a higher epoch.
    pub(crate) fn configure(&mut self, basis_points: i64, enabled: bool) -> Result<PathBuf> {
        let mut channel = self.channel("sim", 1, basis_points)?;
        channel["enabled"] = json!(enabled);
        self.configure_channels(&[channel])
    }

    /// A channel to the simulator for method `card`.
    pub(crate) fn channel(&self, name: &str, priority: u32, basis_points: i64) -> Result<Value> {
        let folder = self.config_folder()?;
        let key = |name: &str| -> Result<Value> {
            let bytes = std::fs::read(self.folder.path().join("network/merchant").join(name))?;
            std::fs::write(folder.join(name), &bytes)?;
            Ok(json!({"file": name, "sha256": payplane_api::config::hash(&bytes)}))
        };
        Ok(json!({
            "name": name, "enabled": true,
            "methods": [{"name": "card", "priority": priority,
                "fees": [{"currency": "CNY", "basisPoints": basis_points, "fixedMinor": 0}],
                "limits": [{"currency": "CNY", "perPaymentMinorMax": 10_000_000}]}],
            "network": {"type": "Simulator",
                "endpoint": format!("https://localhost:{}", self.simulator_port), "merchantId": "M1",
                "merchantKey": key("merchant.key")?, "networkKey": key("network.pub")?, "ca": key("ca.crt")?},
        }))
    }

    pub(crate) fn configure_channels(&mut self, channels: &[Value]) -> Result<PathBuf> {
        self.epoch += 1;
        let folder = self.config_folder()?;
        let config = json!({
            "tenant": "test", "environment": self.environment, "epoch": self.epoch, "currencies": ["CNY", "USD"],
            "calendar": calendar(), "database": self.postgres.config("gateway"),
            "ledger": format!("https://localhost:{}", self.ledger_port),
            "channels": channels, "risk": self.risk, "stepUp": self.step_up,
        });
        let path = folder.join("config.json");
        std::fs::write(folder.join("next"), serde_json::to_vec_pretty(&config)?)?;
        std::fs::rename(folder.join("next"), &path)?;
        Ok(path)
    }

    pub(crate) fn config_folder(&self) -> Result<PathBuf> {
        let folder = self.folder.path().join("config");
        std::fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    async fn register(&self) -> Result<()> {
        self.register_merchant("M1", &json!({"displayName": "Shop"})).await?;
        for app in ["app1", "app2"] {
            let (status, answer) = self.register_app(app, &Value::Null).await?;
            ensure!(status == 200, "{answer}");
        }
        Ok(())
    }

    /// One certificate applies for a merchant, another approves it.
    pub(crate) async fn register_merchant(&self, merchant: &str, body: &Value) -> Result<()> {
        let path = format!("/admin/v1/merchants/{merchant}");
        let (status, answer) = self.admin("admin-client", "PUT", &path, body).await?;
        ensure!(status == 200 && answer["status"] == "Applied", "{answer}");
        let path = format!("{path}/approve");
        let (status, answer) = self.admin("admin-checker", "POST", &path, &json!({})).await?;
        ensure!(status == 200 && answer["status"] == "Active", "{answer}");
        Ok(())
    }

    /// Registers an app that pays to M1, with its key, and where it is notified.
    pub(crate) async fn register_app(&self, app: &str, notification: &Value) -> Result<(u16, Value)> {
        let (key, public) = (self.key(app), self.folder.path().join(format!("{app}.pub")));
        payplane_client::key::keygen(&payplane_client::key::KeygenArgs { key, public: public.clone() })?;
        let keys = json!([{"keyId": "k1", "publicKeyPem": std::fs::read_to_string(public)?}]);
        let body = json!({"displayName": app, "keys": keys, "notification": notification});
        let registered = self.admin("admin-client", "PUT", &format!("/admin/v1/apps/{app}"), &body).await?;
        if registered.0 == 200 {
            self.bind(app, "M1").await?;
        }
        Ok(registered)
    }

    /// Lets an app pay to a merchant.
    pub(crate) async fn bind(&self, app: &str, merchant: &str) -> Result<()> {
        let path = format!("/admin/v1/apps/{app}/merchants/{merchant}");
        let (status, answer) = self.admin("admin-client", "PUT", &path, &json!({})).await?;
        ensure!(status == 200, "{answer}");
        Ok(())
    }

    pub(crate) fn key(&self, app: &str) -> PathBuf {
        self.folder.path().join(format!("{app}.key"))
    }

    /// An app's client that calls both gateways in turn.
    pub(crate) fn app(&self, app: &str, connections: usize) -> Result<App> {
        self.client(app, vec![self.url(0), self.url(1)], connections)
    }

    /// The client of `app1` that calls one gateway.
    pub(crate) fn app_of(&self, gateway: usize, connections: usize) -> Result<App> {
        self.client("app1", vec![self.url(gateway)], connections)
    }

    fn client(&self, app: &str, gateway: Vec<String>, connections: usize) -> Result<App> {
        Ok(App::new(&AppArgs {
            gateway,
            ca: self.postgres.pki.trust().join("ca.crt"),
            app: app.into(),
            key: self.key(app),
            key_id: "k1".into(),
            algorithm: Default::default(),
            style: Default::default(),
            timeout: Duration::from_secs(30),
            silence: Duration::from_secs(8),
            connections,
        })?)
    }

    /// The app API of one gateway.
    pub(crate) fn url(&self, gateway: usize) -> String {
        format!("https://localhost:{}", self.ports[gateway * 3])
    }

    pub(crate) fn https(&self, identity: Option<&str>) -> Result<Client> {
        let ca = std::fs::read(self.postgres.pki.trust().join("ca.crt"))?;
        let mut builder = Client::builder().tls_certs_only(Certificate::from_pem_bundle(&ca)?).no_proxy();
        if let Some(name) = identity {
            let folder = self.postgres.pki.leaf(name, &[])?;
            let pem = [std::fs::read(folder.join("tls.crt"))?, std::fs::read(folder.join("tls.key"))?];
            builder = builder.identity(Identity::from_pem(&pem.concat())?);
        }
        Ok(builder.build()?)
    }

    /// Calls the admin port of the first gateway with a certificate of this name.
    pub(crate) async fn admin(
        &self,
        name: &str,
        method: &str,
        path: &str,
        body: &Value,
    ) -> Result<(u16, Value)> {
        let url = format!("https://localhost:{}{path}", self.ports[1]);
        let request = self.https(Some(name))?.request(method.parse()?, url);
        let request = if method == "GET" { request } else { request.json(body) };
        read(request).await
    }

    /// Sends a signed request whose headers `change` may spoil.
    pub(crate) async fn signed(
        &self,
        signer: &Signer,
        body: &str,
        change: impl Fn(reqwest::Request) -> reqwest::Request,
    ) -> Result<(u16, Value)> {
        self.signed_at("/v1/payments", signer, body, change).await
    }

    /// The same to another path.
    pub(crate) async fn signed_at(
        &self,
        path: &str,
        signer: &Signer,
        body: &str,
        change: impl Fn(reqwest::Request) -> reqwest::Request,
    ) -> Result<(u16, Value)> {
        let url = format!("{}{path}", self.url(0)).parse()?;
        let headers = signer.sign("POST", &url, body.as_bytes()).context("signing")?;
        let client = self.https(None)?;
        let request = client
            .post(url)
            .header("content-digest", headers.content_digest)
            .header("signature-input", headers.signature_input)
            .header("signature", headers.signature)
            .body(body.to_owned());
        let answer = client.execute(change(request.build()?)).await?;
        let (status, text) = (answer.status().as_u16(), answer.text().await?);
        // Whoever looks for something in it sees all of it.
        Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// What a gateway tells of itself.
    pub(crate) async fn metrics(&self, gateway: usize) -> Result<String> {
        let url = format!("http://127.0.0.1:{}/metrics", self.ports[gateway * 3 + 2]);
        Ok(reqwest::get(url).await?.text().await?)
    }

    /// What the network took: its own record.
    pub(crate) async fn record(&self) -> Result<Vec<Value>> {
        let url = format!("http://127.0.0.1:{}/sim/v1/record", self.record);
        let record: Value = serde_json::from_slice(&reqwest::get(url).await?.bytes().await?)?;
        Ok(record["payments"].as_array().cloned().unwrap_or_default())
    }

    /// One number, as the owner of the database reads it.
    pub(crate) async fn count(&self, sql: &str) -> Result<i64> {
        Ok(self.postgres.connect("postgres").await?.query_one(sql, &[]).await?.get(0))
    }

    /// Books, orders and the network's record agree, to the cent.
    pub(crate) async fn check_agreement(&self) -> Result<()> {
        self.check_channel("sim", "Simulator").await
    }

    /// The same for one channel and the network behind it.
    pub(crate) async fn check_channel(&self, channel: &str, network: &str) -> Result<()> {
        let (_, balance) = self.admin("admin-client", "GET", "/admin/v1/trial-balance", &json!({})).await?;
        ensure!(balance["balanced"] == true, "{balance}");
        let minor = |value: &Value| value.as_i64().unwrap_or(0);
        let lines = balance["lines"].as_array().cloned().unwrap_or_default();
        let receivable = lines.iter().find(|line| line["account"] == format!("channel:{channel}:receivable"));
        let booked = receivable.map_or(0, |line| minor(&line["debitMinor"]) - minor(&line["creditMinor"]));
        let taken: i64 = (self.record().await?.iter())
            .filter(|payment| payment["state"] == "Succeeded" && payment["kind"] != "Payout")
            .filter(|payment| payment["network"].as_str().unwrap_or("Simulator") == network)
            .map(|payment| {
                let sign = if payment.to_string().contains("original") { -1 } else { 1 };
                sign * minor(&payment["amountMinor"])
            })
            .sum();
        let orders = format!(
            "SELECT coalesce(sum(amount_minor - refunded_minor), 0)::int8 FROM gateway.orders
             WHERE status = 'Succeeded' AND channel = '{channel}'"
        );
        let orders = self.count(&orders).await?;
        ensure!(booked == taken && taken == orders, "books {booked}, network {taken}, orders {orders}");
        Ok(())
    }
}

/// A payment in CNY.
pub(crate) fn payment(number: &str, amount_minor: i64) -> PayRequest {
    PayRequest {
        order_date: jiff::civil::Date::constant(2026, 11, 24),
        order_number: number.into(),
        merchant_id: "M1".into(),
        method: "card".into(),
        amount_minor,
        currency: "CNY".into(),
        description: None,
        payer_id: None,
        expires_in_seconds: None,
    }
}

pub(crate) fn refund(number: &str, amount_minor: i64) -> RefundRequest {
    RefundRequest { refund_number: number.into(), amount_minor, ..RefundRequest::default() }
}

/// The code of a refusal.
pub(crate) fn code<T: std::fmt::Debug>(answer: Result<T, CallError>) -> String {
    match answer {
        Err(CallError::Refused { problem, .. }) => problem.code,
        other => format!("{other:?}"),
    }
}

/// Asks until the order has ended.
pub(crate) async fn ended(app: &App, number: &str, max: Duration) -> Result<Payment> {
    let started = Instant::now();
    loop {
        let last = app.payment(DATE, number).await;
        match last {
            Ok(payment) if payment.status != PaymentStatus::Processing => return Ok(payment),
            _ if started.elapsed() > max => bail!("{number} has not ended: {last:?}"),
            _ => tokio::time::sleep(Duration::from_millis(300)).await,
        }
    }
}

pub(crate) async fn read(request: reqwest::RequestBuilder) -> Result<(u16, Value)> {
    let answer = request.send().await?;
    let status = answer.status().as_u16();
    Ok((status, serde_json::from_slice(&answer.bytes().await?).unwrap_or_default()))
}

pub(crate) fn calendar() -> Value {
    json!({"timezone": "Asia/Shanghai", "cutoff": "23:00"})
}

pub(crate) fn ledger_config(postgres: &Postgres) -> Value {
    json!({
        "tenant": "test", "environment": "Test", "currencies": ["CNY", "USD", "JPY"],
        "calendar": calendar(), "database": postgres.config("ledger"),
    })
}

pub(crate) fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

pub(crate) fn listening(ports: &[(&str, u16)]) -> Vec<String> {
    ports.iter().flat_map(|(flag, port)| [(*flag).to_owned(), format!("127.0.0.1:{port}")]).collect()
}
