use proptest::prelude::*;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::fields::{Fields, join};
use super::super::request::service;
use super::{MER_ID, NUMBER, answer, by_digest, by_rsa, cny, payment, sha256, signed_at, with};
use crate::channel::rsa::VerifyingKey;
use crate::channel::unionpay::sign::{Hash, Signer};
use crate::channel::{Pay, Repay, Sent};

/// UnionPay's own signatures, of its test environment, as the tests of yansongda/pay have
/// them (tests/Provider/UnipayTest.php testQuery, testRefund; tests/Traits/UnipayTraitTest.php).
const PUBLISHED: &[&str] = &[
    include_str!("published-query.txt"),
    include_str!("published-refund.txt"),
    include_str!("published-notification.txt"),
];

#[test]
fn what_unionpay_signed_verifies() {
    for body in PUBLISHED {
        let body = body.trim_end().replace("\\r\\n", "\r\n");
        let fields = Fields::answer(&body).unwrap();
        let der = CertificateDer::from_pem_slice(fields.get("signPubKeyCert").unwrap().as_bytes()).unwrap();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        let key = VerifyingKey::from_spki(certificate.public_key().raw).unwrap();
        let signature = fields.get("signature").unwrap();
        assert!(key.verifies(sha256(fields.signed_text.as_bytes()).as_bytes(), signature));
        let other = fields.signed_text.replacen("txnAmt=1", "txnAmt=2", 1);
        assert!(!key.verifies(sha256(other.as_bytes()).as_bytes(), signature));
        let name = certificate.subject().iter_common_name().next().unwrap().as_str().unwrap();
        assert_eq!(name, super::NETWORK_NAME);
    }
}

/// k=$(printf %s 88888888 | openssl dgst -sm3 -r | cut -d' ' -f1)
/// printf 'accessType=0&...&version=5.1.0&%s' $k | openssl dgst -sm3 -r
#[test]
fn keyed_digests_are_those_of_openssl() {
    let expected = [
        (Hash::Sha256, "11", "be1c7cb508d1678858fe2e60f4b60c335101938a1755c099b9e2c00452cef1fe"),
        (Hash::Sm3, "12", "7779b07f731bace9f3caf874c2b59ab3dc5ee614ca1bae53f977ceb0e85f3096"),
    ];
    let sent = Sent { number: "20260101120000".into(), ..payment() };
    for (hash, method, signature) in expected {
        let body = by_digest(hash).query(&sent).unwrap();
        let start = format!(
            "accessType=0&bizType=000000&encoding=UTF-8&merId={MER_ID}&orderId=20260101120000&signMethod={method}\
             &txnSubType=00&txnTime=20260101120000&txnType=00&version=5.1.0&signature="
        );
        assert_eq!(body, format!("{start}{signature}"));
    }
}

#[test]
fn requests_bear_what_unionpay_asks_for_and_verify() {
    let expires_at = super::time::parse("20260101121500").unwrap();
    let (number, description) = (NUMBER, "茶 & {cake}=[1] \"and a very long description\"");
    let pay = |method| Pay { number, amount: cny(1000), method, description, payer: None, expires_at };
    let merchant = by_rsa();
    let Signer::Rsa { key, certificate_id, .. } = &merchant.signer else { unreachable!() };
    assert!(certificate_id.bytes().all(|byte| byte.is_ascii_digit()));
    let app = merchant.pay(service("unionpay-app").unwrap(), &pay("unionpay-app"), signed_at()).unwrap();
    let qr = merchant.pay(service("unionpay-qr").unwrap(), &pay("unionpay-qr"), signed_at()).unwrap();
    let repay =
        Repay { number, amount: cny(1), original: Sent { network_id: Some("q1".into()), ..payment() } };
    let back = merchant.refund(&repay, signed_at()).unwrap();
    for body in [&app, &qr, &back] {
        let fields = Fields::form(body).unwrap();
        let signature = key.sign(sha256(fields.signed_text.as_bytes()).as_bytes()).unwrap();
        assert!(fields.is("signature", &signature) && fields.is("certId", certificate_id), "{body}");
        assert!(fields.is("backUrl", &merchant.notify_url), "{body}");
    }
    let fields = Fields::form(&app).unwrap();
    assert!(fields.is("orderDesc", "茶  cake1 and a very long descr") && fields.is("txnAmt", "1000"));
    assert!(fields.is("payTimeout", "20260101121500") && fields.is("accType", "01"));
    let fields = Fields::form(&qr).unwrap();
    assert!(fields.is("txnSubType", "07") && fields.get("accType").is_none());
    let fields = Fields::form(&back).unwrap();
    assert!(fields.is("txnType", "04") && fields.is("origQryId", "q1") && fields.is("txnAmt", "1"));
    let no_id = Repay { original: payment(), ..repay };
    assert!(merchant.refund(&no_id, signed_at()).is_err());
}

#[test]
fn only_the_agreed_method_and_version_verify() {
    let pairs = super::answers::looked("00");
    for (merchant, own) in [(by_digest(Hash::Sha256), "11"), (by_digest(Hash::Sm3), "12"), (by_rsa(), "01")] {
        for method in ["01", "11", "12"] {
            let body = answer(method, pairs.clone());
            let verifies = merchant.signer.verifies(&Fields::answer(&body).unwrap(), super::Timestamp::now());
            assert_eq!(verifies, method == own, "{own} {method}");
        }
        let body = answer(own, pairs.clone()).replace("5.1.0", "5.0.0");
        assert!(!merchant.signer.verifies(&Fields::answer(&body).unwrap(), super::Timestamp::now()));
        let nothing = join(with(pairs.clone(), &[]).iter().map(|(key, value)| (*key, value.as_ref())));
        assert!(!merchant.signer.verifies(&Fields::answer(&nothing).unwrap(), super::Timestamp::now()));
    }
}

#[test]
fn a_secure_key_is_one_line() {
    for (bytes, is_key) in [
        (&b"88888888"[..], true),
        (b"88888888\r\n", true),
        (b"", false),
        (b" \n", false),
        (b"a\nb", false),
        (b"\xff", false),
    ] {
        assert_eq!(Hash::Sha256.key(bytes).is_some(), is_key, "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn no_byte_of_a_signed_message_can_be_changed(place in 0_usize..4096, byte in 0x20_u8..0x7f) {
        let now = super::Timestamp::now();
        for (merchant, method) in [(by_digest(Hash::Sha256), "11"), (by_digest(Hash::Sm3), "12")] {
            let body = answer(method, super::answers::looked("00"));
            let mut changed = body.clone().into_bytes();
            let place = place % changed.len();
            changed[place] = byte;
            prop_assume!(changed != body.as_bytes());
            let verifies = std::str::from_utf8(&changed).ok().and_then(Fields::answer)
                .is_some_and(|fields| merchant.signer.verifies(&fields, now));
            prop_assert!(!verifies);
        }
    }
}
