use proptest::prelude::*;

use super::auth::Authorization;
use super::{body as order, refund, segment};

/// The example of the network's own page on signatures.
const EXAMPLE: &str = r#"WECHATPAY2-SHA256-RSA2048 mchid="1900000001",nonce_str="593BEC0C930BF1AFEB40B4A08C8FB242",signature="uOVRnA4qG/MNnYzdQxJanN+zU+lTgIcnU9BxGw5dKjK==",timestamp="1554208460",serial_no="1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C""#;

#[test]
fn an_authorization_has_five_parts_each_once() {
    let read = Authorization::read(EXAMPLE).unwrap();
    assert_eq!((read.mchid.as_str(), read.timestamp.as_str()), ("1900000001", "1554208460"));
    assert_eq!(read.serial, "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C");
    for (from, to) in [
        ("WECHATPAY2-SHA256-RSA2048", "WECHATPAY2-SM2-WITH-SM3"),
        ("RSA2048 ", "RSA2048"),
        ("timestamp", "time"),
        ("mchid=\"1900000001\"", "mchid=\"\""),
        (",timestamp=\"1554208460\"", ""),
        ("\",timestamp", "\" ,timestamp"),
        ("1900000001\"", "1900000001"),
        ("timestamp", "mchid"),
    ] {
        assert_eq!(Authorization::read(&EXAMPLE.replacen(from, to, 1)), None, "{from} as {to}");
    }
}

const ORDER: &str = r#"{"appid":"wx1","mchid":"19","description":"d","out_trade_no":"order-1",
    "notify_url":"https://a.example/n","amount":{"total":100}}"#;

#[test]
fn documented_fields_are_taken_and_others_are_not() {
    let whole = ORDER.replace(
        "{\"appid\"",
        r#"{"detail":{"cost_price":1},"scene_info":{"payer_client_ip":"1.1.1.1"},"settle_info":{},"support_fapiao":true,"goods_tag":"t","appid""#,
    );
    let body: order::Body = order::read(whole.as_bytes()).unwrap();
    assert!(body.check(order::Kind::Native).is_ok() && body.check(order::Kind::Jsapi).is_err());
    assert!(order::read::<order::Body>(ORDER.replace("notify_url", "notifyurl").as_bytes()).is_err());
    assert!(order::read::<order::Body>(format!("{ORDER}x").as_bytes()).is_err());
}

proptest! {
    #[test]
    fn no_header_makes_the_reader_panic(header in "(WECHATPAY2-SHA256-RSA2048 )?[a-z_=\",.]{0,80}") {
        let _ = Authorization::read(&header);
    }

    #[test]
    fn no_body_makes_the_readers_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = order::read::<order::Body>(&body).map(|body| body.check(order::Kind::Native).is_ok());
        let _ = order::read::<refund::Body>(&body).map(|body| body.check().is_ok());
        let _ = segment(&String::from_utf8_lossy(&body));
    }

    #[test]
    fn an_order_that_passes_is_within_bounds(number in ".{0,40}", total in any::<i64>()) {
        let mut body: serde_json::Value = serde_json::from_str(ORDER).unwrap();
        body["out_trade_no"] = number.as_str().into();
        body["amount"]["total"] = total.into();
        let body: order::Body = order::read(body.to_string().as_bytes()).unwrap();
        if body.check(order::Kind::Native).is_ok() {
            prop_assert!(body.amount.total > 0 && (6..=32).contains(&body.out_trade_no.len()));
        }
    }
}
