//! A rule of the method's own goes before one for all, and only what was agreed changes a fee.

use jiff::civil::date;
use payplane_api::config::QuotaConfig;
use proptest::prelude::*;

use super::*;

fn cny() -> Currency {
    Currency::parse("CNY").unwrap()
}

fn of(method: Option<&str>, basis_points: i64) -> TermsFee {
    let rule = FeeRule { basis_points, fixed_minor: 0, max_minor: None };
    TermsFee { method: method.map(str::to_owned), currency: cny(), rule }
}

fn agreed(fees: Vec<TermsFee>, limits: Vec<TermsLimit>) -> InForce {
    InForce { version: 3, terms: Terms { fees, limits } }
}

fn decided(fee_minor: i64) -> Decision {
    Decision {
        channel: "sim".to_owned(),
        fee_minor,
        config_hash: "h".to_owned(),
        config_epoch: 1,
        explanation: json!({"candidates": []}),
    }
}

#[test]
fn a_fee_is_the_methods_own_then_the_one_for_all_then_the_channels() {
    let amount = Money::new(10_000, cny()).unwrap();
    let both = agreed(vec![of(None, 30), of(Some("card"), 10)], vec![]);
    let card = both.govern(decided(60), ("card", amount));
    assert_eq!((card.fee_minor, &card.explanation["feeByTerms"]), (10, &json!(3)));
    assert_eq!(both.govern(decided(60), ("qr", amount)).fee_minor, 30);
    let card_alone = agreed(vec![of(Some("card"), 10)], vec![]);
    assert_eq!(card_alone.govern(decided(60), ("qr", amount)), decided(60));
    let dollars = Money::new(10_000, Currency::parse("USD").unwrap()).unwrap();
    assert_eq!(both.govern(decided(60), ("card", dollars)), decided(60));
}

#[test]
fn limits_are_the_merchants_over_all_channels() {
    let quota = |payments_max| Some(QuotaConfig { amount_minor_max: None, payments_max: Some(payments_max) });
    let quotas = AllowanceConfig { per_day: quota(5), per_month: quota(50) };
    let terms =
        agreed(vec![], vec![TermsLimit { currency: cny(), per_payment_minor_max: Some(100), quotas }]);
    let of = |channel, method| {
        let asked = Asked { channel, method, merchant: "M1", payer: None, date: date(2026, 11, 30) };
        terms.limits(cny(), &asked)
    };
    assert_eq!(of("a", "card"), of("b", "qr"));
    let counters: Vec<_> = of("a", "card").into_iter().map(|limit| limit.counter).collect();
    assert_eq!(counters, ["terms.perDay/2026-11-30/CNY/M1", "terms.perMonth/2026-11-01/CNY/M1"]);
    let exceeded = |minor| terms.exceeded("a", Money::new(minor, cny()).unwrap());
    assert_eq!(exceeded(100), None);
    assert_eq!(exceeded(101).unwrap().limit, "terms.perPaymentMinorMax");
}

proptest! {
    /// As for a Channel's rule: never below nothing, never above the most or the amount.
    #[test]
    fn a_fee_stays_in_its_bounds(basis_points in 0..=10_000_i64, fixed_minor in 0..1_000_i64,
        max_minor in proptest::option::of(0..1_000_i64), minor in 1..1_000_000_000_i64)
    {
        let rule = FeeRule { basis_points, fixed_minor, max_minor };
        let terms = agreed(vec![TermsFee { method: None, currency: cny(), rule }], vec![]);
        let governed = terms.govern(decided(-1), ("card", Money::new(minor, cny()).unwrap()));
        prop_assert!(governed.fee_minor >= 0 && max_minor.is_none_or(|max| governed.fee_minor <= max));
        prop_assert!(governed.fee_minor <= minor);
    }
}
