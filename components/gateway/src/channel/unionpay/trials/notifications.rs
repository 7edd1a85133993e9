use super::answers::settled;
use super::{MER_ID, NUMBER, Pairs, answer, by_digest, by_rsa, form, with};
use crate::channel::Outcome;
use crate::channel::notification::About;
use crate::channel::unionpay::request::Merchant;
use crate::channel::unionpay::sign::Hash;

fn told(txn_type: &'static str) -> Pairs<'static> {
    vec![
        ("accNo", "6226 **** 0048".into()),
        ("accessType", "0".into()),
        ("bizType", "000201".into()),
        ("currencyCode", "156".into()),
        ("merId", MER_ID.into()),
        ("orderId", NUMBER.into()),
        ("payCardType", "01".into()),
        ("queryId", "782209081322060674028".into()),
        ("respCode", "00".into()),
        ("respMsg", "成功[0000000]".into()),
        ("reserved", "{a=1&b=2}".into()),
        ("settleAmt", "1000".into()),
        ("settleDate", "0101".into()),
        ("traceNo", "067402".into()),
        ("traceTime", "0101120107".into()),
        ("txnAmt", "1000".into()),
        ("txnSubType", "01".into()),
        ("txnTime", "20260101120000".into()),
        ("txnType", txn_type.into()),
    ]
}

fn said(merchant: &Merchant, method: &str, pairs: Pairs<'_>) -> Option<(bool, Outcome)> {
    let read = merchant.notified(form(method, pairs).as_bytes()).ok()?;
    assert_eq!(read.number, NUMBER);
    Some((read.about == About::Refund, read.outcome))
}

#[test]
fn successes_are_told() {
    let at = super::time::parse("20260101120107").unwrap();
    let success = Outcome::succeeded("782209081322060674028", at, Some(1000)).detailed(settled(1000));
    for (merchant, method) in
        [(by_rsa(), "01"), (by_digest(Hash::Sha256), "11"), (by_digest(Hash::Sm3), "12")]
    {
        assert_eq!(said(&merchant, method, told("01")), Some((false, success.clone())));
        assert_eq!(said(&merchant, method, told("04")), Some((true, success.clone())));
        let defect = with(told("01"), &[("respCode", "A6")]);
        assert_eq!(said(&merchant, method, defect), Some((false, success.clone())));
    }
}

#[test]
fn of_payments_no_failure_is_an_end_of_refunds_each() {
    let merchant = by_digest(Hash::Sha256);
    let told_of =
        |txn_type, code| said(&merchant, "11", with(told(txn_type), &[("respCode", code)])).unwrap().1;
    for code in ["64", "30", "03", "05", "42", "99"] {
        assert!(!told_of("01", code).is_said(), "{code}");
    }
    assert!(matches!(told_of("04", "35"), Outcome::Declined { code, .. } if code == "35"));
    assert!(matches!(told_of("04", "04"), Outcome::Processing { .. }));
    assert!(!told_of("04", "99").is_said());
}

#[test]
fn only_notifications_for_this_merchant_are_taken() {
    let merchant = by_digest(Hash::Sha256);
    for other in [
        ("merId", "777290058110049"),
        ("merId", ""),
        ("txnType", "00"),
        ("txnType", "31"),
        ("txnType", ""),
        ("orderId", ""),
        ("respCode", ""),
        // Answers are signed alike: to a refund that was accepted, and to a query.
        ("traceTime", ""),
        ("origRespCode", "00"),
    ] {
        assert_eq!(said(&merchant, "11", with(told("04"), &[other])), None, "{other:?}");
    }
    // One without amount is believed, but no success.
    let (_, outcome) = said(&merchant, "11", with(told("01"), &[("txnAmt", "")])).unwrap();
    assert!(!outcome.is_said());
}

#[test]
fn what_was_changed_is_not_taken() {
    for (merchant, method) in [(by_rsa(), "01"), (by_digest(Hash::Sm3), "12")] {
        let body = form(method, told("01"));
        assert!(merchant.notified(body.as_bytes()).is_ok());
        let turned: Vec<_> = body.split('&').rev().collect();
        assert!(merchant.notified(turned.join("&").as_bytes()).is_ok(), "the order does not matter");
        let more = format!("{body}&x=1");
        let twice = format!("{body}&respCode=00");
        let joined = body.replacen("&settleDate=", "%26settleDate%3D", 1);
        let cut = &body[..body.len() - 4];
        let amount = body.replacen("txnAmt=1000", "txnAmt=1", 1);
        for body in [more.as_str(), &twice, &joined, cut, &amount, "", &answer(method, told("01"))[1..]] {
            assert!(merchant.notified(body.as_bytes()).is_err(), "{body}");
        }
        assert!(merchant.notified(b"\xff").is_err());
    }
}
