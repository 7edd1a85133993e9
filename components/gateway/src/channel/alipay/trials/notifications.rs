use proptest::prelude::*;

use super::super::{form, notification, sign};
use super::{NUMBER, TRADE_NO, at, payment, signing, verifying};
use crate::channel::Outcome;
use crate::channel::notification::{About, Notification, Unproven};

const APP: &str = "2021003126695331";

/// A notification of a payment, with other values for some parameters.
fn params(other: &[(&str, &str)]) -> Vec<(String, String)> {
    let usual = [
        ("app_id", APP),
        ("auth_app_id", APP),
        ("charset", "utf-8"),
        ("buyer_logon_id", "159****5620"),
        ("fund_bill_list", "[{\"amount\":\"12.34\",\"fundChannel\":\"ALIPAYACCOUNT\"}]"),
        ("gmt_create", "2026-11-30 09:58:44"),
        ("gmt_payment", "2026-11-30 09:59:01"),
        ("notify_id", "2026113000222095901000000000000001"),
        ("notify_time", "2026-11-30 09:59:02"),
        ("notify_type", "trade_status_sync"),
        ("out_trade_no", NUMBER),
        ("subject", "\u{5927}\u{4e50}\u{900f} 2.1 + 100%"),
        ("total_amount", "12.34"),
        ("trade_no", TRADE_NO),
        ("trade_status", "TRADE_SUCCESS"),
        ("version", "1.0"),
        ("sign_type", "RSA2"),
    ];
    let mut all: Vec<(String, String)> = usual.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
    for (name, value) in other {
        all.retain(|(known, _)| known != name);
        all.push(((*name).into(), (*value).into()));
    }
    all
}

fn pairs(params: &[(String, String)]) -> Vec<(&str, &str)> {
    params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}

fn signed(mut params: Vec<(String, String)>) -> Vec<(String, String)> {
    let text = sign::of_notification(pairs(&params), false).unwrap();
    params.push(("sign".into(), signing().sign(text.as_bytes()).unwrap()));
    params
}

fn body(other: &[(&str, &str)]) -> String {
    form::encode(&pairs(&signed(params(other))))
}

fn read(body: &str) -> Result<Notification, Unproven> {
    notification::read(body.as_bytes(), verifying(), APP)
}

fn outcome(other: &[(&str, &str)]) -> Outcome {
    read(&body(other)).unwrap().outcome
}

fn is_unknown(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Unknown { .. })
}

fn paid() -> Outcome {
    Outcome::succeeded(TRADE_NO, at("2026-11-30T01:59:01Z"), Some(1234))
}

#[test]
fn a_payment_is_told_of() {
    let told = Notification { number: NUMBER.into(), about: About::Payment, currency: None, outcome: paid() };
    assert_eq!(read(&body(&[])).unwrap(), told);
    // In another order, and twice: it is the same.
    let mut reordered = signed(params(&[]));
    reordered.reverse();
    assert_eq!(read(&form::encode(&pairs(&reordered))).unwrap(), told);
    assert_eq!(read(&body(&[("trade_status", "TRADE_FINISHED"), ("charset", "UTF-8")])).unwrap(), told);
    // As some come.
    assert_eq!(read(&body(&[("refund_fee", "0.00"), ("gmt_close", "2026-11-30 09:59:01")])).unwrap(), told);
}

/// jeepay shipped this: a notification whose signature verified was taken as the payment of
/// the order, without a look at its app, its amount and its number (jeepay pull 106).
#[test]
fn a_signed_notification_alone_is_no_payment_jeepay_106() {
    assert!(read(&body(&[("app_id", "2019090366875133")])).is_err());
    assert!(read(&body(&[("app_id", "")])).is_err());
    // The number is that of the notification, never another one's; the caller finds it or not.
    let other = read(&body(&[("out_trade_no", "somebody-else-s")])).unwrap();
    assert_eq!(other.number, "somebody-else-s");
    assert_eq!(read(&body(&[("out_trade_no", "")])).unwrap().number, "");
    // Over another amount it is no success.
    for amount in ["0.01", "12.35", "1234", "12.3"] {
        assert!(is_unknown(&outcome(&[("total_amount", amount)]).of(payment().amount)), "{amount}");
    }
    assert_eq!(outcome(&[]).of(payment().amount), paid());
    for amount in ["", "12.340", "-12.34", "1e2", "NaN"] {
        assert!(is_unknown(&outcome(&[("total_amount", amount)])), "{amount}");
    }
}

#[test]
fn refunds_change_no_payment() {
    // As they come for a refund in part and in full (also from merchants' published logs).
    let refund = [
        ("refund_fee", "0.01"),
        ("gmt_refund", "2026-11-30 10:19:15.143"),
        ("out_biz_no", "0192f3a4b5c67d8e9f00112233440001"),
    ];
    for state in ["TRADE_SUCCESS", "TRADE_CLOSED", "TRADE_FINISHED", "WAIT_BUYER_PAY"] {
        for sign_of_one in refund {
            let told = outcome(&[("trade_status", state), sign_of_one]);
            assert!(is_unknown(&told), "{state} {sign_of_one:?} {told:?}");
        }
        let all = [&refund[..], &[("trade_status", state)]].concat();
        assert!(is_unknown(&outcome(&all)));
    }
    // One that does not say so in these words was paid all the same.
    assert!(is_unknown(&outcome(&[("trade_status", "TRADE_CLOSED")])));
}

#[test]
fn an_order_that_ran_out_is_closed() {
    let closed = [("trade_status", "TRADE_CLOSED"), ("gmt_payment", ""), ("refund_fee", "0.00")];
    assert_eq!(outcome(&closed), Outcome::Closed);
    let waiting = outcome(&[("trade_status", "WAIT_BUYER_PAY"), ("gmt_payment", "")]);
    assert_eq!(waiting, Outcome::Processing { network_id: Some(TRADE_NO.into()), action: None });
    for state in ["", "TRADE_PENDING", "trade_success"] {
        assert!(is_unknown(&outcome(&[("trade_status", state)])), "{state}");
    }
    assert!(is_unknown(&outcome(&[("trade_no", "")])));
}

#[test]
fn what_was_not_signed_is_not_believed() {
    let good = signed(params(&[]));
    for (at, (name, _)) in good.iter().enumerate() {
        let mut other = good.clone();
        other[at].1.push('0');
        assert!(read(&form::encode(&pairs(&other))).is_err(), "{name}");
        other.remove(at);
        assert!(read(&form::encode(&pairs(&other))).is_err(), "{name}");
    }
    let text = form::encode(&pairs(&good));
    for more in ["&extra=1", "&trade_status=TRADE_SUCCESS", "&sign=x", "&"] {
        assert!(read(&format!("{text}{more}")).is_err(), "{more}");
    }
    for other in
        [("sign_type", "RSA"), ("sign_type", ""), ("charset", "GBK"), ("notify_type", "batch_refund_notify")]
    {
        assert!(read(&body(&[other])).is_err(), "{other:?}");
    }
    for end in 0..text.len() {
        assert!(read(&text[..end]).is_err());
    }
    let long = "a=1&".repeat(100_000);
    for odd in ["", "sign=x", "{}", &long] {
        assert!(read(odd).is_err());
    }
}

#[test]
fn no_parameter_is_hidden_in_another() {
    // The signed text of a refund's notification, but with its refund in the value before.
    let refund =
        signed(params(&[("trade_status", "TRADE_CLOSED"), ("gmt_refund", "2026-11-30 10:19:15.143")]));
    let mut hidden = refund.clone();
    let place = hidden.iter().position(|(name, _)| name == "gmt_refund").unwrap();
    let (_, value) = hidden.remove(place);
    let before = hidden.iter_mut().find(|(name, _)| name == "gmt_payment").unwrap();
    before.1.push_str(&format!("&gmt_refund={value}"));
    let text = |params: &[(String, String)]| sign::of_notification(pairs(params), true).unwrap();
    assert_eq!(text(&hidden), text(&refund));
    assert!(read(&form::encode(&pairs(&hidden))).is_err());
    assert!(is_unknown(&read(&form::encode(&pairs(&refund))).unwrap().outcome));
}

#[test]
fn empty_values_may_be_signed_or_not() {
    let mut with_empty = params(&[("body", "")]);
    let text = sign::of_notification(pairs(&with_empty), true).unwrap();
    with_empty.push(("sign".into(), signing().sign(text.as_bytes()).unwrap()));
    assert_eq!(read(&form::encode(&pairs(&with_empty))).unwrap().outcome, paid());
    assert_eq!(outcome(&[("body", "")]), paid());
}

proptest! {
    #[test]
    fn nothing_panics_and_nothing_is_believed(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(notification::read(&bytes, verifying(), APP).is_err());
    }

    #[test]
    fn no_changed_byte_makes_another_one(place in any::<proptest::sample::Index>(), bit in 0..8u8) {
        static GOOD: std::sync::OnceLock<String> = std::sync::OnceLock::new();
        let good = GOOD.get_or_init(|| body(&[]));
        let mut other = good.clone().into_bytes();
        let place = place.index(other.len());
        other[place] ^= 1 << bit;
        // It may still be another writing of the same (`%2a` for `%2A`).
        if let Ok(told) = notification::read(&other, verifying(), APP) {
            prop_assert_eq!(told, read(good).unwrap());
        }
    }
}
