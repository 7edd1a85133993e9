//! The network's side is played here by hand: what is believed, and what is not.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use jiff::Timestamp;
use payplane_api::config::{KeyFile, Reach, WechatPayNetwork};
use payplane_api::currency::Currency;
use payplane_api::money::Money;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::channel::Details;
use crate::channel::notification::About;
use crate::channel::rsa::test_pair;

const API_KEY: &str = "0123456789abcdef0123456789ABCDEF";
const NUMBER: &str = "01936f7e8f2b7c3a9d412f6a5b7c8d9e";

struct Rig {
    channel: WechatPay,
    network: SigningKey,
    merchant: VerifyingKey,
}

fn rig() -> Rig {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let ((merchant_key, merchant), (network, network_pub)) = (test_pair(), test_pair());
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        KeyFile { file: name.to_owned(), sha256: payplane_api::config::hash(text.as_bytes()) }
    };
    let config = WechatPayNetwork {
        reach: Reach {
            endpoint: "https://api.mch.weixin.qq.com".into(),
            is_simulated: false,
            ca: None,
            notify_url: "https://pay.example/v1/channels/wechat/notifications".into(),
        },
        mchid: "1900000109".into(),
        appid: "wx1".into(),
        merchant_serial: "5157F09E".into(),
        public_key_id: "PUB_KEY_ID_1".into(),
        merchant_key: file("m.key", &merchant_key),
        api_v3_key: file("m.seal", &format!("{API_KEY}\n")),
        network_key: file("m.pub", &network_pub),
    };
    Rig {
        channel: WechatPay::new(&config, folder.path(), Arc::default()).unwrap(),
        network: SigningKey::from_pem(network.as_bytes()).unwrap(),
        merchant: VerifyingKey::from_pem(merchant.as_bytes()).unwrap(),
    }
}

fn yuan(minor: i64) -> Money {
    Money::new(minor, Currency::parse("CNY").unwrap()).unwrap()
}

fn pay<'a>(method: &'a str, payer: Option<&'a str>) -> Pay<'a> {
    Pay {
        number: NUMBER,
        amount: yuan(100),
        method,
        description: "tea",
        payer,
        expires_at: "2026-11-30T02:00:00.5Z".parse().unwrap(),
    }
}

fn sealed(resource: &Value, event: &str) -> Vec<u8> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, API_KEY.as_bytes()).unwrap());
    let mut text = resource.to_string().into_bytes();
    let nonce = Nonce::try_assume_unique_for_key(b"fdasflkja484").unwrap();
    key.seal_in_place_append_tag(nonce, Aad::from("transaction"), &mut text).unwrap();
    let resource = json!({"algorithm": "AEAD_AES_256_GCM", "ciphertext": STANDARD.encode(text),
        "associated_data": "transaction", "nonce": "fdasflkja484", "original_type": "transaction"});
    json!({"id": "EV-1", "event_type": event, "resource_type": "encrypt-resource", "resource": resource})
        .to_string()
        .into_bytes()
}

fn headers(key: &SigningKey, body: &[u8], seconds: i64) -> HeaderMap {
    let text = [format!("{seconds}\nabc\n").as_bytes(), body, b"\n"].concat();
    let mut headers = HeaderMap::new();
    headers.insert("wechatpay-timestamp", seconds.into());
    headers.insert("wechatpay-nonce", "abc".parse().unwrap());
    headers.insert("wechatpay-serial", "PUB_KEY_ID_1".parse().unwrap());
    headers.insert("wechatpay-signature", key.sign(&text).unwrap().parse().unwrap());
    headers
}

fn now() -> i64 {
    Timestamp::now().as_second()
}

fn paid(total: i64) -> Value {
    json!({"mchid": "1900000109", "appid": "wx1", "out_trade_no": NUMBER, "transaction_id": "42000001",
        "trade_type": "NATIVE", "trade_state": "SUCCESS", "success_time": "2026-11-30T09:00:00+08:00",
        "amount": {"total": total, "payer_total": total, "currency": "CNY", "payer_currency": "CNY"}})
}

#[test]
fn a_request_is_signed_over_its_lines() {
    let rig = rig();
    let prepared = rig.channel.prepare_pay(&pay(NATIVE, None)).unwrap();
    let request = &prepared.request;
    assert_eq!(request.url().path(), "/v3/pay/transactions/native");
    let body = std::str::from_utf8(request.body().unwrap().as_bytes().unwrap()).unwrap();
    let sent: Value = serde_json::from_str(body).unwrap();
    assert_eq!(sent["amount"], json!({"total": 100, "currency": "CNY"}));
    assert_eq!(sent["time_expire"], "2026-11-30T10:00:00+08:00");
    let value = request.headers()["authorization"].to_str().unwrap();
    let value = value.strip_prefix("WECHATPAY2-SHA256-RSA2048 ").unwrap();
    let part = |name: &str| {
        let (_, rest) = value.split_once(&format!("{name}=\"")).unwrap();
        rest.split_once('"').unwrap().0
    };
    assert_eq!((part("mchid"), part("serial_no")), ("1900000109", "5157F09E"));
    let (seconds, nonce) = (part("timestamp"), part("nonce_str"));
    let text = format!("POST\n/v3/pay/transactions/native\n{seconds}\n{nonce}\n{body}\n");
    assert!(rig.merchant.verifies(text.as_bytes(), part("signature")));
    assert_eq!(prepared.signed_at.as_second().to_string(), seconds);
}

#[test]
fn only_its_own_methods_and_yuan_are_taken() {
    let channel = rig().channel;
    assert!(channel.prepare_pay(&pay(JSAPI, Some("openid"))).is_ok());
    for (method, payer) in [(JSAPI, None), ("card", None), ("", Some("openid"))] {
        assert!(channel.prepare_pay(&pay(method, payer)).is_err(), "{method}");
    }
    let dollars = Money::new(100, Currency::parse("USD").unwrap()).unwrap();
    assert!(channel.prepare_pay(&Pay { amount: dollars, ..pay(NATIVE, None) }).is_err());
}

#[test]
fn a_notification_is_believed_when_all_of_it_agrees() {
    let rig = rig();
    let body = sealed(&paid(100), "TRANSACTION.SUCCESS");
    let read = |headers: &HeaderMap, body: &[u8]| rig.channel.read_notification(headers, body);
    let good = headers(&rig.network, &body, now());
    let told = read(&good, &body).unwrap();
    assert_eq!((told.number.as_str(), told.about), (NUMBER, About::Payment));
    let at: Timestamp = "2026-11-30T01:00:00Z".parse().unwrap();
    let details = Details { payer_minor: Some(100), ..Details::default() };
    assert_eq!(told.outcome, Outcome::succeeded("42000001", at, Some(100)).detailed(details));
    // Another amount is for the order to refuse.
    assert!(matches!(told.outcome.of(yuan(99)), Outcome::Unknown { .. }));

    let stranger = SigningKey::from_pem(test_pair().0.as_bytes()).unwrap();
    assert!(read(&headers(&stranger, &body, now()), &body).is_err(), "another's signature");
    for late in [-301, 301] {
        assert!(read(&headers(&rig.network, &body, now() + late), &body).is_err(), "{late} s");
    }
    let mut other = good.clone();
    other.insert("wechatpay-serial", "PUB_KEY_ID_2".parse().unwrap());
    assert!(read(&other, &body).is_err(), "another key's name");
    let mut twice = good.clone();
    twice.append("wechatpay-nonce", "abc".parse().unwrap());
    assert!(read(&twice, &body).is_err(), "a header twice");
    let longer = [&body[..], b" "].concat();
    assert!(read(&good, &longer).is_err(), "a longer body");
    for (field, value) in [("mchid", "1900000110"), ("appid", "wx2")] {
        let mut resource = paid(100);
        resource[field] = value.into();
        let body = sealed(&resource, "TRANSACTION.SUCCESS");
        assert!(read(&headers(&rig.network, &body, now()), &body).is_err(), "another {field}");
    }
    for event in ["", "COMPLAINT.CREATE"] {
        let body = sealed(&paid(100), event);
        assert!(read(&headers(&rig.network, &body, now()), &body).is_err(), "{event}");
    }
    let broken = String::from_utf8(body).unwrap().replace("fdasflkja484", "fdasflkja485").into_bytes();
    assert!(read(&headers(&rig.network, &broken, now()), &broken).is_err(), "another nonce");
}

#[test]
fn a_refund_is_told_by_its_own_number() {
    let rig = rig();
    let resource = json!({"mchid": "1900000109", "out_trade_no": NUMBER, "transaction_id": "42000001",
        "out_refund_no": "R1", "refund_id": "50000001", "refund_status": "SUCCESS",
        "success_time": "2026-11-30T09:00:00+08:00", "amount": {"total": 100, "refund": 40, "payer_total": 100}});
    let body = sealed(&resource, "REFUND.SUCCESS");
    let told = rig.channel.read_notification(&headers(&rig.network, &body, now()), &body).unwrap();
    assert_eq!((told.number.as_str(), told.about), ("R1", About::Refund));
    assert!(matches!(told.outcome, Outcome::Succeeded { amount_minor: Some(40), .. }));
}

#[test]
fn every_state_means_one_thing() {
    let state = |state: &str| {
        let mut transaction = paid(100);
        transaction["trade_state"] = state.into();
        serde_json::from_value::<Transaction>(transaction).unwrap().outcome()
    };
    assert!(matches!(state("SUCCESS"), Outcome::Succeeded { .. }));
    assert!(matches!(state("REFUND"), Outcome::Succeeded { .. }));
    assert!(matches!(state("NOTPAY"), Outcome::Processing { .. }));
    assert!(matches!(state("USERPAYING"), Outcome::Processing { .. }));
    assert_eq!(state("CLOSED"), Outcome::Closed);
    assert!(matches!(state("PAYERROR"), Outcome::Declined { .. }));
    assert!(matches!(state("success"), Outcome::Unknown { .. }));
    for lacking in ["transaction_id", "success_time", "amount"] {
        let mut transaction = paid(100);
        transaction.as_object_mut().unwrap().remove(lacking);
        let outcome = serde_json::from_value::<Transaction>(transaction).unwrap().outcome();
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{lacking}");
    }
}

#[test]
fn a_refusal_ends_only_what_it_is_sure_to_end() {
    assert!(matches!(message::refused(400, "PARAM_ERROR"), Outcome::NotSent { .. }));
    assert!(matches!(message::refused(403, "NOT_ENOUGH"), Outcome::Declined { .. }));
    for (status, code) in
        [(500, "SYSTEM_ERROR"), (500, "PARAM_ERROR"), (400, "ORDERPAID"), (400, ""), (302, "X")]
    {
        assert!(matches!(message::refused(status, code), Outcome::Unknown { .. }), "{status} {code}");
    }
}

#[test]
fn an_answer_about_something_else_says_nothing() {
    let channel = rig().channel;
    let sent = |kind| Sent {
        number: NUMBER.into(),
        amount: yuan(100),
        signed_at: Timestamp::now(),
        network_id: None,
        kind,
    };
    let payment = sent(Kind::Payment { expires_at: Timestamp::now() });
    let body = |value: &Value| value.to_string().into_bytes();
    assert!(matches!(channel.read(&payment, &body(&paid(100))), Outcome::Succeeded { .. }));
    for (field, value) in [("out_trade_no", "another"), ("mchid", "2"), ("appid", "wx2")] {
        let mut other = paid(100);
        other[field] = value.into();
        assert!(matches!(channel.read(&payment, &body(&other)), Outcome::Unknown { .. }), "{field}");
    }
    let refund = sent(Kind::Refund { original_number: NUMBER.into() });
    assert!(matches!(channel.read(&refund, &body(&paid(100))), Outcome::Unknown { .. }));
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let key = ApiV3Key::from_bytes(API_KEY.as_bytes()).unwrap();
        prop_assert!(notification::read(&body, &key, ("1", "2")).is_err());
        let _ = message::code(&body);
    }
}
