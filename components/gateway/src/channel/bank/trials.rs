//! The bank's side is played here by hand: what is believed, and what is not.

use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use payplane_api::config::{KeyFile, Reach};
use payplane_api::currency::Currency;
use payplane_api::money::Money;
use proptest::prelude::*;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

use super::*;
use crate::channel::agreement::{Owner, Sign, Standing};
use crate::channel::notification::About;

const NUMBER: &str = "01936f7e8f2b7c3a9d412f6a5b7c8d9e";
const NONCE: &str = "0b6f5d0f5a7e4b3a9d0c1e2f3a4b5c6d";

struct Rig {
    channel: BankDirect,
    bank: OwnKey,
    /// Another one in force.
    next: OwnKey,
    own: BankKeys,
}

fn rig() -> Rig {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let [own, bank, next] = [(); 3].map(|()| KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path().join(name), text).unwrap();
        KeyFile { file: name.to_owned(), sha256: payplane_api::config::hash(text.as_bytes()) }
    };
    let config = BankDirectNetwork {
        reach: Reach {
            endpoint: "https://core.bank.example:8443".into(),
            is_simulated: false,
            ca: None,
            notify_url: "https://pay.example/v1/channels/bank/notifications".into(),
        },
        participant_id: "10002".into(),
        agreements: true,
        merchant_key: file("b.key", &own.serialize_pem()),
        network_key: file("b.pub", &(bank.public_key_pem() + &next.public_key_pem())),
        client: None,
    };
    let secret = |pair: &KeyPair| OwnKey::from_pem(pair.serialize_pem().as_bytes()).unwrap();
    Rig {
        channel: BankDirect::new(&config, folder.path(), Arc::default()).unwrap(),
        bank: secret(&bank),
        next: secret(&next),
        own: BankKeys::from_pem(own.public_key_pem().as_bytes()).unwrap(),
    }
}

fn money(minor: i64, currency: &str) -> Money {
    Money::new(minor, Currency::parse(currency).unwrap()).unwrap()
}

fn pay<'a>(method: &'a str, payer: Option<&'a str>) -> Pay<'a> {
    let expires_at = "2026-11-30T02:00:00Z".parse().unwrap();
    let description = "\u{8336}";
    Pay { number: NUMBER, amount: money(12_800, "CNY"), method, description, payer, expires_at }
}

fn sent(kind: Kind) -> Sent {
    let (amount, signed_at) = (money(12_800, "CNY"), Timestamp::UNIX_EPOCH);
    Sent { number: NUMBER.into(), amount, signed_at, network_id: None, kind }
}

fn payment() -> Sent {
    sent(Kind::Payment { expires_at: Timestamp::MAX })
}

fn booked() -> Value {
    json!({"number": NUMBER, "kind": "Pay", "state": "Succeeded", "amountMinor": 12_800, "currency": "CNY",
        "bankId": "B1", "bookedAt": "2026-11-30T01:00:00Z", "more": [1]})
}

fn with(field: &str, value: Value) -> Value {
    let mut entry = booked();
    entry[field] = value;
    entry
}

/// Headers by the letter of the document, apart from the code above.
fn signed(key: &OwnKey, head: &str, (participant, time): (&str, &str), body: &[u8]) -> HeaderMap {
    let hash = hex::encode(digest(&SHA256, body));
    let text = format!("bank-direct/1 {head}\n{participant}\n{}\n{time}\n{NONCE}\n{hash}\n", key.id);
    let mut headers = HeaderMap::new();
    let all = [("bank-participant", participant), ("bank-key", &key.id), ("bank-time", time)];
    for (name, value) in all {
        headers.insert(name, value.parse().unwrap());
    }
    headers.insert("bank-nonce", NONCE.parse().unwrap());
    headers.insert("bank-signature", key.sign(&text).unwrap().parse().unwrap());
    headers
}

fn now() -> String {
    Timestamp::now().as_second().to_string()
}

#[test]
fn a_key_is_named_as_openssl_names_it() {
    let pem = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqIVYZVLCrPZHGHjP17CTW0/+D9Lf\n\
        w0EkjqF7xB4FivAxzic30tMM4GF+hR6Dxh71Z50VGGdldkkDXZCnTNnoXQ==\n-----END PUBLIC KEY-----\n";
    assert_eq!(BankKeys::from_pem(pem.as_bytes()).unwrap().ids(), ["55f96361b78cbb84"]);
    assert!(BankKeys::from_pem(pem.repeat(4).as_bytes()).is_some());
    for bad in [String::new(), pem.repeat(5), pem.replace("NnoXQ==", "NnoXg==")] {
        assert!(BankKeys::from_pem(bad.as_bytes()).is_none(), "{bad}");
    }
}

#[test]
fn a_request_is_signed_over_its_lines() {
    let rig = rig();
    let prepared = rig.channel.prepare_pay(&pay(ACCOUNT, Some("6222"))).unwrap();
    let (request, nonce) = (&prepared.request, &prepared.context);
    let body = request.body().unwrap().as_bytes().unwrap();
    let said: Value = serde_json::from_slice(body).unwrap();
    let notify_url = "https://pay.example/v1/channels/bank/notifications";
    let wanted = json!({"number": NUMBER, "amountMinor": 12_800, "currency": "CNY", "payerAccount": "6222",
        "description": "\u{8336}", "expiresAt": "2026-11-30T02:00:00Z", "notifyUrl": notify_url});
    assert_eq!(said, wanted);
    assert_eq!(request.url().as_str(), "https://core.bank.example:8443/bank/v1/pay");
    let headers = request.headers();
    let verify = |path: &str, body: &[u8]| rig.own.verify(&Said::Request { path }, headers, "10002", body);
    let (at, echoed) = verify("/bank/v1/pay", body).unwrap();
    assert_eq!((at, echoed), (prepared.signed_at, nonce.as_str()));
    assert!(verify("/bank/v1/refund", body).is_none() && verify("/bank/v1/pay", b"{}").is_none());
}

#[test]
fn a_payout_says_who_is_paid_and_is_found_as_one() {
    let rig = rig();
    assert!(rig.channel.pays_out());
    let description = "\u{5de5}".repeat(129);
    let amount = money(12_800, "CNY");
    let payout =
        Payout { number: NUMBER, amount, account: "6228", name: "\u{5f20}", description: &description };
    let request = rig.channel.prepare_payout(&payout).unwrap().request;
    let said: Value = serde_json::from_slice(request.body().unwrap().as_bytes().unwrap()).unwrap();
    let notify_url = "https://pay.example/v1/channels/bank/notifications";
    let wanted = json!({"number": NUMBER, "amountMinor": 12_800, "currency": "CNY", "payeeAccount": "6228",
        "payeeName": "\u{5f20}", "description": "\u{5de5}".repeat(128), "notifyUrl": notify_url});
    assert_eq!((said, request.url().path()), (wanted, "/bank/v1/payout"));

    let outcome = |entry: &Value| read(&sent(Kind::Payout), entry.to_string().as_bytes());
    assert!(matches!(outcome(&with("kind", "Payout".into())), Outcome::Succeeded { .. }));
    for kind in ["Pay", "Refund", "Transfer"] {
        assert!(matches!(outcome(&with("kind", kind.into())), Outcome::Unknown { .. }), "{kind}");
    }
    // Nobody closes a payout, so one that is said to be closed is no end.
    let closed = json!({"number": NUMBER, "kind": "Payout", "state": "Closed"});
    assert!(matches!(outcome(&closed), Outcome::Unknown { .. }));
}

#[test]
fn only_its_own_method_with_an_account_is_taken() {
    let channel = rig().channel;
    assert!(channel.needs_payer(ACCOUNT));
    for (method, payer) in [(ACCOUNT, None), ("card", Some("6222")), ("", Some("6222"))] {
        assert!(channel.prepare_pay(&pay(method, payer)).is_err(), "{method}");
    }
}

#[test]
fn an_answer_is_believed_when_all_of_it_agrees() {
    let rig = rig();
    let body = booked().to_string().into_bytes();
    let answer = |headers: HeaderMap, status| Answer { status, headers, body: body.clone() };
    let is_answer =
        |headers, status, nonce: &str| rig.channel.answered_at(&answer(headers, status), nonce).is_some();
    let good = |key| signed(key, "answer\n200", ("10002", &now()), &body);
    assert!(is_answer(good(&rig.bank), 200, NONCE) && is_answer(good(&rig.next), 200, NONCE));
    assert!(!is_answer(good(&rig.bank), 201, NONCE), "another status");
    assert!(!is_answer(good(&rig.bank), 200, "another-nonce-0001"), "to another request");
    assert!(!is_answer(good(&rig.channel.key), 200, NONCE), "our own key");
    let of = |head, participant, time: &str| signed(&rig.bank, head, (participant, time), &body);
    assert!(!is_answer(of("answer\n200", "10003", &now()), 200, NONCE), "another participant's");
    assert!(!is_answer(of("notification", "10002", &now()), 200, NONCE), "a notification");
    assert!(!is_answer(of("answer\n200", "10002", &format!("+{}", now())), 200, NONCE), "a sign");
    for late in [-301, 301] {
        let time = Timestamp::now().as_second() + late;
        assert!(!is_answer(of("answer\n200", "10002", &time.to_string()), 200, NONCE), "{late} s");
    }
    let mut named = good(&rig.bank);
    named.insert("bank-key", rig.next.id.parse().unwrap());
    assert!(!is_answer(named, 200, NONCE), "another key's name");
    let mut twice = good(&rig.bank);
    twice.append("bank-nonce", NONCE.parse().unwrap());
    assert!(!is_answer(twice, 200, NONCE), "a header twice");
    let longer = Answer { status: 200, headers: good(&rig.bank), body: [&body[..], b" "].concat() };
    assert!(rig.channel.answered_at(&longer, NONCE).is_none(), "a longer body");
}

#[test]
fn a_notification_says_what_it_is_about() {
    let rig = rig();
    let read = |head, entry: &Value| {
        let body = entry.to_string().into_bytes();
        rig.channel.read_notification(&signed(&rig.bank, head, ("10002", &now()), &body), &body)
    };
    let told = read("notification", &booked()).unwrap();
    assert_eq!((told.number.as_str(), told.about), (NUMBER, About::Payment));
    assert_eq!(told.currency, Some(Currency::parse("CNY").unwrap()));
    assert!(matches!(told.outcome.of(money(12_799, "CNY")), Outcome::Unknown { .. }));
    let others = [("Refund", About::Refund), ("Payout", About::Payout), ("Sign", About::Agreement)];
    for (kind, about) in others {
        assert_eq!(read("notification", &with("kind", kind.into())).unwrap().about, about);
    }
    assert!(read("answer\n200", &booked()).is_err(), "an answer is no notification");
    assert!(read("notification", &with("kind", "Transfer".into())).is_err());
}

#[test]
fn every_state_means_one_thing() {
    let outcome = |entry: &Value| read(&payment(), entry.to_string().as_bytes());
    let at: Timestamp = "2026-11-30T01:00:00Z".parse().unwrap();
    assert_eq!(outcome(&booked()), Outcome::succeeded("B1", at, Some(12_800)));
    let processing = Outcome::Processing { network_id: Some("B1".into()), action: None };
    assert_eq!(outcome(&with("state", "Processing".into())), processing);
    let mut asked = with("state", "Processing".into());
    asked["confirm"] = "OneTimeCode".into();
    let action = Some(json!({"type": "OneTimeCode"}));
    assert_eq!(outcome(&asked), Outcome::Processing { network_id: Some("B1".into()), action });
    asked["confirm"] = "Fingerprint".into();
    assert_eq!(outcome(&asked), processing, "the bank asks its payer itself");
    assert_eq!(outcome(&json!({"number": NUMBER, "kind": "Pay", "state": "Closed"})), Outcome::Closed);
    let declined = json!({"number": NUMBER, "kind": "Pay", "state": "Declined", "code": "InsufficientFunds"});
    assert!(matches!(outcome(&declined), Outcome::Declined { code, .. } if code == "InsufficientFunds"));
    let mut odd = vec![with("state", "Declined".into()), with("state", "succeeded".into())];
    odd.extend([with("number", "other".into()), with("kind", "Refund".into())]);
    odd.extend([with("currency", "USD".into()), with("amountMinor", 12_800.5.into())]);
    odd.extend(["bankId", "bookedAt", "amountMinor", "currency", "number", "kind", "state"].map(|field| {
        let mut entry = booked();
        entry.as_object_mut().unwrap().remove(field);
        entry
    }));
    odd.push(json!({"number": NUMBER, "kind": "Pay", "state": "Declined", "code": "Sorry"}));
    for entry in odd {
        assert!(matches!(outcome(&entry), Outcome::Unknown { .. }), "{entry}");
    }
    let refund = sent(Kind::Refund { original_number: "P1".into() });
    let closed = json!({"number": NUMBER, "kind": "Refund", "state": "Closed"});
    assert!(matches!(read(&refund, closed.to_string().as_bytes()), Outcome::Unknown { .. }));
}

#[test]
fn a_refusal_ends_only_what_it_is_sure_to_end() {
    for (status, code) in [(400, "InvalidField"), (401, "BadSignature"), (401, "UnknownKey")] {
        assert!(matches!(codes::refused(status, code), Outcome::NotSent { .. }), "{code}");
    }
    let unsure =
        [(401, "StaleRequest"), (409, "NumberConflict"), (429, "Busy"), (500, "InvalidField"), (400, "")];
    for (status, code) in unsure.into_iter().chain([(404, "NotFound"), (200, "InvalidField"), (302, "X")]) {
        assert!(matches!(codes::refused(status, code), Outcome::Unknown { .. }), "{status} {code}");
    }
}

#[test]
fn not_found_is_an_end_only_after_the_window() {
    let channel = rig().channel;
    let at = |seconds| Found::NotFound { at: Timestamp::from_second(seconds).unwrap() };
    assert!(!at(70).is_never(&channel, &payment()));
    assert!(at(71).is_never(&channel, &payment()));
}

/// What the document says is what the code does.
#[test]
fn every_code_stands_in_the_document() {
    let document = include_str!("../../../../../docs/bank-direct.md");
    let listed = |code: &str| document.contains(&format!("`{code}`"));
    assert!(codes::all().all(listed), "{:?}", codes::all().find(|code| !listed(code)));
    assert!(listed("WrongCode") && listed("OneTimeCode"));
    for path in [PAY, REFUND, PAYOUT, QUERY, CLOSE, agreement::SIGN, agreement::CONFIRM, agreement::UNSIGN] {
        assert!(document.contains(&format!("| `{path}` |")), "{path}");
    }
}

fn signed_entry() -> Value {
    json!({"number": NUMBER, "kind": "Sign", "state": "Succeeded", "bankId": "B1",
        "bookedAt": "2026-11-30T01:00:00Z", "token": "T1"})
}

/// What an agreement's entry says, as one word, and what comes with it.
fn standing(entry: &Value) -> String {
    match agreement::standing(NUMBER, entry.to_string().as_bytes()) {
        Standing::AwaitsCode { network_id } => format!("awaits {}", network_id.unwrap_or_default()),
        Standing::Active { network_id, token } => format!("active {network_id} {token}"),
        Standing::Declined { code } => format!("declined {code}"),
        Standing::Ended => "ended".to_owned(),
        Standing::Unknown { .. } => "unknown".to_owned(),
        Standing::NotFound { .. } | Standing::NotSent { .. } => "no answer".to_owned(),
    }
}

#[test]
fn an_agreement_is_asked_for_with_whose_account_it_is() {
    let rig = rig();
    let agreements = rig.channel.agreements().unwrap();
    assert!(rig.channel.signs(ACCOUNT));
    let owner = Owner { account: "6222".into(), name: "\u{674e}".into(), phone: Some("1380".into()) };
    let sign = Sign { number: NUMBER, owner: &owner, description: "rent" };
    let Ok(prepared) = agreements.prepare_sign(&sign) else { panic!("it can be signed") };
    let said: Value = serde_json::from_slice(prepared.request.body().unwrap().as_bytes().unwrap()).unwrap();
    let notify_url = "https://pay.example/v1/channels/bank/notifications";
    let wanted = json!({"number": NUMBER, "account": "6222", "holderName": "\u{674e}", "description": "rent",
        "notifyUrl": notify_url});
    assert_eq!((said, prepared.request.url().path()), (wanted, "/bank/v1/sign"));
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    assert_eq!(agreements.sign_closed_at(at(0)), at(70));
}

#[test]
fn every_state_of_an_agreement_means_one_thing() {
    let with = |changes: &[(&str, Value)]| {
        let mut entry = signed_entry();
        for (field, value) in changes {
            entry[field] = value.clone();
        }
        standing(&entry)
    };
    let state = |state: &str| ("state", Value::from(state));
    assert_eq!(with(&[]), "active B1 T1");
    assert_eq!(with(&[state("Processing"), ("confirm", "OneTimeCode".into())]), "awaits B1");
    assert_eq!(with(&[state("Declined"), ("code", "NotConfirmed".into())]), "declined NotConfirmed");
    assert_eq!(with(&[("endedAt", "2026-11-30T02:00:00Z".into())]), "ended");
    assert_eq!(with(&[state("Closed")]), "ended");
    for odd in [
        vec![("number", json!("other"))],
        vec![("kind", json!("Pay"))],
        vec![("token", Value::Null)],
        vec![("token", json!(""))],
        vec![("token", json!("a b"))],
        vec![("token", json!("x".repeat(129)))],
        vec![("bankId", json!(""))],
        vec![state("Processing")],
        vec![state("Declined"), ("code", json!("Sorry"))],
        vec![state("Ended")],
    ] {
        assert_eq!(with(&odd), "unknown", "{odd:?}");
    }
    // No payment is taken for one, and the other way round.
    assert!(matches!(read(&payment(), signed_entry().to_string().as_bytes()), Outcome::Unknown { .. }));
    assert_eq!(standing(&booked()), "unknown");
}

proptest! {
    #[test]
    fn no_body_makes_the_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
        let outcome = read(&payment(), &body);
        let unknown = matches!(outcome, Outcome::Unknown { .. });
        prop_assert!(unknown, "{:?}", outcome);
        prop_assert!(notification::read(&body).is_err());
        let unknown = matches!(agreement::standing(NUMBER, &body), Standing::Unknown { .. });
        prop_assert!(unknown);
        let _ = message::code(&body);
    }

    #[test]
    fn a_success_is_only_of_what_was_asked(minor in 1_i64..30_000, currency in "CNY|USD", number in "[0-9a-f]{4}") {
        let mut entry = booked();
        entry["amountMinor"] = minor.into();
        entry["currency"] = currency.as_str().into();
        if minor % 2 == 0 { entry["number"] = number.as_str().into(); }
        let outcome = read(&payment(), entry.to_string().as_bytes()).of(payment().amount);
        let succeeded = matches!(outcome, Outcome::Succeeded { .. });
        prop_assert!(!succeeded || entry == booked(), "{}", entry);
    }
}
