use jiff::SignedDuration;
use proptest::prelude::*;

use super::super::codes::{Refused, State, of_original, of_payment_request, of_refund_request};
use super::super::ending::{closed, closed_at, found, is_payable};
use super::super::message::Looked;
use super::super::request::service;
use super::{MER_ID, NUMBER, Pairs, answer, by_digest, by_rsa, payment, refund, signed_at, with};
use crate::channel::unionpay::sign::Hash;
use crate::channel::{Details, Found, Outcome};

fn common(txn_type: &'static str) -> Pairs<'static> {
    vec![
        ("accessType", "0".into()),
        ("bizType", "000000".into()),
        ("merId", MER_ID.into()),
        ("orderId", NUMBER.into()),
        ("respCode", "00".into()),
        ("respMsg", "成功[0000000]".into()),
        ("txnTime", "20260101120000".into()),
        ("txnType", txn_type.into()),
    ]
}

/// The answer to a new order.
pub(super) fn ordered(result: &'static str, value: &'static str) -> Pairs<'static> {
    with(common("01"), &[(result, value)])
}

/// What UnionPay settles, on the first of January.
pub(super) fn settled(minor: i64) -> Details {
    let date = jiff::civil::date(2026, 1, 1);
    Details { settled_minor: Some(minor), settlement_date: Some(date), ..Details::default() }
}

/// The answer to a query of a payment.
pub(super) fn looked(original: &'static str) -> Pairs<'static> {
    let told = [("origRespCode", original), ("queryId", "442401051450467846498"), ("currencyCode", "156")];
    let more =
        [("txnAmt", "1000"), ("settleAmt", "900"), ("traceTime", "0101120107"), ("settleDate", "0101")];
    with(with(common("01"), &told), &more)
}

fn look(pairs: Pairs<'static>) -> Looked {
    by_digest(Hash::Sha256).looked(&payment(), answer("11", pairs).as_bytes())
}

fn is_nothing(looked: &Looked) -> bool {
    matches!(looked, Looked::Nothing(_) | Looked::Said(_, Outcome::Unknown { .. }))
}

#[test]
fn an_accepted_order_waits_for_its_payer() {
    for (method, result, action) in [
        ("unionpay-qr", "qrCode", r#"{"type":"QrCode","qrCode":"https://qr.95516.com/00010000/62"}"#),
        ("unionpay-app", "tn", r#"{"type":"UnionPayApp","tn":"https://qr.95516.com/00010000/62"}"#),
    ] {
        let service = service(method).unwrap();
        let pairs = ordered(result, "https://qr.95516.com/00010000/62");
        for (merchant, sign) in
            [(by_rsa(), "01"), (by_digest(Hash::Sha256), "11"), (by_digest(Hash::Sm3), "12")]
        {
            let read =
                |pairs| merchant.ordered(service, answer(sign, pairs).as_bytes(), (NUMBER, signed_at()));
            let told = Outcome::Processing { network_id: None, action: serde_json::from_str(action).ok() };
            assert_eq!(read(pairs.clone()), told);
            for other in [("merId", "1"), ("orderId", "1"), ("txnTime", "20260101120001"), ("txnType", "04")]
            {
                assert!(!read(with(pairs.clone(), &[other])).is_said(), "{other:?}");
            }
            assert!(!read(with(pairs.clone(), &[(result, "")])).is_said());
            let refused = read(with(pairs.clone(), &[("respCode", "30")]));
            assert_eq!(refused, Outcome::Declined { code: "30".into(), network_id: None });
            let not_taken = read(with(pairs.clone(), &[("respCode", "11")]));
            assert!(matches!(not_taken, Outcome::NotSent { .. }));
        }
    }
}

#[test]
fn what_is_not_signed_is_no_outcome() {
    let (merchant, service) = (by_rsa(), service("unionpay-app").unwrap());
    let body = answer("01", with(ordered("tn", "611"), &[("respCode", "10")]));
    let read = |body: &str| merchant.ordered(service, body.as_bytes(), (NUMBER, signed_at()));
    assert!(matches!(read(&body), Outcome::NotSent { .. }));
    let cut = &body[..body.len() - 8];
    for body in [body.replace("=10&", "=00&"), cut.to_owned(), String::new(), "respCode=10".to_owned()] {
        assert!(matches!(read(&body), Outcome::Unknown { .. }), "{body}");
    }
    // The order of the fields on the wire does not matter.
    let turned: Vec<_> = body.split('&').rev().collect();
    assert!(matches!(read(&turned.join("&")), Outcome::NotSent { .. }));
}

#[test]
fn a_refund_is_only_accepted_at_first() {
    let merchant = by_digest(Hash::Sm3);
    let read = |code| {
        let pairs = with(common("04"), &[("respCode", code), ("queryId", "q9")]);
        merchant.repaid(answer("12", pairs).as_bytes(), (NUMBER, signed_at()))
    };
    assert_eq!(read("00"), Outcome::Processing { network_id: Some("q9".into()), action: None });
    assert!(matches!(read("45"), Outcome::Declined { .. }) && matches!(read("13"), Outcome::NotSent { .. }));
    for code in ["A6", "01", "02", "03", "04", "05", "06", "12", "99", "zz"] {
        assert!(matches!(read(code), Outcome::Unknown { .. }), "{code}");
    }
    let payment = answer("12", ordered("tn", "611"));
    assert!(!merchant.repaid(payment.as_bytes(), (NUMBER, signed_at())).is_said());
}

#[test]
fn a_success_has_id_amount_and_time() {
    let Looked::Said(State::Succeeded, told) = look(looked("00")) else { unreachable!() };
    let at = super::time::parse("20260101120107").unwrap();
    let paid = |at| Outcome::succeeded("442401051450467846498", at, Some(1000)).detailed(settled(900));
    assert_eq!(told, paid(at));
    let Looked::Said(_, told) = look(with(looked("A6"), &[("traceTime", "")])) else { unreachable!() };
    assert_eq!(told, paid(signed_at()));
    for amount in
        ["0.01", "1", "1.1", "1.10", "1.101", "-1", "+1", "1e2", "00.10", " 1", "9999999999999", "１"]
    {
        let read = look(with(looked("00"), &[("txnAmt", amount)]));
        assert_eq!(is_nothing(&read), amount != "1", "{amount}");
    }
    for other in [("txnAmt", ""), ("queryId", ""), ("currencyCode", "840")] {
        assert!(is_nothing(&look(with(looked("00"), &[other]))), "{other:?}");
    }
}

#[test]
fn an_answer_to_a_query_is_about_what_was_asked() {
    for other in [
        ("merId", "1"),
        ("orderId", "1"),
        ("txnTime", "20260101120001"),
        ("txnType", "04"),
        ("txnType", "00"),
        ("respCode", "05"),
        ("respCode", "11"),
        // The answer to the order, or a notification, instead.
        ("origRespCode", ""),
    ] {
        assert!(is_nothing(&look(with(looked("00"), &[other]))), "{other:?}");
    }
    let refunded = with(looked("00"), &[("txnType", "04")]);
    let read = by_digest(Hash::Sha256).looked(&refund(), answer("11", refunded).as_bytes());
    assert!(matches!(read, Looked::Said(State::Succeeded, _)));
    assert_eq!(look(with(common("00"), &[("respCode", "34")])), Looked::NotFound);
    assert_eq!(look(with(common("01"), &[("respCode", "34")])), Looked::NotFound);
    assert!(is_nothing(&look(with(common("00"), &[("respCode", "34"), ("orderId", "1")]))));
    assert!(is_nothing(&look(with(looked("00"), &[("respCode", "34")]))));
}

#[test]
fn only_after_its_timeout_an_order_that_is_not_paid_has_ended() {
    let (sent, before) = (payment(), signed_at());
    let after = closed_at(&sent).saturating_add(SignedDuration::from_secs(1)).unwrap();
    assert!(closed_at(&sent) > before.saturating_add(SignedDuration::from_mins(25)).unwrap());
    assert!(is_payable(&sent, closed_at(&sent)) && !is_payable(&sent, after));
    let said = |code, at| match found(&sent, at, look(looked(code))) {
        Found::Outcome(outcome) => outcome,
        Found::NotFound { .. } => unreachable!(),
    };
    for code in ["05", "64", "30", "01", "03"] {
        assert!(matches!(said(code, before), Outcome::Processing { .. }), "{code}");
        assert!(!closed(&sent, before, look(looked(code))).is_said(), "{code}");
    }
    assert!(matches!(said("64", after), Outcome::Declined { code, .. } if code == "64"));
    assert!(matches!(closed(&sent, after, look(looked("64"))), Outcome::Declined { .. }));
    for at in [before, after] {
        assert!(matches!(said("00", at), Outcome::Succeeded { .. }));
        assert!(matches!(closed(&sent, at, look(looked("A6"))), Outcome::Succeeded { .. }));
        for code in ["42", "45", "12", "99", "??"] {
            assert!(!said(code, at).is_said() && !closed(&sent, at, look(looked(code))).is_said(), "{code}");
        }
        assert!(!closed(&refund(), at, Looked::NotFound).is_said());
        assert!(!closed(&sent, at, look(looked("04"))).is_said());
    }
    assert_eq!(closed(&sent, after, look(looked("05"))), Outcome::Closed);
    assert_eq!(closed(&sent, after, Looked::NotFound), Outcome::Closed);
    assert_eq!(found(&sent, before, Looked::NotFound), Found::NotFound { at: before });
    assert_eq!(found(&sent, after, Looked::NotFound), Found::Outcome(Outcome::Closed));
    assert!(!closed(&sent, before, Looked::NotFound).is_said());
    assert!(!closed(&sent, after, Looked::Nothing("answer 502".into())).is_said());
}

#[test]
fn a_refund_that_failed_has_failed_at_once() {
    let failed = with(looked("35"), &[("txnType", "04")]);
    let read = by_digest(Hash::Sha256).looked(&refund(), answer("11", failed).as_bytes());
    assert!(matches!(found(&refund(), signed_at(), read), Found::Outcome(Outcome::Declined { .. })));
    assert!(closed_at(&refund()) > signed_at().saturating_add(SignedDuration::from_hours(24)).unwrap());
}

#[test]
fn money_that_was_taken_is_never_a_refusal() {
    for code in ["00", "A6", "03", "04", "05", "12", "37", "42", "70", "74", "75", "83", "99", "", "0", "000"]
    {
        assert_eq!(of_payment_request(code), Refused::Unknown, "{code}");
        assert_eq!(of_refund_request(code), Refused::Unknown, "{code}");
        assert_ne!(of_original(code, false), State::Failed, "{code}");
        assert_ne!(of_original(code, true), State::Failed, "{code}");
    }
    for (code, payment, refund) in [
        ("01", Refused::Declined, Refused::Unknown),
        ("02", Refused::NotTaken, Refused::Unknown),
        ("10", Refused::NotTaken, Refused::NotTaken),
        ("34", Refused::Unknown, Refused::Declined),
        ("64", Refused::Declined, Refused::Declined),
    ] {
        assert_eq!((of_payment_request(code), of_refund_request(code)), (payment, refund), "{code}");
    }
    for code in ["34", "35", "36", "45", "46"] {
        assert_eq!(of_original(code, code == "46"), State::Unknown, "{code}");
    }
}

proptest! {
    #[test]
    fn a_code_that_is_not_known_is_unknown(code in "\\PC{0,4}") {
        let is_known = code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_digit());
        prop_assume!(!is_known && code != "A6");
        prop_assert_eq!(of_payment_request(&code), Refused::Unknown);
        prop_assert_eq!(of_refund_request(&code), Refused::Unknown);
        prop_assert_eq!(of_original(&code, true), State::Unknown);
    }
}
