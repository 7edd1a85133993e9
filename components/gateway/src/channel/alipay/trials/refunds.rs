use serde_json::{Value, json};

use super::super::refund;
use super::{NUMBER, ORIGINAL, TRADE_NO, at, head, refund as sent};
use crate::channel::{Found, Outcome};

const NOW: &str = "2026-11-30T02:00:00Z";

fn refunded(node: &Value) -> Outcome {
    let node = node.to_string();
    refund::refunded(&head(&node), node.as_bytes(), (NUMBER, ORIGINAL), (1234, at(NOW)))
}

fn queried(node: &Value) -> Found {
    let node = node.to_string();
    refund::queried(&head(&node), node.as_bytes(), (&sent(), ORIGINAL), at(NOW))
}

fn with(node: &Value, extra: &Value) -> Value {
    let mut node = node.clone();
    node.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    node
}

fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unknown { .. })
}

fn succeeded(time: &str) -> Outcome {
    Outcome::succeeded(&format!("{TRADE_NO}-{NUMBER}"), at(time), Some(1234))
}

#[test]
fn a_refund_succeeded_where_money_moved() {
    let good = json!({"code": "10000", "out_trade_no": ORIGINAL, "trade_no": TRADE_NO, "fund_change": "Y",
        "refund_fee": "12.34", "gmt_refund_pay": "2026-11-30 09:59:01"});
    assert_eq!(refunded(&good), succeeded("2026-11-30T01:59:01Z"));
    // After earlier ones the sum is more.
    assert_eq!(refunded(&with(&good, &json!({"refund_fee": "20.00"}))), succeeded("2026-11-30T01:59:01Z"));
    assert_eq!(refunded(&with(&good, &json!({"gmt_refund_pay": null}))), succeeded(NOW));
    for odd in [
        json!({"fund_change": "N"}),
        json!({"fund_change": null}),
        json!({"fund_change": "y"}),
        json!({"refund_fee": "12.33"}),
        json!({"refund_fee": null}),
        json!({"refund_fee": "1e9"}),
        json!({"trade_no": ""}),
        json!({"out_trade_no": NUMBER}),
        json!({"out_trade_no": null}),
    ] {
        assert!(is_unknown(&refunded(&with(&good, &odd))), "{odd}");
    }
}

#[test]
fn refusals_of_a_refund_by_the_tables() {
    let refused = |code: &str, sub_code: &str| refunded(&json!({"code": code, "sub_code": sub_code}));
    for code in [
        "ACQ.SELLER_BALANCE_NOT_ENOUGH",
        "ACQ.TRADE_HAS_FINISHED",
        "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL",
        "ACQ.INVALID_PARAMETER",
        "ACQ.TRADE_NOT_EXIST",
    ] {
        assert_eq!(refused("40004", code), Outcome::Declined { code: code.into(), network_id: None });
    }
    assert!(matches!(refused("40002", "isv.invalid-signature"), Outcome::NotSent { .. }));
    for (code, sub_code) in [
        ("40004", "ACQ.SYSTEM_ERROR"),
        ("40004", "AQC.SYSTEM_ERROR"),
        ("20000", "aop.ACQ.SYSTEM_ERROR"),
        ("20000", "isp.unknow-error"),
        ("40004", "ACQ.REFUND_CHARGE_ERROR"),
        ("40004", "ACQ.DISCORDANT_REPEAT_REQUEST"),
        ("40004", "ACQ.TRADE_HAS_CLOSE"),
        ("40004", "ACQ.NEVER_HEARD_OF"),
        ("20000", "ACQ.SELLER_BALANCE_NOT_ENOUGH"),
    ] {
        assert!(is_unknown(&refused(code, sub_code)), "{sub_code}");
    }
}

#[test]
fn a_query_tells_of_a_refund_or_that_there_is_none() {
    let good = json!({"code": "10000", "out_request_no": NUMBER, "out_trade_no": ORIGINAL,
        "trade_no": TRADE_NO, "refund_amount": "12.34", "total_amount": "20.00",
        "refund_status": "REFUND_SUCCESS", "gmt_refund_pay": "2026-11-30 09:59:01"});
    assert_eq!(queried(&good), Found::Outcome(succeeded("2026-11-30T01:59:01Z")));
    // As it comes where there is none.
    let none = Found::NotFound { at: at(NOW) };
    assert_eq!(queried(&json!({"code": "10000", "msg": "Success"})), none);
    assert_eq!(queried(&json!({"code": "10000", "out_trade_no": ORIGINAL, "out_request_no": NUMBER})), none);
    for odd in [
        json!({"out_request_no": ORIGINAL}),
        json!({"out_request_no": null}),
        json!({"out_trade_no": NUMBER}),
        json!({"out_trade_no": null}),
        json!({"trade_no": null}),
        json!({"refund_amount": null}),
        json!({"refund_amount": "12.345"}),
        json!({"refund_status": null}),
        json!({"refund_status": "REFUND_PROCESSING"}),
        json!({"refund_status": "REFUND_FAIL"}),
        json!({"code": "20000", "sub_code": "isp.unknow-error"}),
        json!({"code": "40004", "sub_code": "ACQ.TRADE_NOT_EXIST"}),
        json!({"code": "40004", "sub_code": "TRADE_NOT_EXIST"}),
    ] {
        let found = queried(&with(&good, &odd));
        assert!(matches!(found, Found::Outcome(Outcome::Unknown { .. })), "{odd} {found:?}");
    }
    let number = "{\"code\":\"10000\",\"refund_amount\":12.34}";
    let found = refund::queried(&head(number), number.as_bytes(), (&sent(), ORIGINAL), at(NOW));
    assert!(matches!(found, Found::Outcome(Outcome::Unknown { .. })), "{found:?}");
}
