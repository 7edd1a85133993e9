//! Whatever comes in whatever order: no limit is exceeded, and little is left.

use jiff::civil::date;
use payplane_api::currency::Currency;
use proptest::prelude::*;

use super::*;

fn quota(amount_minor_max: Option<i64>, payments_max: Option<i64>) -> QuotaConfig {
    QuotaConfig { amount_minor_max, payments_max }
}

fn rules(
    per_channel: AllowanceConfig,
    per_merchant: AllowanceConfig,
    per_payer: AllowanceConfig,
) -> LimitConfig {
    let currency = Currency::parse("CNY").unwrap();
    LimitConfig { currency, per_payment_minor_max: i64::MAX, per_channel, per_merchant, per_payer }
}

fn both(day: QuotaConfig, month: QuotaConfig) -> AllowanceConfig {
    AllowanceConfig { per_day: Some(day), per_month: Some(month) }
}

fn asked<'a>(merchant: &'a str, payer: Option<&'a str>) -> Asked<'a> {
    Asked { channel: "sim", method: "card", merchant, payer, date: date(2028, 2, 10) }
}

#[test]
fn each_limit_has_a_counter_of_its_own_day_or_month() {
    let all = both(quota(Some(1), None), quota(None, Some(1)));
    let limits = of(&rules(all, all, all), &asked("M1", Some("wx-openid-7")));
    let names: Vec<_> = limits.iter().map(|limit| limit.name).collect();
    assert_eq!(
        names,
        [
            "perChannel.perDay",
            "perChannel.perMonth",
            "perMerchant.perDay",
            "perMerchant.perMonth",
            "perPayer.perDay",
            "perPayer.perMonth"
        ]
    );
    assert_eq!(limits[0].counter, "perChannel.perDay/2028-02-10/sim/card/CNY");
    assert_eq!(limits[0].last_day, date(2028, 2, 10));
    assert_eq!(limits[3].counter, "perMerchant.perMonth/2028-02-01/sim/card/CNY/M1");
    assert_eq!(limits[3].last_day, date(2028, 2, 29));
    assert!(limits[4].counter.starts_with("perPayer.perDay/2028-02-10/sim/card/CNY/"));
    assert!(limits.iter().all(|limit| !limit.counter.contains("openid") && limit.counter.len() <= 256));
    // The longest names there are.
    let (channel, name) = ("c".repeat(63), "m".repeat(32));
    let longest = Asked { channel: &channel, method: &name, merchant: &name, ..asked("", Some("p")) };
    assert!(of(&rules(all, all, all), &longest).iter().all(|limit| limit.counter.len() <= 256));

    let nobody = of(&rules(all, all, all), &asked("M1", None));
    assert_eq!(nobody.len(), 4, "no payer was named");
    let none = AllowanceConfig::default();
    assert_eq!(of(&rules(none, none, none), &asked("M1", Some("p"))), []);
}

#[test]
fn what_is_reached_is_named_and_takes_nothing_elsewhere() {
    let day = both(quota(Some(100), None), quota(None, Some(2)));
    let none = AllowanceConfig::default();
    let (m1, m2) = (
        of(&rules(day, day, none), &asked("M1", None)),
        of(&rules(none, both(quota(Some(10), Some(9)), quota(None, None)), none), &asked("M2", None)),
    );
    let mut used = HashMap::new();
    assert_eq!(take(&mut used, &m1, ("sim", 60)), Ok(()));
    let before = used.clone();
    let reached = take(&mut used, &m1, ("sim", 41)).unwrap_err();
    assert_eq!(
        reached,
        Reached {
            channel: "sim".into(),
            limit: "perChannel.perDay.amountMinorMax".into(),
            max: 100,
            used: 60
        }
    );
    assert_eq!(used, before);
    assert_eq!(take(&mut used, &m1, ("sim", 40)), Ok(()), "to the last cent");
    let reached = take(&mut used, &m1, ("sim", 0)).unwrap_err();
    assert_eq!((reached.limit.as_str(), reached.used), ("perChannel.perMonth.paymentsMax", 2));
    assert!(take(&mut used, &m2, ("sim", 11)).is_err());
    assert_eq!(take(&mut used, &m2, ("sim", 10)), Ok(()));
}

#[test]
fn a_sum_that_no_number_holds_is_above_every_limit() {
    let none = AllowanceConfig::default();
    let limits = of(&rules(both(quota(None, Some(9)), quota(None, None)), none, none), &asked("M1", None));
    let mut used = HashMap::from([(limits[0].counter.clone(), Used { amount_minor: i64::MAX, payments: 1 })]);
    assert!(take(&mut used, &limits, ("sim", 1)).is_err());
}

proptest! {
    #[test]
    fn no_limit_is_exceeded_and_nothing_that_fits_is_refused(
        asks in prop::collection::vec((1i64..50, 0usize..3, prop::option::of(0usize..4)), 1..200),
        maxes in prop::collection::vec((prop::option::of(0i64..900), prop::option::of(0i64..60)), 6),
    ) {
        let max = |n: usize| quota(maxes[n].0, maxes[n].1);
        let rules = rules(both(max(0), max(1)), both(max(2), max(3)), both(max(4), max(5)));
        let (merchants, payers) = (["M1", "M2", "M3"], ["a", "b", "c", "d"]);
        let (mut used, mut counted) = (HashMap::new(), HashMap::<String, Used>::new());
        for (amount, merchant, payer) in asks {
            let limits = of(&rules, &asked(merchants[merchant], payer.map(|p| payers[p])));
            // Counted by another hand.
            let fits = limits.iter().all(|limit| {
                let now = counted.get(&limit.counter).copied().unwrap_or_default();
                limit.quota.amount_minor_max.is_none_or(|max| now.amount_minor + amount <= max)
                    && limit.quota.payments_max.is_none_or(|max| now.payments < max)
            });
            prop_assert_eq!(take(&mut used, &limits, ("sim", amount)).is_ok(), fits);
            for limit in limits.iter().filter(|_| fits) {
                let now = counted.entry(limit.counter.clone()).or_default();
                (now.amount_minor, now.payments) = (now.amount_minor + amount, now.payments + 1);
            }
            prop_assert_eq!(&used, &counted);
        }
    }
}
