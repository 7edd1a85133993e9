//! Which channels payments go over: each of a method of its own, so that a payment's
//! method says which channel takes it.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

/// A channel, and how it is reached.
pub(super) struct Lane {
    pub(super) channel: &'static str,
    pub(super) method: &'static str,
    network: Network,
}

/// The kinds of networks that there are.
enum Network {
    Simulator,
}

/// Payments take these in turn, in equal shares.
pub(super) struct Mix(Vec<Lane>);

impl Mix {
    /// The simulated network alone: ECDSA P-256, and it answers at once.
    pub(super) fn ecdsa() -> Self {
        Self(vec![Lane { channel: "sim", method: "card", network: Network::Simulator }])
    }

    pub(super) fn lanes(&self) -> &[Lane] {
        &self.0
    }

    /// What the payment of this number goes over.
    pub(super) fn of(&self, number: usize) -> &Lane {
        &self.0[number % self.0.len()]
    }

    /// The channels as the gateway's config has them. Their keys are copied beside it.
    pub(super) fn channels(&self, network: &Path, config: &Path, port: u16) -> Result<Vec<Value>> {
        self.0.iter().map(|lane| lane.config(network, config, port)).collect()
    }
}

impl Lane {
    fn config(&self, network: &Path, config: &Path, port: u16) -> Result<Value> {
        let key = |name: &str| -> Result<Value> {
            let bytes = std::fs::read(network.join("merchant").join(name))?;
            let file = format!("{}-{name}", self.channel);
            std::fs::write(config.join(&file), &bytes)?;
            Ok(json!({"file": file, "sha256": payplane_api::config::hash(&bytes)}))
        };
        let network = match self.network {
            Network::Simulator => json!({
                "type": "Simulator", "endpoint": format!("https://localhost:{port}"), "merchantId": "M1",
                "merchantKey": key("merchant.key")?, "networkKey": key("network.pub")?, "ca": key("ca.crt")?,
            }),
        };
        Ok(json!({
            "name": self.channel, "enabled": true,
            "methods": [{"name": self.method, "priority": 1,
                "fees": [{"currency": "CNY", "basisPoints": 60, "fixedMinor": 0}],
                "limits": [{"currency": "CNY", "perPaymentMinorMax": 10_000_000}]}],
            "network": network,
        }))
    }
}
