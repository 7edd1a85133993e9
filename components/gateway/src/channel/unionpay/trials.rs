//! Two sides of UnionPay, for the tests: the merchant that is tested, and a network that
//! signs as it does.

mod answers;
mod certificates;
mod fields;
mod notifications;
mod setup;
mod signatures;
mod times;
mod tokens;

use std::borrow::Cow;
use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use payplane_api::config::hash as sha256;
use payplane_api::currency::Currency;
use payplane_api::money::Money;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, PKCS_RSA_SHA256,
};

use super::certificate::{NetworkCa, certificate_id};
use super::fields::{encode_onto, join};
use super::request::Merchant;
use super::sign::{Hash, Signer};
use super::time;
use crate::channel::rsa::SigningKey;
use crate::channel::{Kind, Sent};

const MER_ID: &str = "777290058110048";
const NUMBER: &str = "0198c5a7d2b17e3c9f00112233445566";
const NETWORK_NAME: &str = "041@8310000000083040@中国银联股份有限公司@00016495";

/// A private key (PKCS#8) of the tests.
struct Key(Vec<u8>);

impl Key {
    fn generate() -> Self {
        let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
        Self(der.as_ref().to_vec())
    }

    fn rcgen(&self) -> rcgen::KeyPair {
        rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&self.0.as_slice().into(), &PKCS_RSA_SHA256).unwrap()
    }

    fn signing(&self) -> SigningKey {
        let text = STANDARD.encode(&self.0);
        SigningKey::from_pem(
            format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n").as_bytes(),
        )
        .unwrap()
    }
}

struct Pki {
    root: Key,
    between: Key,
    network: Key,
    merchant: Key,
}

static PKI: LazyLock<Pki> = LazyLock::new(|| {
    let key = Key::generate;
    Pki { root: key(), between: key(), network: key(), merchant: key() }
});

fn named(name: &str, is_ca: bool) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    if is_ca {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    } else {
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::EmailProtection];
    }
    params
}

/// PEM of the root and of the CA between.
fn bundle() -> String {
    let root = named("TEST ROOT", true);
    let between = named("TEST OCA", true);
    let issuer = Issuer::from_params(&root, PKI.root.rcgen());
    let between = between.signed_by(&PKI.between.rcgen(), &issuer).unwrap();
    format!("{}{}", root.self_signed(&PKI.root.rcgen()).unwrap().pem(), between.pem())
}

/// The network's certificate, as its messages have it.
fn signed_by_between(params: &CertificateParams) -> String {
    let between = named("TEST OCA", true);
    let issuer = Issuer::from_params(&between, PKI.between.rcgen());
    params.signed_by(&PKI.network.rcgen(), &issuer).unwrap().pem().trim_end().to_owned()
}

static CERTIFICATE: LazyLock<String> = LazyLock::new(|| signed_by_between(&named(NETWORK_NAME, false)));

fn merchant_with(signer: Signer) -> Merchant {
    Merchant {
        mer_id: MER_ID.into(),
        notify_url: "https://pay.example/v1/n?a=b+c%20d".into(),
        signer,
        tokens: None,
    }
}

fn by_digest(digest: Hash) -> Merchant {
    merchant_with(Signer::Digest { digest, key: digest.key(b"88888888\n").unwrap() })
}

fn by_rsa() -> Merchant {
    let key = PKI.merchant.signing();
    let pem = named("merchant", false).self_signed(&PKI.merchant.rcgen()).unwrap().pem();
    let certificate_id = certificate_id(pem.as_bytes(), &key).unwrap();
    let network = NetworkCa::from_pem(bundle().as_bytes(), false).unwrap();
    merchant_with(Signer::Rsa { key, certificate_id, network })
}

type Pairs<'a> = Vec<(&'a str, Cow<'a, str>)>;

/// The network's side: signs fields, which are returned in an order of its own.
fn network_signs<'a>(method: &str, mut pairs: Pairs<'a>) -> Pairs<'a> {
    pairs.push(("version", "5.1.0".into()));
    pairs.push(("encoding", "UTF-8".into()));
    pairs.push(("signMethod", method.to_owned().into()));
    if method == "01" {
        pairs.push(("signPubKeyCert", CERTIFICATE.clone().into()));
    }
    let mut sorted = pairs.clone();
    sorted.sort();
    let text = join(sorted.iter().map(|(key, value)| (*key, value.as_ref())));
    let digest = |text: &str| match method {
        "12" => hex::encode(<sm3::Sm3 as sm3::Digest>::digest(text.as_bytes())),
        _ => sha256(text.as_bytes()),
    };
    let signature = match method {
        "01" => PKI.network.signing().sign(digest(&text).as_bytes()).unwrap(),
        _ => digest(&format!("{text}&{}", digest("88888888"))),
    };
    pairs.push(("signature", signature.into()));
    pairs
}

/// An answer, as it is sent.
fn answer(method: &str, pairs: Pairs<'_>) -> String {
    let pairs = network_signs(method, pairs);
    join(pairs.iter().map(|(key, value)| (*key, value.as_ref())))
}

/// A notification, form-encoded.
fn form(method: &str, pairs: Pairs<'_>) -> String {
    let mut text = String::new();
    for (key, value) in network_signs(method, pairs) {
        text.extend([if text.is_empty() { "" } else { "&" }, key, "="]);
        encode_onto(&mut text, &value);
    }
    text
}

/// Fields with some of them replaced; an empty value takes a field away.
fn with<'a>(mut pairs: Pairs<'a>, others: &[(&'a str, &'a str)]) -> Pairs<'a> {
    for (key, value) in others {
        pairs.retain(|(known, _)| known != key);
        if !value.is_empty() {
            pairs.push((key, (*value).into()));
        }
    }
    pairs
}

fn cny(minor: i64) -> Money {
    Money::new(minor, Currency::parse("CNY").unwrap()).unwrap()
}

fn signed_at() -> Timestamp {
    time::parse("20260101120000").unwrap()
}

fn payment() -> Sent {
    let expires_at = signed_at().saturating_add(SignedDuration::from_mins(15)).unwrap();
    let kind = Kind::Payment { expires_at };
    Sent { number: NUMBER.into(), amount: cny(1000), signed_at: signed_at(), network_id: None, kind }
}

fn refund() -> Sent {
    Sent { kind: Kind::Refund { original_number: "x".into() }, ..payment() }
}
