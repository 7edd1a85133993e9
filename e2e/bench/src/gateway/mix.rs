//! Which channels payments go over: each of a method of its own, so that a payment's
//! method says which channel takes it.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

/// A channel, and how it is reached.
pub(super) struct Lane {
    pub(super) channel: &'static str,
    pub(super) method: &'static str,
    /// Who pays, where the method names the payer.
    pub(super) payer: Option<&'static str>,
    network: Network,
}

/// The kinds of networks that there are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Network {
    Simulator,
    WechatPay,
    Alipay,
    UnionPay,
    UnionPayKeyed,
    Bank,
}

/// Payments take these in turn, in equal shares.
pub(super) struct Mix(Vec<Lane>);

/// Where channels and the simulator find each other.
pub(super) struct Places<'a> {
    /// The folder of the simulator's keys.
    pub(super) keys: &'a Path,
    /// The gateways' config folder.
    pub(super) config: &'a Path,
    pub(super) simulator: u16,
    /// The app APIs of the gateways: networks notify them in turn.
    pub(super) gateways: &'a [u16],
}

impl Mix {
    /// The simulated network alone: ECDSA P-256, and it answers at once.
    pub(super) fn ecdsa() -> Self {
        Self(vec![Lane::of("sim", "card", Network::Simulator)])
    }

    /// UnionPay with an SM3 key, paid at once and told by a notification, and a bank's core.
    pub(super) fn keyed() -> Self {
        let bank = Lane::of("bankdirect", "bank-account", Network::Bank);
        let unionpay = Lane::of("unionpay", "unionpay-qr", Network::UnionPayKeyed);
        Self(vec![unionpay, Lane { payer: Some("6222020200112233445"), ..bank }])
    }

    /// All networks: three of them with RSA-2048, whose payers pay at once and whose
    /// notifications tell of it.
    pub(super) fn all() -> Self {
        let mut lanes = Self::ecdsa().0;
        lanes.extend([
            Lane::of("wechat", "wechat-native", Network::WechatPay),
            Lane::of("alipay", "alipay-qr", Network::Alipay),
            Lane::of("unionpay", "unionpay-qr", Network::UnionPay),
        ]);
        Self(lanes)
    }

    pub(super) fn lanes(&self) -> &[Lane] {
        &self.0
    }

    /// What the payment of this number goes over.
    pub(super) fn of(&self, number: usize) -> &Lane {
        &self.0[number % self.0.len()]
    }

    /// The channels as the gateway's config has them. Their keys are copied beside it.
    pub(super) fn channels(&self, places: &Places<'_>) -> Result<Vec<Value>> {
        let gateways = places.gateways.iter().cycle();
        self.0.iter().zip(gateways).map(|(lane, gateway)| lane.config(places, *gateway)).collect()
    }
}

impl Lane {
    fn of(channel: &'static str, method: &'static str, network: Network) -> Self {
        Self { channel, method, payer: None, network }
    }

    fn config(&self, places: &Places<'_>, gateway: u16) -> Result<Value> {
        Ok(json!({
            "name": self.channel, "enabled": true,
            "methods": [{"name": self.method, "priority": 1,
                "fees": [{"currency": "CNY", "basisPoints": 60, "fixedMinor": 0}],
                "limits": [{"currency": "CNY", "perPaymentMinorMax": 10_000_000}]}],
            "network": self.network(places, gateway)?,
        }))
    }

    fn network(&self, places: &Places<'_>, gateway: u16) -> Result<Value> {
        let folder = if self.network == Network::Simulator { "merchant" } else { self.channel };
        let folder = places.keys.join(folder);
        let key = |name: &str| -> Result<Value> {
            let bytes = std::fs::read(folder.join(name))?;
            let file = format!("{}-{name}", self.channel);
            std::fs::write(places.config.join(&file), &bytes)?;
            Ok(json!({"file": file, "sha256": payplane_api::config::hash(&bytes)}))
        };
        let endpoint = format!("https://localhost:{}", places.simulator);
        if self.network == Network::Simulator {
            return Ok(json!({"type": "Simulator", "endpoint": endpoint, "merchantId": "M1",
                "merchantKey": key("merchant.key")?, "networkKey": key("network.pub")?, "ca": key("ca.crt")?}));
        }
        let mut network: Value = serde_json::from_slice(&std::fs::read(folder.join("ids.json"))?)?;
        network["endpoint"] = endpoint.into();
        network["isSimulated"] = true.into();
        network["ca"] = key("ca.crt")?;
        let path = format!("v1/channels/{}/notifications", self.channel);
        network["notifyUrl"] = format!("https://localhost:{gateway}/{path}").into();
        if self.network == Network::UnionPayKeyed {
            network["type"] = "UnionPay".into();
            network["signing"] = json!({"method": "Sm3", "secureKey": key("secure.key")?});
            return Ok(network);
        }
        if self.network == Network::UnionPay {
            network["type"] = "UnionPay".into();
            network["signing"] = json!({"method": "Rsa", "merchantKey": key("merchant.key")?,
                "merchantCertificate": key("merchant.crt")?, "networkCa": key("network-ca.crt")?});
            return Ok(network);
        }
        network["merchantKey"] = key("merchant.key")?;
        network["networkKey"] = key("network.pub")?;
        if self.network == Network::WechatPay {
            network["apiV3Key"] = key("apiv3.key")?;
        }
        network["type"] = match self.network {
            Network::WechatPay => "WechatPay",
            Network::Bank => "BankDirect",
            _ => "Alipay",
        }
        .into();
        Ok(network)
    }
}
