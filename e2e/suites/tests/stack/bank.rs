//! What a bank has that the other networks have not: other currencies, mutual TLS, and keys
//! of both sides that change while payments go on.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use payplane_client::call::App;
use payplane_client::message::PayRequest;
use payplane_client::message::PaymentStatus::{Failed, Succeeded};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

use crate::harness::{DATE, Stack, refund};
use crate::networks::NETWORKS;

struct Bank {
    stack: Stack,
    app: App,
    folder: PathBuf,
    traffic: PathBuf,
    paid: u32,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bank_is_paid_in_its_currency_over_mutual_tls_while_keys_change() -> Result<()> {
    let mut bank = Bank::start().await?;
    let first = bank.paid_by_keys().await?;
    let (own, next) = (bank.folder.join("bankdirect"), KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?);

    // Ours: the bank knows the new one before we sign with it.
    let mut networks = bank.networks()?;
    let keys = networks["bankDirect"]["participants"][0]["publicKeys"].as_array_mut().context("no keys")?;
    keys.push(next.public_key_pem().into());
    bank.follow(&networks).await?;
    std::fs::write(own.join("merchant.key"), next.serialize_pem())?;
    bank.configure().await?;
    let second = bank.paid_by_keys().await?;
    ensure!(second.0 != first.0 && second.1 == first.1, "{first:?} {second:?}");

    // The bank's: we know the new one before it signs with it.
    let next = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let known = std::fs::read_to_string(own.join("network.pub"))?;
    std::fs::write(own.join("network.pub"), known + &next.public_key_pem())?;
    bank.configure().await?;
    std::fs::write(bank.folder.join("network/next.key"), next.serialize_pem())?;
    networks["bankDirect"]["privateKeyFile"] = "next.key".into();
    bank.follow(&networks).await?;
    let third = bank.paid_by_keys().await?;
    ensure!(third.0 == second.0 && third.1 != second.1, "{second:?} {third:?}");

    // Refused for good, and a part refunded, in its currency.
    let declined = bank.order("declined", 9_001);
    let answer = bank.app.pay(&declined).await?;
    ensure!(answer.failure_code.as_deref() == Some("Declined") && answer.status == Failed, "{answer:?}");
    let part = bank.app.refund(DATE, "bank-1", &refund("R1", 1_000)).await?;
    ensure!(part.status == Succeeded, "{part:?}");
    bank.stack.check_channel("bankdirect", "BankDirect").await
}

impl Bank {
    /// A bank that talks only to who shows a certificate, and records what is said.
    async fn start() -> Result<Self> {
        let mut stack = Stack::start().await?;
        let (folder, traffic) = (stack.folder.path().join("network"), stack.folder.path().join("traffic"));
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let trust = text(&stack.postgres.pki.trust());
        let more = ["--traffic".to_owned(), text(&traffic), "--client-trust".to_owned(), trust];
        stack.simulator.restart_with(more).await?;
        let app = stack.app("app1", 2)?;
        let mut bank = Self { stack, app, folder, traffic, paid: 0 };
        bank.configure().await?;
        Ok(bank)
    }

    /// Both gateways go by the keys that lie in the folder.
    async fn configure(&mut self) -> Result<()> {
        let mut channel = NETWORKS[3].channel(&self.stack)?;
        channel["methods"][0]["fees"] = json!([{"currency": "USD", "basisPoints": 38, "fixedMinor": 0}]);
        let identity = self.stack.postgres.pki.leaf("bank-client", &[])?;
        let file = |name: &str| -> Result<Value> {
            let bytes = std::fs::read(identity.join(name))?;
            std::fs::write(self.stack.config_folder()?.join(name), &bytes)?;
            Ok(json!({"file": name, "sha256": payplane_api::config::hash(&bytes)}))
        };
        channel["network"]["client"] = json!({"certificate": file("tls.crt")?, "key": file("tls.key")?});
        let config = std::fs::read(self.stack.configure_channels(&[channel])?)?;
        self.logged("gateway-0.log", &config).await?;
        self.logged("gateway-1.log", &config).await
    }

    fn order(&self, number: &str, amount_minor: i64) -> PayRequest {
        let order = NETWORKS[3].order(number, amount_minor);
        PayRequest { order_number: format!("bank-{number}"), currency: "USD".into(), ..order }
    }

    fn networks(&self) -> Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(self.folder.join("network/networks.json"))?)?)
    }

    /// The bank's new keys, once it goes by them.
    async fn follow(&self, networks: &Value) -> Result<()> {
        let (path, bytes) = (self.folder.join("network/networks.json"), serde_json::to_vec(networks)?);
        std::fs::write(path.with_extension("half"), &bytes)?;
        std::fs::rename(path.with_extension("half"), path)?;
        self.logged("simulator.log", &bytes).await
    }

    /// Waits until a process has said that it goes by this file.
    async fn logged(&self, log: &str, file: &[u8]) -> Result<()> {
        let hash = payplane_api::config::hash(file);
        for _ in 0..100 {
            if std::fs::read_to_string(self.stack.folder.path().join(log))?.contains(&hash) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bail!("{log}: nothing of {hash}")
    }

    /// Pays, and tells which keys signed the request and its answer.
    async fn paid_by_keys(&mut self) -> Result<(String, String)> {
        self.paid += 1;
        let order = self.order(&self.paid.to_string(), 12_800);
        let paid = self.app.pay(&order).await?;
        ensure!((paid.status, paid.fee_minor) == (Succeeded, Some(49)), "{paid:?}");
        let text = std::fs::read_to_string(&self.traffic)?;
        let last: Value = serde_json::from_str(text.lines().last().context("nothing was said")?)?;
        let key = |headers: &Value| {
            let all = headers.as_array().cloned().unwrap_or_default();
            let key = all.iter().find(|header| header[0] == "bank-key").map(|header| header[1].to_string());
            key.context("no key")
        };
        Ok((key(&last["headers"])?, key(&last["answer"]["headers"])?))
    }
}
