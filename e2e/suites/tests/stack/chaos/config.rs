//! A gateway's config: two channels to the made-up network, and one to each real one.

use std::path::Path;

use anyhow::{Context, Result};
use payplane_testkit::Postgres;
use serde_json::{Value, json};

use super::links::Links;
use crate::harness::calendar;

/// Fee of each channel, in basis points.
pub(super) const BASIS_POINTS: i64 = 60;

/// The channels of method `card`, first and second.
pub(super) const CARD: [&str; 2] = ["card-a", "card-b"];

/// Channel and folder, type, and method of the others.
pub(super) const OTHERS: [(&str, &str, &str); 3] = [
    ("wechat", "WechatPay", "wechat-native"),
    ("alipay", "Alipay", "alipay-qr"),
    ("unionpay", "UnionPay", "unionpay-qr"),
];

/// Keys as files beside the config.
struct Keys<'a> {
    at: &'a Path,
}

impl Keys<'_> {
    fn key(&self, folder: &str, name: &str) -> Result<Value> {
        let bytes = std::fs::read(self.at.join("network").join(folder).join(name))
            .with_context(|| format!("{folder}/{name}"))?;
        let file = format!("{folder}-{name}");
        // The first gateway may be reading it by now.
        if !self.at.join(&file).exists() {
            std::fs::write(self.at.join(&file), &bytes)?;
        }
        Ok(json!({"file": file, "sha256": payplane_api::config::hash(&bytes)}))
    }
}

pub(super) fn gateway(at: &Path, postgres: &Postgres, links: &Links, n: usize) -> Result<Value> {
    let keys = Keys { at };
    let endpoint = |link: usize| format!("https://localhost:{}", links.networks[n][link].address.port());
    let mut channels = vec![];
    for (place, name) in CARD.iter().enumerate() {
        let network = json!({"type": "Simulator", "endpoint": endpoint(place), "merchantId": "M1",
            "merchantKey": keys.key("merchant", "merchant.key")?,
            "networkKey": keys.key("merchant", "network.pub")?, "ca": keys.key("merchant", "ca.crt")?});
        channels.push(channel(name, "card", place + 1, &network));
    }
    for (name, kind, method) in OTHERS {
        let notify = format!("https://localhost:{}", links.notices.address.port());
        let ids = std::fs::read(at.join("network").join(name).join("ids.json"))?;
        let mut network: Value = serde_json::from_slice(&ids)?;
        network["type"] = kind.into();
        network["endpoint"] = endpoint(2).into();
        network["isSimulated"] = true.into();
        network["ca"] = keys.key(name, "ca.crt")?;
        network["notifyUrl"] = format!("{notify}/v1/channels/{name}/notifications").into();
        if name == "unionpay" {
            network["signing"] = json!({"method": "Rsa", "merchantKey": keys.key(name, "merchant.key")?,
                "merchantCertificate": keys.key(name, "merchant.crt")?,
                "networkCa": keys.key(name, "network-ca.crt")?});
        } else {
            network["merchantKey"] = keys.key(name, "merchant.key")?;
            network["networkKey"] = keys.key(name, "network.pub")?;
        }
        if name == "wechat" {
            network["apiV3Key"] = keys.key(name, "apiv3.key")?;
        }
        channels.push(channel(name, method, 1, &network));
    }
    let database = |role: &str| -> Result<Value> {
        let mut database = serde_json::to_value(postgres.config(role))?;
        database["port"] = links.gateway_database[n].address.port().into();
        Ok(database)
    };
    let ledger = format!("https://localhost:{}", links.books[n].address.port());
    Ok(json!({
        "tenant": "test", "environment": "Test", "epoch": 1, "currencies": ["CNY"], "calendar": calendar(),
        "database": database("gateway")?, "ledger": ledger, "channels": channels,
    }))
}

fn channel(name: &str, method: &str, priority: usize, network: &Value) -> Value {
    json!({"name": name, "enabled": true, "network": network,
        "methods": [{"name": method, "priority": priority, "limits": [],
            "fees": [{"currency": "CNY", "basisPoints": BASIS_POINTS, "fixedMinor": 0}]}]})
}
