use http::{HeaderMap, Request};
use jiff::Timestamp;
use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};

use super::keys::{BankKey, ParticipantKey};
use super::{auth, body};
use crate::networks::Bank;

const BODY: &[u8] = br#"{"number":"a1"}"#;

/// A bank, and its participant's key.
fn bank() -> (Bank, BankKey) {
    let pair = || KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let (own, participant) = (pair(), pair());
    let secret = |pair: &KeyPair| BankKey::from_pem(pair.serialize_pem().as_bytes()).unwrap();
    let public = ParticipantKey::from_pem(participant.public_key_pem().as_bytes()).unwrap();
    let keys = [(public.id.clone(), public)].into();
    let participants = [("10002".to_owned(), keys)].into();
    (Bank { key: secret(&own), participants }, secret(&participant))
}

/// The code of the refusal, or nothing.
fn refusal(bank: &Bank, headers: HeaderMap, path: &str, body: &[u8]) -> Option<String> {
    let mut parts = Request::post(format!("https://bank{path}")).body(()).unwrap().into_parts().0;
    parts.headers = headers;
    let refused = auth::verify(&parts, body, bank).err()?;
    let told: serde_json::Value = serde_json::from_str(&refused.0.body).unwrap();
    Some(told["code"].as_str().unwrap().to_owned())
}

fn headers(key: &BankKey, participant: &str, late_seconds: i64) -> HeaderMap {
    let time = Timestamp::now().as_second() + late_seconds;
    let digest = auth::body_digest(BODY);
    let (id, nonce) = (&key.id, "0123456789abcdef");
    let text = format!(
        "bank-direct/1 request\nPOST /bank/v1/query\n{participant}\n{id}\n{time}\n{nonce}\n{digest}\n"
    );
    let mut headers = HeaderMap::new();
    headers.insert("bank-participant", participant.parse().unwrap());
    headers.insert("bank-key", id.parse().unwrap());
    headers.insert("bank-time", time.into());
    headers.insert("bank-nonce", nonce.parse().unwrap());
    headers.insert("bank-signature", key.sign(&text).unwrap().parse().unwrap());
    headers
}

#[test]
fn each_refusal_has_its_code() {
    let (bank, key) = bank();
    let good = || headers(&key, "10002", 0);
    let code = |headers, path: &str, body| refusal(&bank, headers, path, body).unwrap_or_default();
    let query = "/bank/v1/query";
    assert_eq!(code(good(), query, BODY), "");
    assert_eq!(code(good(), "/bank/v1/close", BODY), "BadSignature");
    assert_eq!(code(good(), "/bank/v1/query?a=1", BODY), "BadSignature");
    assert_eq!(code(good(), query, b"{}"), "BadSignature");
    assert_eq!(code(headers(&key, "10003", 0), query, BODY), "UnknownParticipant");
    assert_eq!(code(headers(&bank.key, "10002", 0), query, BODY), "UnknownKey");
    assert_eq!(code(headers(&key, "10002", -61), query, BODY), "StaleRequest");
    assert_eq!(code(headers(&key, "10002", 62), query, BODY), "StaleRequest");
    for name in ["bank-participant", "bank-key", "bank-time", "bank-nonce", "bank-signature"] {
        let (mut missing, mut twice) = (good(), good());
        missing.remove(name);
        let value = twice[name].clone();
        twice.append(name, value);
        assert_eq!(code(missing, query, BODY), "BadHeaders", "no {name}");
        assert_eq!(code(twice, query, BODY), "BadHeaders", "{name} twice");
    }
    for (name, value) in [
        ("bank-time", "+1"),
        ("bank-time", "01"),
        ("bank-nonce", "short"),
        ("bank-nonce", "0123456789abcde_"),
    ] {
        let mut bad = good();
        bad.insert(name, value.parse().unwrap());
        assert_eq!(code(bad, query, BODY), "BadHeaders", "{value}");
    }
}

const PAY: &str = r#"{"number":"a1","amountMinor":1,"currency":"CNY","payerAccount":"6222","description":"t",
    "expiresAt":"2026-01-01T00:00:00Z","notifyUrl":"https://a.example/n"}"#;

#[test]
fn a_field_out_of_its_range_is_named() {
    let check = |text: &str| body::read::<body::Pay>(text.as_bytes()).and_then(|pay| pay.check());
    assert!(check(PAY).is_ok());
    for (from, to, field) in [
        ("\"a1\"", "\"\"", "number"),
        ("\"a1\"", "\"a-1\"", "number"),
        (":1,", ":0,", "amountMinor"),
        (":1,", ":9007199254740992,", "amountMinor"),
        ("CNY", "cny", "currency"),
        ("6222", "62 22", "payerAccount"),
        ("\"t\"", "\"\"", "description"),
        ("2026-01-01", "2999-01-01", "expiresAt"),
        ("https", "http", "notifyUrl"),
        ("{", "{\"extra\":1,", "extra"),
        ("\"number\":\"a1\",", "", "number"),
    ] {
        let refused = check(&PAY.replacen(from, to, 1)).unwrap_err();
        assert!(refused.body.contains("InvalidField") && refused.body.contains(field), "{}", refused.body);
    }
    for bad in ["", "[", "{\"number\":\"a1\"", "1 2"] {
        assert!(check(bad).is_err(), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_body_makes_the_readers_panic(content in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = body::read::<body::Pay>(&content).map(|pay| pay.check().is_ok());
        let _ = body::read::<body::Refund>(&content).map(|refund| refund.check().is_ok());
        let _ = body::read::<body::Payout>(&content).map(|payout| payout.check().is_ok());
        let _ = body::read::<body::Number>(&content).map(|number| number.check().is_ok());
    }
}
