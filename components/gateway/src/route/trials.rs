//! Who has the first turn, who has none, and that the explanation says it all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::BoxFuture;
use payplane_api::currency::Currency;
use payplane_api::settlement::Calendar;
use payplane_common::trace::Trace;
use proptest::prelude::*;

use super::*;
use crate::channel::endpoint::DeniedNetworks;
use crate::channel::{Channel, Found, Outcome, Pay, PrepareError, Prepared, Repay, Sent};

mod agreements;
mod fees;
mod payouts;
mod top_ups;

/// A network that nobody calls here. Does it pay out, take top-ups, and have agreements?
struct Nobody(bool);

impl Channel for Nobody {
    fn prepare_pay(&self, _: &Pay<'_>) -> Result<Prepared, PrepareError> {
        unreachable!()
    }
    fn prepare_refund(&self, _: &Repay<'_>) -> Result<Prepared, PrepareError> {
        unreachable!()
    }
    fn send(&self, _: Prepared, _: Trace) -> BoxFuture<'_, Outcome> {
        unreachable!()
    }
    fn query<'a>(&'a self, _: &'a Sent, _: Trace) -> BoxFuture<'a, Found> {
        unreachable!()
    }
    fn close<'a>(&'a self, _: &'a Sent, _: Trace) -> BoxFuture<'a, Outcome> {
        unreachable!()
    }
    fn closed_at(&self, _: &Sent) -> jiff::Timestamp {
        unreachable!()
    }
    fn pays_out(&self) -> bool {
        self.0
    }
    fn takes_top_ups(&self) -> bool {
        self.0
    }
    fn signs(&self, _: &str) -> bool {
        self.0
    }
    fn is_agreed_alone(&self, method: &str) -> bool {
        method == "agreed"
    }
}

/// A channel, with the members that `change` gives its method.
fn channel(name: &str, change: &Value) -> ChannelSettings {
    let mut method = json!({"name": "card", "priority": 1, "limits": [],
        "fees": [{"currency": "CNY", "basisPoints": 50, "fixedMinor": 0}]});
    for (member, value) in change.as_object().unwrap() {
        method[member] = value.clone();
    }
    ChannelSettings {
        name: name.to_owned(),
        enabled: true,
        is_simulated: true,
        merchants: vec![],
        methods: vec![serde_json::from_value(method).unwrap()],
        payouts: vec![],
        refund_days: None,
        client: Arc::new(Nobody(false)),
    }
}

fn settings(channels: Vec<ChannelSettings>) -> Settings {
    let config = json!({"tenant": "t", "environment": "Test", "epoch": 1, "currencies": ["CNY"],
        "calendar": {"timezone": "UTC", "cutoff": "00:00"}, "ledger": "https://ledger:1",
        "database": {"host": "h", "port": 1, "database": "d", "user": "u"}});
    let config: payplane_api::config::GatewayConfig = serde_json::from_value(config).unwrap();
    Settings {
        tenant: config.tenant.clone(),
        epoch: config.epoch,
        hash: "hash".to_owned(),
        environment: config.environment,
        currencies: config.currencies.clone(),
        calendar: Calendar::new(&config.calendar).unwrap(),
        channels,
        denied: Arc::new(DeniedNetworks::parse(&[]).unwrap()),
        code_sender: None,
        config,
    }
}

fn cny(minor: i64) -> Money {
    Money::new(minor, Currency::parse("CNY").unwrap()).unwrap()
}

fn asked(order: u128, minor: i64) -> Asked<'static> {
    let on = Date::constant(2026, 11, 30);
    Asked {
        order_id: Uuid::from_u128(order),
        merchant: "M1",
        method: "card",
        amount: cny(minor),
        on,
        agreed: None,
        top_up: false,
    }
}

fn names(decisions: &[Decision]) -> Vec<&str> {
    decisions.iter().map(|decision| decision.channel.as_str()).collect()
}

fn chosen(channels: Vec<ChannelSettings>, asked: &Asked<'_>) -> Vec<Decision> {
    choose(&settings(channels), (&Breakers::default(), &Rates::default()), asked)
}

fn costs(basis_points: i64) -> Value {
    json!([{"currency": "CNY", "basisPoints": basis_points, "fixedMinor": 0}])
}

#[test]
fn priority_goes_before_score_and_score_before_the_name() {
    let channels = || {
        vec![
            channel("dear", &json!({"costs": costs(300)})),
            channel("cheap", &json!({"costs": costs(20)})),
            channel("by-fee", &json!({})),
            channel("a-twin", &json!({})),
            channel("early", &json!({"priority": 0, "costs": costs(9_000)})),
        ]
    };
    let decided = chosen(channels(), &asked(1, 10_000));
    assert_eq!(names(&decided), ["early", "cheap", "a-twin", "by-fee", "dear"]);
    assert_eq!(decided[1].fee_minor, 50, "a cost is not booked");
    let said = &decided[0].explanation;
    assert_eq!(
        said["candidates"][0],
        json!({"channel": "dear", "rests": false, "priority": 1, "costMinor": 300,
            "successBasisPoints": 10_000, "score": 9_700})
    );
    assert_eq!(said["order"], json!(["early", "cheap", "a-twin", "by-fee", "dear"]));

    // What fails half of the time is worth less than what costs more; a silent network is last.
    let (breakers, rates, now) = (Breakers::default(), Rates::default(), Instant::now());
    for _ in 0..10 {
        rates.note("cheap", &Outcome::Processing { network_id: None, action: None }, now);
        rates.note("cheap", &Outcome::Declined { code: "no".into(), network_id: None }, now);
        breakers.note_payment("early", false, now);
    }
    let decided = choose(&settings(channels()), (&breakers, &rates), &asked(1, 10_000));
    assert_eq!(names(&decided), ["a-twin", "by-fee", "dear", "cheap", "early"]);
}

#[test]
fn whoever_cannot_take_it_is_left_out_and_the_reason_kept() {
    let mut disabled = channel("disabled", &json!({}));
    disabled.enabled = false;
    let mut others = channel("others", &json!({}));
    others.merchants = vec!["M2".to_owned()];
    let mut own = channel("own", &json!({}));
    own.merchants = vec!["M2".to_owned(), "M1".to_owned()];
    let limits = json!([{"currency": "CNY", "perPaymentMinorMax": 9_999}]);
    let channels = vec![
        disabled,
        others,
        own,
        channel("small", &json!({"limits": limits})),
        channel("foreign", &json!({"fees": [{"currency": "USD", "basisPoints": 1, "fixedMinor": 0}]})),
        channel("qr", &json!({"name": "qr"})),
    ];
    let decided = chosen(channels, &asked(1, 10_000));
    assert_eq!(names(&decided), ["own"]);
    let candidates = decided[0].explanation["candidates"].as_array().unwrap();
    let refused: BTreeMap<_, _> =
        candidates.iter().map(|c| (c["channel"].as_str().unwrap(), c["refused"].as_str())).collect();
    let expected = BTreeMap::from([
        ("disabled", Some("Disabled")),
        ("others", Some("OtherMerchants")),
        ("own", None),
        ("small", Some("OverLimit")),
        ("foreign", Some("CurrencyMissing")),
        ("qr", Some("MethodMissing")),
    ]);
    assert_eq!(refused, expected);
}

#[test]
fn weights_share_what_is_about_as_good() {
    let channels = || {
        vec![
            channel("three", &json!({"weight": 3, "costs": costs(90)})),
            channel("one", &json!({"weight": 1, "costs": costs(10)})),
            channel("none", &json!({"costs": costs(0)})),
            channel("far", &json!({"weight": 1000, "costs": costs(200)})),
        ]
    };
    let mut first = BTreeMap::<String, u32>::new();
    for order in 0..4_000 {
        let decided = chosen(channels(), &asked(order, 10_000));
        assert_eq!(names(&decided), names(&chosen(channels(), &asked(order, 10_000))), "the same again");
        assert_eq!(names(&decided[2..]), ["none", "far"]);
        *first.entry(decided[0].channel.clone()).or_default() += 1;
    }
    let three = first["three"];
    assert!((2_880..=3_120).contains(&three) && three + first["one"] == 4_000, "{first:?}");
}

#[test]
fn a_cost_counts_in_full_on_small_amounts() {
    let fixed = json!([{"currency": "CNY", "basisPoints": 0, "fixedMinor": 30}]);
    let channels = || vec![channel("fixed", &json!({"costs": fixed})), channel("share", &json!({}))];
    assert_eq!(names(&chosen(channels(), &asked(1, 1_000))), ["share", "fixed"]);
    assert_eq!(names(&chosen(channels(), &asked(1, 100_000))), ["fixed", "share"]);
    assert_eq!(share(cny(1), cny(3)), 3_334, "rounded up");
    assert_eq!(share(cny(3), cny(3)), 10_000);
}

proptest! {
    #[test]
    fn the_explanation_says_all_and_nobody_over_a_limit_is_chosen(
        terms in prop::collection::vec(
            (0u32..3, prop::option::of(1u32..1000), 0i64..=10_000, 0i64..20_000, any::<bool>()), 0..12),
        order: u128,
        minor in 1i64..20_000,
    ) {
        let built = terms.iter().enumerate().map(|(n, (priority, weight, cost, max, enabled))| {
            let limits = json!([{"currency": "CNY", "perPaymentMinorMax": max}]);
            let mut change = json!({"priority": priority, "costs": costs(*cost), "limits": limits});
            if let Some(weight) = weight {
                change["weight"] = json!(weight);
            }
            ChannelSettings { enabled: *enabled, ..channel(&format!("c{n}"), &change) }
        });
        let decided = chosen(built.collect(), &asked(order, minor));
        let fit: BTreeSet<_> = terms.iter().enumerate()
            .filter(|(_, (_, _, _, max, enabled))| *enabled && minor <= *max)
            .map(|(n, _)| format!("c{n}")).collect();
        prop_assert_eq!(decided.iter().map(|d| d.channel.clone()).collect::<BTreeSet<_>>(), fit.clone());
        prop_assert_eq!(decided.len(), fit.len());
        let Some(first) = decided.first() else { return Ok(()) };
        let said = &first.explanation;
        prop_assert_eq!(&said["order"], &json!(names(&decided)));
        let candidates = said["candidates"].as_array().unwrap();
        prop_assert_eq!(candidates.len(), terms.len());
        // Priorities only rise; within one, a worse score goes first only by its weight, and
        // not by more than a percent.
        let of = |name: &str| candidates.iter().find(|c| c["channel"] == name).unwrap();
        for (at, one) in decided.iter().enumerate() {
            let one = of(&one.channel);
            prop_assert!(one.get("refused").is_none());
            for later in &decided[at + 1..] {
                let later = of(&later.channel);
                prop_assert!(one["priority"].as_i64() <= later["priority"].as_i64());
                if one["priority"] == later["priority"] {
                    let behind = later["score"].as_i64().unwrap() - one["score"].as_i64().unwrap();
                    let drawn = !one["weight"].is_null();
                    prop_assert!(behind <= if drawn { ALIKE } else { 0 }, "{one} before {later}");
                }
            }
        }
    }
}
