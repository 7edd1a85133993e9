//! Risk policies as the gateway's config has them.

use payplane_api::config::{
    AmountRule, ListRule, NewMerchantRule, OnError, RiskAction, RiskAmount, RiskMode, RiskPolicyConfig,
    RiskRule, RiskSubject, SplitOrderRule, StepUpConfig, TimeOfDayRule, VelocityRule,
};
use payplane_api::currency::Currency;
use payplane_crds::tenant::{self as raw, RiskPolicy};

/// The currencies that a policy is about.
#[must_use]
pub fn currencies(policy: &RiskPolicy) -> Vec<&str> {
    let sums = policy.velocity.iter().flat_map(|velocity| &velocity.amounts);
    let sums = sums.chain(policy.new_merchant.iter().flat_map(|merchant| &merchant.amounts_per_day));
    let single = policy.amount.iter().map(|amount| amount.currency.as_str());
    let single = single.chain(policy.time_of_day.iter().map(|time| time.currency.as_str()));
    let single = single.chain(policy.split_order.iter().map(|split| split.currency.as_str()));
    single.chain(sums.map(|sum| sum.currency.as_str())).collect()
}

/// None where the policy says too little, which the API server does not let in.
#[must_use]
pub fn policy_config(policy: &RiskPolicy) -> Option<RiskPolicyConfig> {
    Some(RiskPolicyConfig {
        name: policy.name.clone(),
        action: match policy.action {
            raw::RiskAction::Block => RiskAction::Block,
            raw::RiskAction::StepUp => RiskAction::StepUp,
        },
        mode: match policy.mode {
            raw::RiskMode::Enforce => RiskMode::Enforce,
            raw::RiskMode::Shadow => RiskMode::Shadow,
        },
        on_error: policy.on_error.map(|on_error| match on_error {
            raw::RiskOnError::Allow => OnError::Allow,
            raw::RiskOnError::Block => OnError::Block,
            raw::RiskOnError::Hold => OnError::Hold,
        }),
        rule: rule(policy)?,
    })
}

/// Who sends one-time codes, if any.
#[must_use]
pub fn step_up_config(risk: Option<&raw::Risk>) -> Option<StepUpConfig> {
    let given = risk?.step_up.as_ref()?;
    Some(StepUpConfig { url: given.url.clone(), ca_pem: given.ca_pem.clone() })
}

fn rule(policy: &RiskPolicy) -> Option<RiskRule> {
    let single = |currency: &str| Currency::parse(currency).ok();
    Some(match policy.policy_type {
        raw::RiskPolicyType::Velocity => {
            let velocity = policy.velocity.as_ref()?;
            RiskRule::Velocity(VelocityRule {
                per: match velocity.per {
                    raw::RiskSubject::Payer => RiskSubject::Payer,
                    raw::RiskSubject::Merchant => RiskSubject::Merchant,
                    raw::RiskSubject::Device => RiskSubject::Device,
                    raw::RiskSubject::Terminal => RiskSubject::Terminal,
                },
                window_seconds: velocity.window_seconds,
                payments_max: velocity.payments_max,
                amounts: amounts(&velocity.amounts)?,
            })
        }
        raw::RiskPolicyType::Amount => {
            let amount = policy.amount.as_ref()?;
            RiskRule::Amount(AmountRule {
                currency: single(&amount.currency)?,
                method: amount.method.clone(),
                amount_minor_min: amount.amount_minor_min,
                amount_minor_max: amount.amount_minor_max,
            })
        }
        raw::RiskPolicyType::TimeOfDay => {
            let time = policy.time_of_day.as_ref()?;
            RiskRule::TimeOfDay(TimeOfDayRule {
                from_minute: minute(&time.from)?,
                to_minute: minute(&time.to)?,
                currency: single(&time.currency)?,
                amount_minor_max: time.amount_minor_max,
            })
        }
        raw::RiskPolicyType::List => RiskRule::List(ListRule { list: policy.list.as_ref()?.name.clone() }),
        raw::RiskPolicyType::NewMerchant => {
            let merchant = policy.new_merchant.as_ref()?;
            RiskRule::NewMerchant(NewMerchantRule {
                days: merchant.days,
                payments_per_day_max: merchant.payments_per_day_max,
                amounts_per_day: amounts(&merchant.amounts_per_day)?,
            })
        }
        raw::RiskPolicyType::SplitOrder => {
            let split = policy.split_order.as_ref()?;
            RiskRule::SplitOrder(SplitOrderRule {
                window_seconds: split.window_seconds,
                payments_min: split.payments_min,
                currency: single(&split.currency)?,
                amount_minor_max: split.amount_minor_max,
            })
        }
    })
}

fn amounts(given: &[raw::RiskAmount]) -> Option<Vec<RiskAmount>> {
    let one = |given: &raw::RiskAmount| {
        let currency = Currency::parse(&given.currency).ok()?;
        Some(RiskAmount { currency, amount_minor_max: given.amount_minor_max })
    };
    given.iter().map(one).collect()
}

/// Minutes after midnight of `HH:MM`.
fn minute(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    hours.parse::<i64>().ok()?.checked_mul(60)?.checked_add(minutes.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use payplane_crds::tenant::Risk;
    use serde_json::json;

    use super::*;

    #[test]
    fn the_gateway_reads_what_the_tenant_says() {
        let risk: Risk = serde_json::from_value(json!({"policies": [
            {"name": "often", "type": "Velocity", "velocity": {"per": "Device", "windowSeconds": 60,
                "paymentsMax": 3, "amounts": [{"currency": "CNY", "amountMinorMax": 5}]}},
            {"name": "much", "type": "Amount", "mode": "Shadow", "amount": {"currency": "USD", "amountMinorMin": 1}},
            {"name": "night", "type": "TimeOfDay", "timeOfDay":
                {"from": "22:30", "to": "06:05", "currency": "CNY", "amountMinorMax": 7}},
            {"name": "listed", "type": "List", "action": "StepUp", "onError": "Hold", "list": {"name": "fraud"}},
            {"name": "new", "type": "NewMerchant", "newMerchant": {"days": 30, "paymentsPerDayMax": 9,
                "amountsPerDay": [{"currency": "USD", "amountMinorMax": 8}]}},
            {"name": "parts", "type": "SplitOrder", "splitOrder":
                {"windowSeconds": 600, "paymentsMin": 2, "currency": "CNY", "amountMinorMax": 6}},
        ]}))
        .unwrap();
        let read: Vec<_> = risk.policies.iter().map(|policy| policy_config(policy).unwrap()).collect();
        let expected = json!([
            {"name": "often", "action": "Block", "mode": "Enforce", "type": "Velocity", "per": "Device",
                "windowSeconds": 60, "paymentsMax": 3, "amounts": [{"currency": "CNY", "amountMinorMax": 5}]},
            {"name": "much", "action": "Block", "mode": "Shadow", "type": "Amount", "currency": "USD",
                "amountMinorMin": 1},
            {"name": "night", "action": "Block", "mode": "Enforce", "type": "TimeOfDay", "fromMinute": 1350,
                "toMinute": 365, "currency": "CNY", "amountMinorMax": 7},
            {"name": "listed", "action": "StepUp", "mode": "Enforce", "onError": "Hold", "type": "List",
                "list": "fraud"},
            {"name": "new", "action": "Block", "mode": "Enforce", "type": "NewMerchant", "days": 30,
                "paymentsPerDayMax": 9, "amountsPerDay": [{"currency": "USD", "amountMinorMax": 8}]},
            {"name": "parts", "action": "Block", "mode": "Enforce", "type": "SplitOrder", "windowSeconds": 600,
                "paymentsMin": 2, "currency": "CNY", "amountMinorMax": 6},
        ]);
        assert_eq!(serde_json::to_value(&read).unwrap(), expected);
        let again: Vec<RiskPolicyConfig> = serde_json::from_value(expected).unwrap();
        assert_eq!(again, read);
        let named: Vec<_> = risk.policies.iter().map(currencies).collect();
        assert_eq!(named, [vec!["CNY"], vec!["USD"], vec!["CNY"], vec![], vec!["USD"], vec!["CNY"]]);
    }
}
