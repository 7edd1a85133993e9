use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use payplane_api::currency::Currency;
use payplane_api::money::Money;
use payplane_common::trace::Trace;
use serde_json::{Value, json};

use super::super::{Alipay, QR, form, sign};
use super::{NUMBER, ORIGINAL, at, cny, payment, refund, verifying};
use crate::channel::{Channel, Outcome, Pay, Repay};

fn alipay() -> Alipay {
    // Nobody listens there.
    super::alipay("https://127.0.0.1:9", None)
}

fn pay(amount: Money) -> Pay<'static> {
    let expires_at = at("2026-11-30T16:00:01.9Z");
    Pay { number: NUMBER, amount, method: QR, description: "Tea & cake", payer: None, expires_at }
}

/// The parameters of a request, once its signature verified; and `biz_content`.
fn open(request: &reqwest::Request) -> (BTreeMap<String, String>, Value) {
    assert_eq!((request.method().as_str(), request.url().path()), ("POST", "/gateway.do"));
    let content = form::decode(request.body().unwrap().as_bytes().unwrap()).unwrap();
    assert_eq!(content.len(), 1);
    let mut params = form::decode(request.url().query().unwrap().as_bytes()).unwrap();
    params.extend(content);
    let (signatures, params): (Vec<_>, Vec<_>) = params.into_iter().partition(|(name, _)| name == "sign");
    let text = sign::of_request(params.iter().map(|(n, v)| (n.as_str(), v.as_str()))).unwrap();
    assert!(verifying().verifies(text.as_bytes(), &signatures[0].1));
    let params: BTreeMap<_, _> = params.into_iter().collect();
    let content = serde_json::from_str(&params["biz_content"]).unwrap();
    (params, content)
}

#[test]
fn a_new_order_as_it_is_sent() {
    let before = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    let prepared = alipay().prepare_pay(&pay(cny(1234))).unwrap();
    assert!(before <= prepared.signed_at && prepared.signed_at <= Timestamp::now());
    let (params, content) = open(&prepared.request);
    let expected = [
        ("app_id", "2021003126695331"),
        ("charset", "utf-8"),
        ("format", "JSON"),
        ("method", "alipay.trade.precreate"),
        ("notify_url", "https://pay.example/v1/channels/a/notifications?x=1&y=2"),
        ("sign_type", "RSA2"),
        ("version", "1.0"),
    ];
    for (name, value) in expected {
        assert_eq!(params[name], value);
    }
    assert_eq!(params["timestamp"], super::super::china::text(prepared.signed_at));
    let body = json!({"out_trade_no": NUMBER, "total_amount": "12.34", "subject": "Tea   cake",
        "product_code": "FACE_TO_FACE_PAYMENT", "time_expire": "2026-12-01 00:00:01"});
    assert_eq!(content, body);
}

#[test]
fn a_refund_as_it_is_sent() {
    let mut original = payment();
    original.number = ORIGINAL.into();
    let repay = Repay { number: NUMBER, amount: cny(5), original };
    let prepared = alipay().prepare_refund(&repay).unwrap();
    let (params, content) = open(&prepared.request);
    assert_eq!(params["method"], "alipay.trade.refund");
    assert!(!params.contains_key("notify_url"));
    let body = json!({"out_trade_no": ORIGINAL, "refund_amount": "0.05", "out_request_no": NUMBER});
    assert_eq!(content, body);
}

#[test]
fn only_yuan_by_qr_code_are_asked_for() {
    let alipay = alipay();
    let usd = Money::new(1234, Currency::parse("USD").unwrap()).unwrap();
    for amount in [usd, cny(0), cny(10_000_000_001)] {
        assert!(alipay.prepare_pay(&pay(amount)).is_err(), "{amount:?}");
    }
    assert!(alipay.prepare_pay(&pay(cny(10_000_000_000))).is_ok());
    for method in ["alipay", "wechat-native", ""] {
        assert!(alipay.prepare_pay(&Pay { method, ..pay(cny(1)) }).is_err(), "{method}");
    }
}

#[test]
fn a_subject_is_what_the_network_allows() {
    let alipay = alipay();
    let subject = |description: &str| {
        let prepared = alipay.prepare_pay(&Pay { description, ..pay(cny(1)) }).unwrap();
        open(&prepared.request).1["subject"].as_str().unwrap().to_owned()
    };
    assert_eq!(subject("a/b=c&d\n\u{5927}+%"), "a b c d \u{5927}+%");
    assert_eq!(subject(" /=& "), NUMBER);
    assert_eq!(subject(&"\u{5927}".repeat(300)), "\u{5927}".repeat(85));
}

#[test]
fn when_nothing_can_come_any_more() {
    let alipay = alipay();
    assert_eq!(alipay.closed_at(&payment()), at("2026-11-30T02:05:00Z"));
    assert_eq!(alipay.closed_at(&refund()), at("2026-12-01T01:45:00Z"));
}

#[test]
fn the_network_is_told_in_its_words() {
    let alipay = alipay();
    assert_eq!((alipay.receipt(true).status, alipay.receipt(true).body.as_str()), (200, "success"));
    assert_eq!((alipay.receipt(false).status, alipay.receipt(false).body.as_str()), (500, "fail"));
}

#[tokio::test]
async fn what_was_frozen_is_not_sent() {
    let alipay = alipay();
    let mut prepared = alipay.prepare_pay(&pay(cny(1))).unwrap();
    prepared.signed_at = prepared.signed_at.saturating_sub(SignedDuration::from_secs(62)).unwrap();
    let outcome = alipay.send(prepared, Trace::new()).await;
    assert_eq!(outcome, Outcome::NotSent { why: "it was signed too long ago".to_owned() });
}

#[tokio::test]
async fn nothing_is_closed_unseen_and_no_refund_ever() {
    let alipay = alipay();
    for sent in [payment(), refund()] {
        let outcome = alipay.close(&sent, Trace::new()).await;
        assert!(matches!(outcome, Outcome::Unknown { .. }), "{outcome:?}");
    }
}
