//! Policies that want the payer's proof, beside those that block.

use super::super::question::Hit;
use super::*;

fn amount(name: &str, max: i64, action: RiskAction) -> RiskPolicyConfig {
    let rule =
        AmountRule { currency: cny(), method: None, amount_minor_min: None, amount_minor_max: Some(max) };
    RiskPolicyConfig { action, ..policy(name, RiskMode::Enforce, RiskRule::Amount(rule)) }
}

fn says(policies: &[RiskPolicyConfig]) -> Verdict {
    let hits = question(policies, &asked(5, Some("a"))).map(|asked| asked.verdicts(&Known::default()));
    verdict(&hits.unwrap_or_default())
}

#[test]
fn a_block_is_stricter_than_any_proof_and_a_shadow_says_nothing() {
    let (block, proof) = (amount("block", 1, RiskAction::Block), amount("proof", 1, RiskAction::StepUp));
    let on_error = |policy: &RiskPolicyConfig, to| RiskPolicyConfig { on_error: Some(to), ..policy.clone() };
    let named = |policy: RiskPolicyConfig, name: &str| RiskPolicyConfig { name: name.to_owned(), ..policy };
    assert_eq!(says(std::slice::from_ref(&proof)), Verdict::StepUp(OnError::Block), "left out, it is Block");
    assert_eq!(says(&[proof.clone(), block.clone()]), Verdict::Block);
    let (mild, held) = (on_error(&proof, OnError::Allow), on_error(&proof, OnError::Hold));
    assert_eq!(says(std::slice::from_ref(&mild)), Verdict::StepUp(OnError::Allow));
    assert_eq!(says(&[mild.clone(), named(held, "held")]), Verdict::StepUp(OnError::Hold));
    assert_eq!(says(&[mild, named(proof.clone(), "strict")]), Verdict::StepUp(OnError::Block));
    let shadow = RiskPolicyConfig { mode: RiskMode::Shadow, ..proof };
    assert_eq!(says(std::slice::from_ref(&shadow)), Verdict::Pass);
    assert!(!question(&[shadow], &asked(5, None)).unwrap().may_step_up(), "a shadow asks nobody");
    assert_eq!(says(&[amount("far", 5, RiskAction::StepUp)]), Verdict::Pass);
}

#[test]
fn a_payment_that_its_payer_has_proven_is_counted() {
    let often = RiskPolicyConfig { action: RiskAction::StepUp, ..velocity(3_600, Some(1), None) };
    let question = question(&[often], &asked(1, Some("a"))).unwrap();
    assert!(question.may_step_up());
    let mut known = Known { now_seconds: 1_800_000_000, ..Known::default() };
    let hits: Vec<Vec<Hit>> = (0..3)
        .map(|_| {
            let hits = question.verdicts(&known);
            question.count(&mut known, &hits);
            hits
        })
        .collect();
    let before = |hits: &Vec<Hit>| hits.first().map(|hit| hit.facts["paymentsBefore"].clone());
    assert_eq!(hits.iter().map(before).collect::<Vec<_>>(), [None, Some(json!(1)), Some(json!(2))]);
}

proptest! {
    /// Whatever else there is: what acts and blocks blocks; without such, whatever acts asks.
    #[test]
    fn the_strictest_decides(
        policies in prop::collection::vec((any::<bool>(), any::<bool>(), 0_usize..3), 0..8),
    ) {
        let all: Vec<_> = policies.iter().enumerate().map(|(n, (acts, blocks, on_error))| RiskPolicyConfig {
            mode: if *acts { RiskMode::Enforce } else { RiskMode::Shadow },
            on_error: Some([OnError::Allow, OnError::Hold, OnError::Block][*on_error]),
            ..amount(&format!("p{n}"), 1, if *blocks { RiskAction::Block } else { RiskAction::StepUp })
        }).collect();
        let asks = policies.iter().filter(|(acts, blocks, _)| *acts && !blocks).map(|(_, _, on_error)| *on_error);
        let expected = match (policies.iter().any(|(acts, blocks, _)| *acts && *blocks), asks.max()) {
            (true, _) => Verdict::Block,
            (false, None) => Verdict::Pass,
            (false, Some(most)) => Verdict::StepUp([OnError::Allow, OnError::Hold, OnError::Block][most]),
        };
        prop_assert_eq!(says(&all), expected);
    }
}
