//! Whatever comes in whatever order: no policy lets more through than it says, and none
//! blocks what it does not say.

use jiff::civil::date;
use payplane_api::config::{AmountRule, OnError, RiskAction, RiskAmount, RiskMode};
use proptest::prelude::*;

use super::question::{Known, Verdict, verdict};
use super::window::Slices;
use super::*;

mod proofs;

fn blocks(hits: &[super::question::Hit]) -> bool {
    verdict(hits) == Verdict::Block
}

fn keys() -> DataKeys {
    DataKeys::parse("AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap()
}

fn cny() -> Currency {
    Currency::parse("CNY").unwrap()
}

fn asked(minor: i64, payer: Option<&'static str>) -> Asked<'static> {
    let local = date(2026, 11, 30).at(12, 0, 0, 0);
    Asked {
        merchant: "M1",
        method: "card",
        amount: Money::new(minor, cny()).unwrap(),
        payer,
        device: None,
        terminal: None,
        at: local.in_tz("UTC").unwrap().timestamp(),
        local,
    }
}

fn policy(name: &str, mode: RiskMode, rule: RiskRule) -> RiskPolicyConfig {
    RiskPolicyConfig { name: name.to_owned(), action: RiskAction::Block, mode, on_error: None, rule }
}

fn question(policies: &[RiskPolicyConfig], asked: &Asked<'_>) -> Option<Question> {
    ask(policies, asked, Version { epoch: 1, hash: "hash".to_owned() }, &keys())
}

fn velocity(window_seconds: i64, payments_max: Option<i64>, minor_max: Option<i64>) -> RiskPolicyConfig {
    let amounts = minor_max.map(|amount_minor_max| RiskAmount { currency: cny(), amount_minor_max });
    let per = RiskSubject::Payer;
    let rule = VelocityRule { per, window_seconds, payments_max, amounts: Vec::from_iter(amounts) };
    policy("velocity", RiskMode::Enforce, RiskRule::Velocity(rule))
}

fn split(window_seconds: i64, payments_min: i64, amount_minor_max: i64) -> RiskPolicyConfig {
    let rule = SplitOrderRule { window_seconds, payments_min, currency: cny(), amount_minor_max };
    policy("split", RiskMode::Enforce, RiskRule::SplitOrder(rule))
}

/// What was let through: when, whose and how much.
type Passed = Vec<(i64, Option<&'static str>, i64)>;

/// One payment after the other, each at its time; which no policy matched, and which one did.
fn run(policies: &[RiskPolicyConfig], asks: &[(i64, Option<&'static str>, i64)]) -> (Passed, Passed) {
    let (mut known, mut passed, mut blocked) = (Known::default(), vec![], vec![]);
    for (at, payer, minor) in asks.iter().copied() {
        known.now_seconds = at;
        let Some(question) = question(policies, &asked(minor, payer)) else {
            passed.push((at, payer, minor));
            continue;
        };
        let hits = question.verdicts(&known);
        if hits.is_empty() {
            passed.push((at, payer, minor));
        } else {
            blocked.push((at, payer, minor));
        }
        if !blocks(&hits) {
            question.count(&mut known, &hits);
        }
        // As the database keeps it.
        for slices in known.windows.values_mut() {
            assert!(slices.stored().as_array().unwrap().len() <= 32);
            *slices = Slices::read(slices.stored()).unwrap();
        }
    }
    (passed, blocked)
}

/// How many of a payer passed after one moment and up to another, and how much.
fn seen(passed: &Passed, payer: &str, after: i64, until: i64) -> (i64, i64) {
    let of = passed.iter().filter(|(at, who, _)| *who == Some(payer) && *at > after && *at <= until);
    of.fold((0, 0), |(ones, minor), (_, _, more)| (ones + 1, minor + more))
}

fn asks() -> impl Strategy<Value = Vec<(i64, Option<&'static str>, i64)>> {
    let payer = prop_oneof![Just(None), Just(Some("a")), Just(Some("b"))];
    prop::collection::vec((0i64..40, payer, 1i64..60), 1..120).prop_map(|all| {
        let mut now = 1_796_000_000;
        let later = |(wait, payer, minor)| {
            now += wait;
            (now, payer, minor)
        };
        all.into_iter().map(later).collect()
    })
}

proptest! {
    /// Shadow says what would be, were it enforced.
    #[test]
    fn a_policy_in_shadow_matches_what_it_would_block(
        asks in proptest::collection::vec((0_i64..400, 1_i64..50), 0..60),
        (window, most, minor) in (60_i64..200, 1_i64..6, 20_i64..200),
    ) {
        let mut asks: Vec<_> = asks.into_iter().map(|(at, minor)| (at, Some("a"), minor)).collect();
        asks.sort();
        let mut policies = [velocity(window, Some(most), Some(minor))];
        let enforced = run(&policies, &asks);
        policies[0].mode = RiskMode::Shadow;
        prop_assert_eq!(run(&policies, &asks), enforced);
    }

    #[test]
    fn no_velocity_is_exceeded_and_no_more_than_a_twelfth_longer_is_counted(
        asks in asks(), window in 60i64..400, ones in prop::option::of(0i64..9), sum in prop::option::of(0i64..300),
    ) {
        let (passed, blocked) = run(&[velocity(window, ones, sum)], &asks);
        for (at, payer, _) in &passed {
            let Some(payer) = payer else { continue };
            let (count, minor) = seen(&passed, payer, at - window, *at);
            prop_assert!(ones.is_none_or(|max| count <= max) && sum.is_none_or(|max| minor <= max));
        }
        for (at, payer, more) in &blocked {
            let earlier: Passed = passed.iter().filter(|one| one.0 <= *at).copied().collect();
            let (count, minor) = seen(&earlier, payer.unwrap(), at - window - window / 12, *at);
            let exceeds = ones.is_some_and(|max| count + 1 > max) || sum.is_some_and(|max| minor + more > max);
            // Those of the same second that came later may be among the counted ones.
            prop_assert!(exceeds, "{at}: {count} and {minor}");
        }
    }

    #[test]
    fn no_amount_is_paid_in_parts(
        asks in asks(), window in 60i64..400, least in 2i64..6, most in 1i64..150,
    ) {
        let (passed, blocked) = run(&[split(window, least, most)], &asks);
        let parts: Passed = passed.iter().filter(|(_, _, minor)| *minor <= most).copied().collect();
        for (at, payer, _) in &parts {
            let Some(payer) = payer else { continue };
            let (count, minor) = seen(&parts, payer, at - window, *at);
            prop_assert!(count < least || minor <= most, "{count} and {minor}");
        }
        for (at, payer, more) in &blocked {
            let (count, minor) = seen(&parts, payer.unwrap(), at - window - window / 12, *at);
            prop_assert!(*more <= most && count + 1 >= least && minor + more > most);
        }
    }

    #[test]
    fn amounts_and_times_of_one_order_are_as_said(
        minor in 1i64..100, range in (prop::option::of(1i64..100), prop::option::of(1i64..100)),
        hours in (0i64..1_440, 0i64..1_440), now in 0i16..1_440, most in 0i64..100,
    ) {
        let rule = AmountRule { currency: cny(), method: None, amount_minor_min: range.0, amount_minor_max: range.1 };
        let amount = policy("amount", RiskMode::Enforce, RiskRule::Amount(rule));
        let outside = range.0.is_some_and(|min| minor < min) || range.1.is_some_and(|max| minor > max);
        prop_assert_eq!(question(&[amount], &asked(minor, None)).is_some(), outside);

        let rule = TimeOfDayRule { from_minute: hours.0, to_minute: hours.1, currency: cny(), amount_minor_max: most };
        let night = policy("night", RiskMode::Enforce, RiskRule::TimeOfDay(rule));
        let local = date(2026, 11, 30).at((now / 60).try_into().unwrap(), (now % 60).try_into().unwrap(), 0, 0);
        // Walks from one to the other.
        let minutes = (0..1_440).map(|ahead| (hours.0 + ahead) % 1_440).take_while(|minute| *minute != hours.1);
        let is_then = minutes.into_iter().any(|minute| minute == i64::from(now));
        let asked = Asked { local, ..asked(minor, None) };
        prop_assert_eq!(question(&[night], &asked).is_some(), is_then && minor > most);
    }
}

#[test]
fn what_is_nobodys_business_asks_nothing() {
    let usd = Currency::parse("USD").unwrap();
    let rule = AmountRule { currency: usd, method: None, amount_minor_min: None, amount_minor_max: Some(0) };
    let foreign = policy("foreign", RiskMode::Enforce, RiskRule::Amount(rule));
    assert!(question(&[], &asked(1, Some("a"))).is_none());
    assert!(question(&[foreign, velocity(60, Some(0), None), split(60, 2, 9)], &asked(1, None)).is_none());
}

#[test]
fn a_new_merchant_is_held_to_its_day_and_an_old_one_to_nothing() {
    let rule = NewMerchantRule { days: 3, payments_per_day_max: Some(1), amounts_per_day: vec![] };
    let policies = [policy("new", RiskMode::Enforce, RiskRule::NewMerchant(rule))];
    let today = asked(5, None);
    let question = |asked: &Asked<'_>| question(&policies, asked).unwrap();
    let mut known = Known::default();
    let since = |hours: i64| today.at - jiff::SignedDuration::from_hours(hours);
    known.approved.insert("M1".to_owned(), since(71));
    question(&today).count(&mut known, &[]);
    assert!(blocks(&question(&today).verdicts(&known)));
    let tomorrow = Asked { local: today.local + 1.day(), ..today };
    assert!(!blocks(&question(&tomorrow).verdicts(&known)));
    known.approved.insert("M1".to_owned(), since(72));
    assert_eq!((question(&today).verdicts(&known), question(&today).windows(&known).count()), (vec![], 0));
    known.approved.clear();
    assert!(blocks(&question(&today).verdicts(&known)), "of how long nobody knows, is new");
}

#[test]
fn each_policy_speaks_once_and_only_those_in_force_block() {
    let mut policies = [velocity(60, Some(0), Some(0))];
    let asked = asked(1, Some("a"));
    let hits = question(&policies, &asked).unwrap().verdicts(&Known::default());
    assert_eq!((hits.len(), blocks(&hits)), (1, true));
    policies[0].mode = RiskMode::Shadow;
    let hits = question(&policies, &asked).unwrap().verdicts(&Known::default());
    assert_eq!((hits.len(), blocks(&hits)), (1, false));
}

#[test]
fn who_is_listed_is_known_by_kind_and_list() {
    let policies =
        [policy("listed", RiskMode::Enforce, RiskRule::List(ListRule { list: "fraud".to_owned() }))];
    let asked = Asked { device: Some("a"), ..asked(1, Some("b")) };
    let question = question(&policies, &asked).unwrap();
    let listed = |list: &str, kind: RiskSubject, value: &str| {
        let mut known = Known::default();
        let hash = listed_as(&keys(), kind, value)[0];
        known.listed.insert((list.to_owned(), kind.as_str().to_owned(), hash));
        blocks(&question.verdicts(&known))
    };
    use RiskSubject::{Device, Merchant, Payer, Terminal};
    for (kind, value) in [(Device, "a"), (Payer, "b"), (Merchant, "M1")] {
        assert!(listed("fraud", kind, value), "{kind:?}");
    }
    for (list, kind, value) in [("other", Payer, "b"), ("fraud", Payer, "a"), ("fraud", Terminal, "b")] {
        assert!(!listed(list, kind, value), "{list} {kind:?} {value}");
    }
}

#[test]
fn policies_that_cannot_be_meant_are_refused() {
    assert_eq!(check(&[velocity(60, Some(1), None), split(604_800, 2, 1)]), Ok(()));
    let said = |policies: &[RiskPolicyConfig]| check(policies).unwrap_err();
    assert!(said(&[velocity(59, Some(1), None)]).contains("velocity"));
    assert!(said(&[split(604_801, 2, 1)]).contains("split"));
    assert!(said(&[split(60, 2, 1), split(60, 2, 1)]).contains("twice"));
    let many: Vec<_> = (0..33).map(|n| RiskPolicyConfig { name: n.to_string(), ..split(60, 2, 1) }).collect();
    assert!(said(&many).contains("32"));
}
