use std::path::PathBuf;
use std::sync::Arc;

use payplane_api::config::{KeyFile, Reach, UnionPayNetwork, UnionPaySigning, hash};
use payplane_api::currency::Currency;
use payplane_api::money::Money;

use super::super::UnionPay;
use super::super::fields::Fields;
use super::{MER_ID, NUMBER, PKI, bundle, cny, named, payment};
use crate::channel::endpoint::DeniedNetworks;
use crate::channel::{Channel, Pay, Repay};

/// A config's folder, that goes away.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        // The first one stays.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let path = std::env::temp_dir().join(format!("unionpay-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn key(&self, file: &str, text: &str) -> KeyFile {
        std::fs::write(self.0.join(file), text).unwrap();
        KeyFile { file: file.into(), sha256: hash(text.as_bytes()) }
    }

    fn channel(&self, signing: UnionPaySigning) -> Option<UnionPay> {
        let reach = Reach {
            endpoint: "https://gateway.95516.com".into(),
            is_simulated: false,
            ca: None,
            notify_url: "https://pay.example/v1/channels/u/notifications".into(),
        };
        let config = UnionPayNetwork { reach, mer_id: MER_ID.into(), signing, tokens: None };
        UnionPay::new(&config, &self.0, Arc::new(DeniedNetworks::parse(&[]).unwrap())).ok()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_channel_is_set_up_from_its_files_and_prepares_requests() {
    let folder = Folder::new();
    let secure_key = folder.key("secure", "88888888\n");
    let merchant_key = folder.key("key", &PKI.merchant.rcgen().serialize_pem());
    let pem = named("merchant", false).self_signed(&PKI.merchant.rcgen()).unwrap().pem();
    let merchant_certificate = folder.key("certificate", &pem);
    let network_ca = folder.key("ca", &bundle());
    for signing in [
        UnionPaySigning::Sha256 { secure_key: secure_key.clone() },
        UnionPaySigning::Sm3 { secure_key: secure_key.clone() },
        UnionPaySigning::Rsa { merchant_key, merchant_certificate, network_ca: network_ca.clone() },
    ] {
        let channel = folder.channel(signing).unwrap();
        let expires_at = payment().signed_at;
        let pay = |method, amount| Pay {
            number: NUMBER,
            amount,
            method,
            description: "tea",
            payer: None,
            expires_at,
        };
        for (method, path) in [
            ("unionpay-qr", "https://gateway.95516.com/gateway/api/backTransReq.do"),
            ("unionpay-app", "https://gateway.95516.com/gateway/api/appTransReq.do"),
        ] {
            let prepared = channel.prepare_pay(&pay(method, cny(1))).unwrap();
            let body = prepared.request.body().unwrap().as_bytes().unwrap();
            let fields = Fields::form(std::str::from_utf8(body).unwrap()).unwrap();
            // A query gives the same time again.
            assert!(fields.is("txnTime", &super::time::in_china(prepared.signed_at)));
            assert_eq!(prepared.signed_at.subsec_nanosecond(), 0);
            assert_eq!((prepared.request.url().as_str(), prepared.context.as_str()), (path, method));
        }
        let usd = Money::new(1, Currency::parse("USD").unwrap()).unwrap();
        assert!(channel.prepare_pay(&pay("unionpay-qr", usd)).is_err());
        assert!(channel.prepare_pay(&pay("card", cny(1))).is_err());
        let original = crate::channel::Sent { network_id: Some("q1".into()), ..payment() };
        let repay = |amount| Repay { number: NUMBER, amount, original: original.clone() };
        let refund = channel.prepare_refund(&repay(cny(1))).unwrap();
        assert_eq!(refund.request.url().path(), "/gateway/api/backTransReq.do");
        assert!(channel.prepare_refund(&repay(usd)).is_err());
    }
}

#[test]
fn keys_that_do_not_fit_are_refused() {
    let folder = Folder::new();
    let key = folder.key("key", &PKI.merchant.rcgen().serialize_pem());
    let other = named("merchant", false).self_signed(&PKI.network.rcgen()).unwrap().pem();
    let (other, ca) = (folder.key("other", &other), folder.key("ca", &bundle()));
    let rsa = |merchant_key, merchant_certificate, network_ca| {
        folder.channel(UnionPaySigning::Rsa { merchant_key, merchant_certificate, network_ca })
    };
    assert!(rsa(key.clone(), other.clone(), ca.clone()).is_none(), "another key's certificate");
    assert!(rsa(other, ca.clone(), ca).is_none());
    assert!(folder.channel(UnionPaySigning::Sm3 { secure_key: folder.key("empty", "\n") }).is_none());
    let changed = KeyFile { sha256: hash(b"x"), ..folder.key("secure", "88888888") };
    assert!(folder.channel(UnionPaySigning::Sha256 { secure_key: changed }).is_none());
}
