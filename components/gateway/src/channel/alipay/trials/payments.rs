use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::{codes, not_found, trade};
use super::{NUMBER, ORIGINAL, TRADE_NO, at, head, payment};
use crate::channel::{Found, Outcome};

fn precreated(node: &Value) -> Outcome {
    let node = node.to_string();
    trade::precreated(&head(&node), node.as_bytes(), NUMBER)
}

fn queried(extra: &Value) -> Outcome {
    let mut node = json!({"code": "10000", "msg": "Success", "out_trade_no": NUMBER, "trade_no": TRADE_NO,
        "total_amount": "12.34", "receipt_amount": "0.00", "buyer_pay_amount": "0.00"});
    node.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let node = node.to_string();
    trade::queried(&head(&node), node.as_bytes(), (NUMBER, at("2026-11-30T02:00:00Z")))
}

fn closed(node: &Value) -> Outcome {
    trade::closed(&head(&node.to_string()), NUMBER)
}

fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unknown { .. })
}

fn paid(time: &str) -> Outcome {
    Outcome::succeeded(TRADE_NO, at(time), Some(1234))
}

#[test]
fn a_new_order_is_a_qr_code_for_our_number() {
    let url = "https://qr.alipay.com/bavh4wjlxf12tper3a";
    let made = precreated(&json!({"code": "10000", "out_trade_no": NUMBER, "qr_code": url}));
    let action = Some(json!({"type": "QrCode", "qrCode": url}));
    assert_eq!(made, Outcome::Processing { network_id: None, action });
    for odd in [
        json!({"code": "10000", "out_trade_no": ORIGINAL, "qr_code": url}),
        json!({"code": "10000", "qr_code": url}),
        json!({"code": "10000", "out_trade_no": NUMBER}),
        json!({"code": "10000", "out_trade_no": NUMBER, "qr_code": ""}),
        json!({"code": "10000", "out_trade_no": NUMBER, "qr_code": "a\u{0}"}),
        json!({"code": "10000", "out_trade_no": NUMBER, "qr_code": "x".repeat(1025)}),
        json!({"code": "40004", "sub_code": "ACQ.TOTAL_FEE_EXCEED", "out_trade_no": ORIGINAL}),
    ] {
        assert!(is_unknown(&precreated(&odd)), "{odd}");
    }
}

#[test]
fn refusals_of_an_order_by_the_tables() {
    let refused = |code: &str, sub_code: &str| precreated(&json!({"code": code, "sub_code": sub_code}));
    for (code, sub_code) in [
        ("40002", "isv.invalid-signature"),
        ("40001", "isv.missing-timestamp"),
        ("40005", "isv.app-call-limited"),
        ("40006", "isv.insufficient-isv-permissions"),
        ("40004", "ACQ.ACCESS_FORBIDDEN"),
        ("40004", "ACQ.INVALID_PARAMETER"),
    ] {
        assert!(matches!(refused(code, sub_code), Outcome::NotSent { .. }), "{sub_code}");
    }
    for code in ["ACQ.TOTAL_FEE_EXCEED", "ACQ.NOW_TIME_AFTER_EXPIRE_TIME_ERROR", "ACQ.SELLER_BEEN_BLOCKED"] {
        assert_eq!(refused("40004", code), Outcome::Declined { code: code.to_owned(), network_id: None });
    }
    for (code, sub_code) in [
        ("20000", "isp.unknow-error"),
        ("20000", "aop.ACQ.SYSTEM_ERROR"),
        ("40004", "ACQ.SYSTEM_ERROR"),
        ("40004", "ACQ.TRADE_HAS_SUCCESS"),
        ("40004", "ACQ.TRADE_HAS_CLOSE"),
        ("40004", "ACQ.CONTEXT_INCONSISTENT"),
        ("40004", "ACQ.NEVER_HEARD_OF"),
        ("40004", ""),
        // Right words from the wrong place.
        ("20000", "ACQ.TOTAL_FEE_EXCEED"),
        ("40004", "isv.invalid-signature"),
        ("40002", "isv.app-call-limited"),
        ("10003", ""),
        ("", ""),
    ] {
        assert!(is_unknown(&refused(code, sub_code)), "{code} {sub_code}");
    }
}

#[test]
fn every_state_of_a_trade() {
    let waiting = queried(&json!({"trade_status": "WAIT_BUYER_PAY"}));
    assert_eq!(waiting, Outcome::Processing { network_id: Some(TRADE_NO.into()), action: None });
    for state in ["TRADE_SUCCESS", "TRADE_FINISHED"] {
        // As they come: the amounts that were received are 0.00, and there is a time.
        let outcome = queried(&json!({"trade_status": state, "send_pay_date": "2026-11-30 09:59:01"}));
        assert_eq!(outcome, paid("2026-11-30T01:59:01Z"), "{state}");
        // The time is optional: then it is that of the query.
        for date in [json!(null), json!(""), json!("soon")] {
            let outcome = queried(&json!({"trade_status": state, "send_pay_date": date}));
            assert_eq!(outcome, paid("2026-11-30T02:00:00Z"), "{state} {date}");
        }
    }
    assert_eq!(queried(&json!({"trade_status": "TRADE_CLOSED"})), Outcome::Closed);
    for state in ["", "TRADE_PENDING", "trade_success", "TRADE_SUCCESS "] {
        assert!(is_unknown(&queried(&json!({"trade_status": state}))), "{state}");
    }
    // Neither unpaid nor paid.
    let odd = json!({"trade_status": "WAIT_BUYER_PAY", "send_pay_date": "2026-11-30 09:59:01"});
    assert!(is_unknown(&queried(&odd)));
}

#[test]
fn a_trade_that_was_paid_and_refunded_was_not_never_paid() {
    // Answers about refunded trades have 0.00 in all amounts but the total, and the time.
    let refunded = json!({"trade_status": "TRADE_CLOSED", "send_pay_date": "2026-11-30 09:59:01"});
    assert!(is_unknown(&queried(&refunded)));
}

#[test]
fn a_success_is_ours_and_over_yuan() {
    for odd in [
        json!({"out_trade_no": ORIGINAL}),
        json!({"out_trade_no": ""}),
        json!({"out_trade_no": null}),
        json!({"trade_no": ""}),
        json!({"trade_no": null}),
        json!({"total_amount": "12.345"}),
        json!({"total_amount": "-12.34"}),
        json!({"total_amount": "1e2"}),
        json!({"total_amount": ""}),
        json!({"total_amount": null}),
        json!({"total_amount": 12.34}),
        json!({"trans_currency": "USD"}),
        json!({"additional_status": "SELLER_NOT_RECEIVED"}),
    ] {
        let mut node = json!({"trade_status": "TRADE_SUCCESS", "send_pay_date": "2026-11-30 09:59:01"});
        node.as_object_mut().unwrap().extend(odd.as_object().unwrap().clone());
        assert!(is_unknown(&queried(&node)), "{odd}");
    }
    let yuan = json!({"trade_status": "TRADE_SUCCESS", "trans_currency": "CNY",
        "send_pay_date": "2026-11-30 09:59:01"});
    assert_eq!(queried(&yuan), paid("2026-11-30T01:59:01Z"));
    // Over another amount it is none; the caller compares.
    let other = queried(&json!({"trade_status": "TRADE_SUCCESS", "total_amount": "0.01"}));
    assert!(is_unknown(&other.of(payment().amount)));
    // Twice the same field is an answer that two readers could read differently.
    let twice = format!(
        "{{\"code\":\"10000\",\"out_trade_no\":\"{NUMBER}\",\"trade_no\":\"1\",\"trade_status\":\"TRADE_SUCCESS\",\
         \"total_amount\":\"12.34\",\"total_amount\":\"0.01\"}}"
    );
    assert!(is_unknown(&trade::queried(
        &head(&twice),
        twice.as_bytes(),
        (NUMBER, at("2026-11-30T02:00:00Z"))
    )));
}

#[test]
fn a_missing_trade_means_something_once_its_code_has_run_out() {
    let no_trade = head(r#"{"code":"40004","sub_code":"ACQ.TRADE_NOT_EXIST"}"#);
    assert!(codes::is_not_found(&no_trade));
    for other in [
        r#"{"code":"40004","sub_code":"ACQ.SYSTEM_ERROR"}"#,
        r#"{"code":"20000","sub_code":"ACQ.TRADE_NOT_EXIST"}"#,
        r#"{"code":"10000"}"#,
    ] {
        assert!(!codes::is_not_found(&head(other)), "{other}");
    }
    let closed_at = at("2026-11-30T02:05:00Z");
    let (early, late) = (closed_at, at("2026-11-30T02:05:00.001Z"));
    assert_eq!(not_found(early, closed_at), Found::NotFound { at: early });
    assert_eq!(not_found(late, closed_at), Found::Outcome(Outcome::Closed));
}

#[test]
fn only_the_networks_word_closes_a_trade() {
    let close = |extra: Value| {
        let mut node = json!({"code": "10000", "out_trade_no": NUMBER, "trade_no": TRADE_NO});
        node.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        closed(&node)
    };
    assert_eq!(close(json!({})), Outcome::Closed);
    for odd in [
        json!({"out_trade_no": ORIGINAL}),
        json!({"out_trade_no": null}),
        json!({"code": "40004", "sub_code": "ACQ.TRADE_STATUS_ERROR"}),
        json!({"code": "40004", "sub_code": "ACQ.REASON_TRADE_STATUS_INVALID"}),
        json!({"code": "40004", "sub_code": "ACQ.TRADE_NOT_EXIST"}),
        json!({"code": "40004", "sub_code": "ACQ.SYSTEM_ERROR"}),
        json!({"code": "20000", "sub_code": "isp.unknow-error"}),
    ] {
        assert!(is_unknown(&close(odd.clone())), "{odd}");
    }
}

proptest! {
    #[test]
    fn no_text_is_taken_for_an_outcome(text in ".{0,80}") {
        let good = head(&format!("{{\"code\":\"10000\",\"out_trade_no\":\"{NUMBER}\"}}"));
        let now = at("2026-11-30T02:00:00Z");
        prop_assert!(is_unknown(&trade::precreated(&good, text.as_bytes(), NUMBER)));
        prop_assert!(is_unknown(&trade::queried(&good, text.as_bytes(), (NUMBER, now))));
    }

    #[test]
    fn no_unlisted_code_is_an_outcome(code in "[0-9]{5}", sub_code in "[A-Z]{3}\\.[A-Z_]{3,20}") {
        prop_assume!(!sub_code.starts_with("ACQ."));
        let outcome = precreated(&json!({"code": code, "sub_code": sub_code}));
        prop_assert!(is_unknown(&outcome));
    }
}
