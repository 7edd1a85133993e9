//! Bank direct, by the letter of docs/bank-direct.md.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey,
};
use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde_json::{Value, json};

use crate::stage::{Stage, WAIT, runtime};

const PARTICIPANT: &str = "10002";

struct Participant {
    stage: Stage,
    key: EcdsaKeyPair,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sha256(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

fn spki(pem: &[u8]) -> Vec<u8> {
    SubjectPublicKeyInfoDer::from_pem_slice(pem).unwrap().to_vec()
}

impl Participant {
    async fn new() -> Self {
        let stage = Stage::new().await;
        let pem = stage.file("bankdirect/merchant.key");
        let der = PrivatePkcs8KeyDer::from_pem_slice(&pem).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der.secret_pkcs8_der()).unwrap();
        Self { stage, key }
    }

    /// Does the bank's signature verify over these lines and the others of a message?
    fn is_banks(&self, head: &str, headers: &HeaderMap, body: &str) -> bool {
        let header = |name: &str| headers.get(name).map(|v| v.to_str().unwrap()).unwrap_or_default();
        let spki = spki(&self.stage.file("bankdirect/network.pub"));
        let lines = [
            head,
            header("bank-participant"),
            &sha256(&spki)[..16],
            header("bank-time"),
            header("bank-nonce"),
            &sha256(body.as_bytes()),
        ];
        let Ok(signature) = STANDARD.decode(header("bank-signature")) else { return false };
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &spki[26..]);
        key.verify((lines.join("\n") + "\n").as_bytes(), &signature).is_ok()
    }

    /// Status, whether the answer verifies, and its body.
    async fn call(&self, call: &str, body: &Value) -> Result<(u16, bool, Value), reqwest::Error> {
        let (path, body) = (format!("/bank/v1/{call}"), body.to_string());
        let id = &sha256(&spki(&self.stage.file("bankdirect/merchant.pub")))[..16];
        let time = Timestamp::now().as_second().to_string();
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let hash = sha256(body.as_bytes());
        let text =
            format!("bank-direct/1 request\nPOST {path}\n{PARTICIPANT}\n{id}\n{time}\n{nonce}\n{hash}\n");
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        let request = self.stage.client.post(format!("{}{path}", self.stage.base)).timeout(WAIT);
        let headers = [
            ("bank-participant", PARTICIPANT),
            ("bank-key", id),
            ("bank-time", &time),
            ("bank-nonce", &nonce),
            ("bank-signature", &STANDARD.encode(signature.as_ref())),
        ];
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let answer = request.body(body).send().await?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = answer.text().await?;
        let verified = self.is_banks(&format!("bank-direct/1 answer\n{status}"), &headers, &body);
        let echoed = headers.get("bank-nonce").is_some_and(|echoed| *echoed == nonce);
        Ok((status, verified && echoed, serde_json::from_str(&body).unwrap_or(Value::Null)))
    }

    /// A verified answer: its status and its body.
    async fn ask(&self, call: &str, body: &Value) -> (u16, Value) {
        let (status, verified, body) = self.call(call, body).await.unwrap();
        assert!(verified, "{call} {status} {body}");
        (status, body)
    }

    fn pay(&self, number: &str, minor: i64) -> Value {
        json!({"number": number, "amountMinor": minor, "currency": "USD", "payerAccount": "6222",
            "description": "\u{8336}", "expiresAt": "2099-01-01T00:00:00Z", "notifyUrl": self.stage.hook("/told")})
    }

    fn refund(&self, number: &str, original: &str, minor: i64) -> Value {
        json!({"number": number, "originalNumber": original, "amountMinor": minor, "currency": "USD",
            "notifyUrl": self.stage.hook("/told")})
    }
}

/// A payment whose time to pay lies within the day.
fn soon(mut pay: Value) -> Value {
    let hour = Timestamp::now().saturating_add(jiff::SignedDuration::from_hours(1)).unwrap();
    pay["expiresAt"] = hour.to_string().into();
    pay
}

fn state((status, body): &(u16, Value)) -> (u16, &str, &str) {
    (*status, body["state"].as_str().unwrap_or_default(), body["code"].as_str().unwrap_or_default())
}

#[test]
fn an_entry_is_made_once_and_told_for_ever() {
    runtime().block_on(async {
        let mut bank = Participant::new().await;
        let pay = soon(bank.pay("P1", 12_800));
        let first = bank.ask("pay", &pay).await;
        assert_eq!(state(&first), (200, "Succeeded", ""));
        assert_eq!((&first.1["kind"], &first.1["amountMinor"]), (&json!("Pay"), &json!(12_800)));
        assert_eq!(bank.ask("pay", &pay).await, first, "again");
        for (field, value) in [("amountMinor", json!(12_801)), ("payerAccount", json!("6223"))] {
            let mut other = pay.clone();
            other[field] = value;
            assert_eq!(state(&bank.ask("pay", &other).await), (409, "", "NumberConflict"), "{field}");
        }
        let poor = soon(bank.pay("P2", 9_001));
        let declined = bank.ask("pay", &poor).await;
        assert_eq!(state(&declined), (200, "Declined", "InsufficientFunds"));
        assert_eq!(state(&bank.ask("pay", &bank.pay("P3", 1)).await), (400, "", "InvalidField"), "years");
        let mut over = bank.pay("P3", 1);
        over["expiresAt"] = "2026-01-01T00:00:00Z".into();
        assert_eq!(state(&bank.ask("pay", &over).await), (200, "Declined", "Expired"));

        for (number, original, minor, expected) in [
            ("R1", "P1", 12_000, (200, "Succeeded", "")),
            ("R2", "P1", 801, (200, "Declined", "RefundExceedsOriginal")),
            ("R3", "P1", 800, (200, "Succeeded", "")),
            ("R4", "P2", 1, (200, "Declined", "OriginalNotSucceeded")),
            ("R5", "P9", 1, (200, "Declined", "OriginalNotFound")),
            ("R6", "R1", 1, (200, "Declined", "OriginalNotFound")),
            ("P1", "P1", 1, (409, "", "NumberConflict")),
        ] {
            let answer = bank.ask("refund", &bank.refund(number, original, minor)).await;
            assert_eq!(state(&answer), expected, "{number}");
        }
        let payout = json!({"number": "O1", "amountMinor": 500, "currency": "USD", "payeeAccount": "6228",
            "payeeName": "Shop", "description": "November", "notifyUrl": bank.stage.hook("/told")});
        let paid_out = bank.ask("payout", &payout).await;
        assert_eq!((state(&paid_out), &paid_out.1["kind"]), ((200, "Succeeded", ""), &json!("Payout")));

        // The same after a crash.
        bank.stage.kill_and_restart().await;
        assert_eq!(bank.ask("query", &json!({"number": "P1"})).await, first);
        assert_eq!(bank.ask("pay", &poor).await, declined);
        assert_eq!(bank.ask("payout", &payout).await, paid_out);
        assert_eq!(state(&bank.ask("query", &json!({"number": "P9"})).await), (404, "", "NotFound"));
        assert_eq!(state(&bank.ask("transfer", &json!({})).await), (404, "", "UnknownCall"));
    });
}

#[test]
fn what_is_closed_takes_no_money_also_before_it_came() {
    runtime().block_on(async {
        let bank = Participant::new().await;
        let close = async |number: &str| bank.ask("close", &json!({"number": number})).await;
        let never = close("P1").await;
        assert_eq!((state(&never), never.1.get("amountMinor")), ((200, "Closed", ""), None));
        assert_eq!(state(&bank.ask("pay", &soon(bank.pay("P1", 1))).await), (200, "Closed", ""));
        assert_eq!(close("P1").await, never);
        let waits = soon(bank.pay("P2", 9_008));
        assert_eq!(state(&bank.ask("pay", &waits).await), (200, "Processing", ""));
        assert_eq!(state(&close("P2").await), (200, "Closed", ""));
        assert_eq!(state(&bank.ask("pay", &waits).await), (200, "Closed", ""));
        bank.ask("pay", &soon(bank.pay("P3", 12_800))).await;
        assert_eq!(state(&close("P3").await), (200, "Succeeded", ""));
        assert_eq!(
            state(&bank.ask("refund", &bank.refund("R1", "P3", 9_002)).await),
            (200, "Processing", "")
        );
        assert_eq!(state(&close("R1").await), (200, "Processing", ""), "a refund goes on");
    });
}

fn sign(bank: &Participant, number: &str, account: &str) -> Value {
    json!({"number": number, "account": account, "holderName": "Li", "description": "rent",
        "notifyUrl": bank.stage.hook("/told")})
}

#[test]
fn an_agreement_holds_from_its_code_to_its_end() {
    runtime().block_on(async {
        let mut bank = Participant::new().await;
        let confirm = async |bank: &Participant, number: &str, code: &str| {
            bank.ask("confirm", &json!({"number": number, "code": code})).await
        };
        let pay = |bank: &Participant, number: &str, token: &str| {
            let mut pay = soon(bank.pay(number, 100));
            pay["payerAccount"] = token.into();
            pay
        };
        let asked = sign(&bank, "S1", "6222020200110018");
        let waits = bank.ask("sign", &asked).await;
        assert_eq!((state(&waits), &waits.1["confirm"]), ((200, "Processing", ""), &json!("OneTimeCode")));
        assert_eq!((&waits.1["kind"], waits.1.get("amountMinor")), (&json!("Sign"), None));
        assert_eq!(bank.ask("sign", &asked).await, waits, "again");
        let other = sign(&bank, "S1", "6222020200110026");
        assert_eq!(state(&bank.ask("sign", &other).await), (409, "", "NumberConflict"));
        assert_eq!(
            state(&bank.ask("pay", &pay(&bank, "P1", "agr.S1")).await),
            (200, "Declined", "AccountUnknown")
        );
        assert_eq!(state(&confirm(&bank, "S1", "901234").await), (422, "", "WrongCode"));
        let signed = confirm(&bank, "S1", "801234").await;
        assert_eq!(state(&signed), (200, "Succeeded", ""));
        let token = signed.1["token"].as_str().unwrap();
        assert_eq!(confirm(&bank, "S1", "901234").await, signed, "it needs none any more");
        let told = bank.stage.told("/told", 1).await;
        assert_eq!(serde_json::from_str::<Value>(&told[0].body).unwrap(), signed.1);
        let paid = pay(&bank, "P2", token);
        assert_eq!(state(&bank.ask("pay", &paid).await), (200, "Succeeded", ""));

        // One that waits for a code, until after the end.
        let mut waits = pay(&bank, "P4", token);
        waits["amountMinor"] = 19_016.into();
        assert_eq!(state(&bank.ask("pay", &waits).await), (200, "Processing", ""));

        // The same after a crash; ended once, and no payment by its token after that.
        bank.stage.kill_and_restart().await;
        let unsign =
            async |bank: &Participant, number: &str| bank.ask("unsign", &json!({"number": number})).await;
        assert_eq!(bank.ask("query", &json!({"number": "S1"})).await, signed);
        let ended = unsign(&bank, "S1").await;
        assert!(ended.1["endedAt"].is_string() && state(&ended) == (200, "Succeeded", ""), "{}", ended.1);
        assert_eq!(unsign(&bank, "S1").await, ended);
        assert_eq!(
            state(&bank.ask("pay", &pay(&bank, "P3", token)).await),
            (200, "Declined", "AgreementEnded")
        );
        assert_eq!(state(&bank.ask("pay", &paid).await), (200, "Succeeded", ""), "it was booked before");
        assert_eq!(state(&confirm(&bank, "P4", "801234").await), (200, "Declined", "AgreementEnded"));

        // Ended before it was confirmed, and before it came.
        bank.ask("sign", &sign(&bank, "S2", "6222020200110018")).await;
        let closed = unsign(&bank, "S2").await;
        assert_eq!((state(&closed), &closed.1["kind"]), ((200, "Closed", ""), &json!("Sign")));
        assert_eq!(state(&confirm(&bank, "S2", "801234").await), (200, "Closed", ""));
        assert_eq!(state(&unsign(&bank, "S3").await), (200, "Closed", ""));
        let late = bank.ask("sign", &sign(&bank, "S3", "6222020200110018")).await;
        assert_eq!((state(&late), &late.1["kind"]), ((200, "Closed", ""), &json!("Sign")));

        // Wrong codes end it, and what waits for none is told as it is.
        bank.ask("sign", &sign(&bank, "S4", "6222020200110018")).await;
        for _ in 0..4 {
            assert_eq!(state(&confirm(&bank, "S4", "901234").await), (422, "", "WrongCode"));
        }
        assert_eq!(state(&confirm(&bank, "S4", "901234").await), (200, "Declined", "NotConfirmed"));
        assert_eq!(state(&confirm(&bank, "S9", "801234").await), (404, "", "NotFound"));
        assert_eq!(state(&confirm(&bank, "P2", "801234").await), (200, "Succeeded", ""));
        assert_eq!(state(&unsign(&bank, "P2").await), (200, "Succeeded", ""), "a payment goes on");
        assert_eq!(state(&confirm(&bank, "S4", "80").await), (400, "", "InvalidField"));
        let declined = bank.ask("sign", &sign(&bank, "S5", "6222020200119001")).await;
        assert_eq!(state(&declined), (200, "Declined", "AccountUnknown"));
    });
}

#[test]
fn a_payer_who_is_asked_for_a_code_pays_with_it() {
    runtime().block_on(async {
        let bank = Participant::new().await;
        let asked = bank.ask("pay", &soon(bank.pay("P1", 19_016))).await;
        assert_eq!((state(&asked), &asked.1["confirm"]), ((200, "Processing", ""), &json!("OneTimeCode")));
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert_eq!(bank.ask("query", &json!({"number": "P1"})).await, asked, "nobody pays it without");
        let paid = bank.ask("confirm", &json!({"number": "P1", "code": "801234"})).await;
        assert_eq!((state(&paid), paid.1.get("confirm")), ((200, "Succeeded", ""), None));
        let mut over = bank.pay("P2", 29_016);
        let soon = Timestamp::now().saturating_add(jiff::SignedDuration::from_secs(1)).unwrap();
        over["expiresAt"] = soon.to_string().into();
        assert_eq!(state(&bank.ask("pay", &over).await), (200, "Processing", ""));
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        let late = bank.ask("confirm", &json!({"number": "P2", "code": "801234"})).await;
        assert_eq!(state(&late), (200, "Declined", "Expired"));
    });
}

#[test]
fn the_end_is_told_and_faults_have_the_effect_that_they_should() {
    runtime().block_on(async {
        let bank = Participant::new().await;
        let faulty = [("F3", 9_003), ("F4", 9_004), ("F6", 9_006)];
        let faulty = faulty.map(|(number, minor)| soon(bank.pay(number, minor)));
        let call = |place: usize| bank.call("pay", &faulty[place]);
        let (silent, lost, forged) = tokio::join!(call(0), call(1), call(2));
        assert!(silent.is_err() && lost.is_err() && !forged.unwrap().1);
        assert_eq!(state(&bank.ask("pay", &soon(bank.pay("F5", 9_005))).await), (500, "", "InternalError"));
        let query = async |number: &str| bank.ask("query", &json!({"number": number})).await;
        for (number, expected) in [("F3", "NotFound"), ("F5", "NotFound")] {
            assert_eq!(state(&query(number).await), (404, "", expected), "{number}");
        }
        for number in ["F4", "F6"] {
            assert_eq!(state(&query(number).await), (200, "Succeeded", ""), "{number}");
        }

        bank.ask("pay", &soon(bank.pay("N1", 9_011))).await;
        let told = bank.stage.told("/told", 4).await;
        let verified =
            told.iter().map(|got| bank.is_banks("bank-direct/1 notification", &got.headers, &got.body));
        assert_eq!(verified.collect::<Vec<_>>(), [false, true, true, true]);
        let bodies: Vec<Value> = told.iter().map(|got| serde_json::from_str(&got.body).unwrap()).collect();
        assert_eq!(bodies[3], query("N1").await.1);
        assert_eq!(bodies[1]["amountMinor"], 9_012);
        assert_eq!(told[2].headers["bank-participant"], "99999");
    });
}
