//! Agreements are signed over a channel that has them, and paid by over that one alone.

use super::*;
use crate::route::agreement;

fn signing(name: &str, change: &Value) -> ChannelSettings {
    ChannelSettings { client: Arc::new(Nobody(true)), ..channel(name, change) }
}

#[test]
fn who_has_none_is_left_out_and_says_so() {
    let chosen = |channels: Vec<ChannelSettings>, method: &str| {
        let settings = settings(channels);
        let asked = agreement::Asked { merchant: "M1", method, has_phone: false };
        let chosen = agreement::choose(&settings, &Breakers::default(), asked, |_| true);
        chosen.map(|channel| channel.name.clone())
    };
    let all =
        || vec![channel("a", &json!({"priority": 0})), signing("c", &json!({})), signing("b", &json!({}))];
    assert_eq!(chosen(all(), "card").as_deref(), Ok("b"));
    assert_eq!(chosen(all(), "qr").unwrap_err(), "MethodMissing");
    assert_eq!(chosen(vec![channel("a", &json!({}))], "card").unwrap_err(), "AgreementsMissing");
    let mut closed = signing("closed", &json!({}));
    closed.enabled = false;
    assert_eq!(chosen(vec![closed], "card").unwrap_err(), "Disabled");
}

#[test]
fn a_payment_by_an_agreement_goes_over_its_channel_alone() {
    let all = || vec![channel("none", &json!({})), signing("one", &json!({})), signing("two", &json!({}))];
    for (agreed, routes) in [("one", vec!["one"]), ("two", vec!["two"]), ("none", vec![]), ("gone", vec![])] {
        let asked = Asked { agreed: Some(agreed), ..asked(1, 10_000) };
        assert_eq!(names(&chosen(all(), &asked)), routes, "{agreed}");
    }
}

#[test]
fn a_method_that_is_agreed_on_takes_no_other_payment() {
    let all = || vec![signing("one", &json!({"name": "agreed"}))];
    let by = |agreed| Asked { agreed, method: "agreed", ..asked(1, 10_000) };
    assert_eq!(names(&chosen(all(), &by(Some("one")))), ["one"]);
    assert!(chosen(all(), &by(None)).is_empty());
}
