//! Cards that are opened: what is asked for, whose card only UnionPay reads, and what is believed.

use std::io::Write;
use std::process::{Command, Stdio};

use jiff::{SignedDuration, Timestamp};

use super::super::encrypt::Encryption;
use super::super::fields::Fields;
use super::super::request::TOKEN;
use super::super::token::{Tokens, closed_at};
use super::*;
use crate::channel::agreement::{Owner, Standing, WrongCode};
use crate::channel::{Outcome, Pay};

const REQUESTOR: &str = "62000000001";
const CARD: &str = "6222020200112230018";
const TEXT: &str = "6235240000020837057";

fn merchant() -> Merchant {
    let pem = named("encryption", false).self_signed(&PKI.network.rcgen()).unwrap().pem();
    let encryption = Encryption::from_pem(pem.as_bytes()).unwrap();
    let tokens = Some(Tokens { requestor: REQUESTOR.into(), encryption });
    Merchant { tokens, ..by_digest(Hash::Sha256) }
}

fn owner() -> Owner {
    Owner { account: CARD.into(), name: "张三".into(), phone: Some("13800138000".into()) }
}

/// What the holder of the network's key reads, by OpenSSL:
/// `openssl pkeyutl -decrypt -inkey key.pem -pkeyopt rsa_padding_mode:pkcs1`.
fn decrypted(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    std::fs::write(&key, PKI.network.rcgen().serialize_pem()).unwrap();
    let mut openssl = Command::new("openssl")
        .args(["pkeyutl", "-decrypt", "-pkeyopt", "rsa_padding_mode:pkcs1", "-inkey"])
        .arg(&key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(&STANDARD.decode(text).unwrap()).unwrap();
    let read = openssl.wait_with_output().unwrap();
    assert!(read.status.success());
    String::from_utf8(read.stdout).unwrap()
}

#[test]
fn whose_card_it_is_the_network_alone_reads() {
    let (merchant, about) = (merchant(), (NUMBER, signed_at()));
    let sent = merchant.send_code(NUMBER, &owner(), signed_at()).unwrap();
    let opens = merchant.open(about, &owner(), "80QXW3417").unwrap();
    let beside = ["", "customerNm=张三&smsCode=80QXW3417&"];
    for ((body, txn_type), beside) in [(sent, "77"), (opens, "79")].into_iter().zip(beside) {
        assert!(!body.contains(CARD) && !body.contains("13800138000"), "{body}");
        let fields = Fields::form(&body).unwrap();
        let wanted = [
            ("txnType", txn_type),
            ("txnSubType", "00"),
            ("bizType", "000902"),
            ("orderId", NUMBER),
            ("txnTime", "20260101120000"),
            ("tokenPayData", "{trId=62000000001&tokenType=01}"),
        ];
        assert!(wanted.iter().all(|(name, value)| fields.is(name, value)), "{body}");
        let certificate_id = &merchant.tokens().unwrap().encryption.certificate_id;
        assert!(fields.is("encryptCertId", certificate_id));
        assert_eq!(decrypted(fields.get("accNo").unwrap()), CARD);
        let customer = STANDARD.decode(fields.get("customerInfo").unwrap()).unwrap();
        let customer = String::from_utf8(customer).unwrap();
        let encrypted = customer.strip_prefix(&format!("{{{beside}encryptedInfo=")).unwrap();
        assert_eq!(decrypted(encrypted.strip_suffix('}').unwrap()), "phoneNo=13800138000");
    }
    // The same is never encrypted twice to the same.
    let twice = [(); 2].map(|()| merchant.send_code(NUMBER, &owner(), signed_at()).unwrap());
    assert_ne!(twice[0], twice[1]);
    let odd = Owner { name: "Li & Sons".into(), ..owner() };
    assert!(merchant.open(about, &odd, "1234").is_err(), "it would be read as two fields");
    assert!(merchant.send_code(NUMBER, &odd, signed_at()).is_err(), "no code would open it");
    assert!(merchant.send_code(NUMBER, &Owner { phone: None, ..owner() }, signed_at()).is_err());
    assert!(by_digest(Hash::Sha256).send_code(NUMBER, &owner(), signed_at()).is_err(), "it has no tokens");
}

#[test]
fn a_payment_by_a_token_names_it_and_is_only_accepted_at_first() {
    let merchant = merchant();
    let pay = |payer| Pay {
        number: NUMBER,
        amount: cny(1000),
        method: TOKEN.method,
        description: "tea",
        payer,
        expires_at: payment().signed_at,
    };
    let body = merchant.pay(&TOKEN, &pay(Some(TEXT)), signed_at()).unwrap();
    let fields = Fields::form(&body).unwrap();
    let named = format!("{{trId={REQUESTOR}&token={TEXT}}}");
    assert!(
        fields.is("tokenPayData", &named) && fields.is("txnSubType", "01") && fields.is("bizType", "000902")
    );
    assert!(merchant.pay(&TOKEN, &pay(None), signed_at()).is_err());

    let said = |code: &'static str| {
        let body = answer("11", with(echo("01"), &[("respCode", code), ("queryId", "Q1")]));
        merchant.ordered(&TOKEN, body.as_bytes(), (NUMBER, signed_at()))
    };
    assert_eq!(said("00"), Outcome::Processing { network_id: Some("Q1".into()), action: None });
    for over in ["77", "80"] {
        assert_eq!(said(over), Outcome::Declined { code: "AgreementEnded".into(), network_id: None });
    }
    assert_eq!(said("64"), Outcome::Declined { code: "64".into(), network_id: None });
    assert!(matches!(said("31"), Outcome::NotSent { .. }));
    // The card may be debited.
    for unsure in ["01", "02", "03", "06", "12", "42", "74", "99", "ZZ"] {
        assert!(matches!(said(unsure), Outcome::Unknown { .. }), "{unsure}");
    }
}

fn echo(txn_type: &'static str) -> Pairs<'static> {
    vec![
        ("merId", MER_ID.into()),
        ("orderId", NUMBER.into()),
        ("txnTime", "20260101120000".into()),
        ("txnType", txn_type.into()),
    ]
}

/// What a standing is, as one word.
fn word(standing: Standing) -> String {
    match standing {
        Standing::AwaitsCode { .. } => "awaits".to_owned(),
        Standing::Active { network_id, token } => format!("active {network_id} {token}"),
        Standing::Declined { code } => format!("declined {code}"),
        Standing::Ended => "ended".to_owned(),
        Standing::NotFound { .. } => "not found".to_owned(),
        Standing::Unknown { .. } => "unknown".to_owned(),
        Standing::NotSent { .. } => "not sent".to_owned(),
    }
}

#[test]
fn every_answer_about_a_card_means_one_thing() {
    let (merchant, about) = (merchant(), (NUMBER, signed_at()));
    let data = format!("{{token={TEXT}&trId={REQUESTOR}&tokenLevel=80&tokenType=01}}");
    let told = |txn_type, code: &str, data: &str| {
        answer("11", with(echo(txn_type), &[("respCode", code), ("tokenPayData", data)]))
    };
    let active = format!("active {NUMBER} {TEXT}");

    let sent = |code: &str| word(merchant.code_sent(told("77", code, "").as_bytes(), about));
    let all = [("00", "awaits"), ("61", "declined 61"), ("13", "not sent"), ("06", "not sent")];
    assert!(all.iter().all(|(code, means)| sent(code) == *means), "{:?}", all.map(|(code, _)| sent(code)));
    assert_eq!((sent("12"), sent("99")), ("unknown".to_owned(), "unknown".to_owned()));

    let opened = |code: &str, data: &str| merchant.opened(told("79", code, data).as_bytes(), about);
    assert_eq!(opened("00", &data).map(word), Ok(active.clone()));
    assert!(matches!(opened("71", ""), Err(WrongCode)));
    for (code, means) in [
        ("66", "declined 66"),
        ("67", "declined 67"),
        ("01", "unknown"),
        ("12", "unknown"),
        ("06", "unknown"),
    ] {
        assert_eq!(opened(code, "").map(word), Ok(means.to_owned()), "{code}");
    }
    for odd in ["", "{}", "{token=}", "{token=1&trId=62000000002}", "token=1", "{token=a b}"] {
        assert_eq!(opened("00", odd).map(word), Ok("unknown".to_owned()), "{odd}");
    }

    let later = |minutes| signed_at().saturating_add(SignedDuration::from_mins(minutes)).unwrap();
    let found = |code: &str, at: Timestamp| {
        word(merchant.found_opened(
            told("78", code, if code == "00" { &data } else { "" }).as_bytes(),
            about,
            at,
        ))
    };
    assert_eq!(found("00", later(0)), active);
    for code in ["34", "77"] {
        assert_eq!(found(code, later(20)), "awaits", "a code may be on its way");
        assert_eq!(found(code, later(21)), "declined NotConfirmed");
    }
    assert_eq!(closed_at(signed_at()), later(20));
    assert_eq!(found("37", later(21)), "unknown");

    let deleted = |code: &str| merchant.deleted(told("74", code, "").as_bytes(), about);
    let all = [("00", Some(true)), ("77", Some(true)), ("80", Some(true)), ("66", Some(false)), ("06", None)];
    assert!(all.iter().all(|(code, is)| deleted(code) == *is), "{:?}", all.map(|(code, _)| deleted(code)));
    // An answer of another kind, or that nobody signed, says nothing.
    let other = told("79", "00", &data);
    assert_eq!(word(merchant.code_sent(other.as_bytes(), about)), "unknown");
    assert_eq!(word(merchant.found_opened(other.as_bytes(), about, later(0))), "unknown");
    let forged = other.replace(TEXT, "6235240000020837058");
    assert_eq!(merchant.opened(forged.as_bytes(), about).map(word), Ok("unknown".to_owned()));
}
