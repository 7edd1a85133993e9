mod answers;
mod exchanges;
mod notifications;
mod payments;
mod refunds;
mod requests;
mod signing;
mod writing;

use std::sync::{Arc, OnceLock};

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use payplane_api::config::{AlipayNetwork, KeyFile, Reach};
use payplane_api::currency::Currency;
use payplane_api::money::Money;

use super::Alipay;
use super::message::Head;
use crate::channel::endpoint::DeniedNetworks;
use crate::channel::rsa::{SigningKey, VerifyingKey};
use crate::channel::{Kind, Sent};

const NUMBER: &str = "0192f3a4b5c67d8e9f00112233445566";
const ORIGINAL: &str = "0192f3a4b5c67d8e9f00112233440000";
const TRADE_NO: &str = "2026113022001401490000000001";

fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
}

/// A private and a public key as PEM, of these tests alone.
fn pair() -> &'static (String, String) {
    static PAIR: OnceLock<(String, String)> = OnceLock::new();
    PAIR.get_or_init(|| {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        let public: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        (pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", public.as_ref()))
    })
}

fn signing() -> &'static SigningKey {
    static KEY: OnceLock<SigningKey> = OnceLock::new();
    KEY.get_or_init(|| SigningKey::from_pem(pair().0.as_bytes()).unwrap())
}

fn verifying() -> &'static VerifyingKey {
    static KEY: OnceLock<VerifyingKey> = OnceLock::new();
    KEY.get_or_init(|| VerifyingKey::from_pem(pair().1.as_bytes()).unwrap())
}

/// An answer as the network writes it.
fn body(name: &str, node: &str) -> String {
    format!("{{\"{name}\":{node},\"sign\":\"{}\"}}", signing().sign(node.as_bytes()).unwrap())
}

fn head(node: &str) -> Head {
    serde_json::from_str(node).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn cny(minor: i64) -> Money {
    Money::new(minor, Currency::parse("CNY").unwrap()).unwrap()
}

fn payment() -> Sent {
    let kind = Kind::Payment { expires_at: at("2026-11-30T02:00:00Z") };
    let signed_at = at("2026-11-30T01:45:00Z");
    Sent { number: NUMBER.into(), amount: cny(1234), signed_at, network_id: None, kind }
}

fn refund() -> Sent {
    let kind = Kind::Refund { original_number: ORIGINAL.into() };
    Sent { kind, ..payment() }
}

/// A channel whose network is at an endpoint, and is believed by these certificates.
fn alipay(endpoint: &str, ca: Option<&str>) -> Alipay {
    let folder = std::env::temp_dir().join(format!("alipay-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let key = |file: &str, pem: &str| {
        std::fs::write(folder.join(file), pem).unwrap();
        KeyFile { file: file.into(), sha256: payplane_api::config::hash(pem.as_bytes()) }
    };
    let config = AlipayNetwork {
        reach: Reach {
            endpoint: endpoint.into(),
            is_simulated: true,
            ca: ca.map(|pem| key("ca", pem)),
            notify_url: "https://pay.example/v1/channels/a/notifications?x=1&y=2".into(),
        },
        app_id: "2021003126695331".into(),
        merchant_key: key("merchant", &pair().0),
        network_key: key("network", &pair().1),
    };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let alipay = Alipay::new(&config, &folder, Arc::new(DeniedNetworks::default())).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    alipay
}
