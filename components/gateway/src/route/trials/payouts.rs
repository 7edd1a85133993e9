//! Which channel pays out, and why none does.

use std::time::Instant;

use super::*;
use crate::route::payout;

fn payer(name: &str, rules: Value) -> ChannelSettings {
    let payouts = serde_json::from_value(rules).unwrap();
    ChannelSettings { payouts, client: Arc::new(Nobody(true)), ..channel(name, &json!({})) }
}

fn rules(priority: u32, minor_max: i64) -> Value {
    json!([{"currency": "CNY", "priority": priority, "perPayoutMinorMax": minor_max}])
}

fn chosen(channels: Vec<ChannelSettings>, breakers: &Breakers, minor: i64) -> Result<String, String> {
    let settings = settings(channels);
    payout::choose(&settings, breakers, ("M1", cny(minor))).map(|channel| channel.name.clone())
}

#[test]
fn the_first_by_priority_and_name_that_can() {
    let breakers = Breakers::default();
    let all = || {
        let small = payer("a-small", rules(0, 99));
        let others = ChannelSettings { merchants: vec!["M2".to_owned()], ..payer("others", rules(0, 1_000)) };
        vec![
            small,
            payer("c", rules(1, 1_000)),
            payer("b", rules(1, 1_000)),
            others,
            payer("z", rules(0, 500)),
        ]
    };
    for (minor, name) in [(99, "a-small"), (100, "z"), (501, "b"), (1_000, "b")] {
        assert_eq!(chosen(all(), &breakers, minor).as_deref(), Ok(name), "{minor}");
    }
    // What does not answer comes last, and is used all the same.
    let silent = |name: &str| (0..5).for_each(|_| _ = breakers.note_payment(name, false, Instant::now()));
    silent("b");
    assert_eq!(chosen(all(), &breakers, 501).as_deref(), Ok("c"));
    silent("c");
    assert_eq!(chosen(all(), &breakers, 501).as_deref(), Ok("b"));
}

#[test]
fn why_there_is_none_is_said() {
    let breakers = Breakers::default();
    let none = |channels| chosen(channels, &breakers, 1_000).unwrap_err();
    let off = ChannelSettings { enabled: false, ..payer("off", rules(0, 1_000)) };
    let unable = ChannelSettings { client: Arc::new(Nobody(false)), ..payer("unable", rules(0, 1_000)) };
    let dollars = json!([{"currency": "USD", "priority": 0, "perPayoutMinorMax": 1_000}]);
    assert_eq!(none(vec![]), "");
    assert_eq!(none(vec![unable, payer("undeclared", json!([]))]), "PayoutsMissing");
    assert_eq!(
        none(vec![payer("usd", dollars), payer("small", rules(0, 999)), off]),
        "CurrencyMissing, Disabled, OverLimit"
    );
}

proptest! {
    #[test]
    fn no_payout_goes_over_a_limit(limits in prop::collection::vec(0i64..50, 0..6), minor in 1i64..50) {
        let channels = limits.iter().enumerate().map(|(n, max)| payer(&format!("c{n}"), rules(0, *max)));
        let first = limits.iter().position(|max| minor <= *max).map(|n| format!("c{n}"));
        prop_assert_eq!(chosen(channels.collect(), &Breakers::default(), minor).ok(), first);
    }
}
