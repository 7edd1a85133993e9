//! Risk: what the tenant's policies have to know of a payment before anything leaves. What
//! the order alone answers is answered here; what takes lists or history is asked in the
//! transaction that begins the attempt (`store/assess.rs`), which decides and counts.

pub mod question;
pub mod window;

use jiff::civil::{Date, DateTime};
use jiff::{Timestamp, ToSpan};
use payplane_api::config::{
    ListRule, NewMerchantRule, RiskPolicyConfig, RiskRule, RiskSubject, SplitOrderRule, TimeOfDayRule,
    VelocityRule,
};
use payplane_api::currency::Currency;
use payplane_api::money::Money;
use serde_json::{Value, json};

use self::question::{Count, Lookup, Question, Version};
use self::window::{Most, Span};
use crate::data_key::DataKeys;
use crate::limits::Used;

const POLICIES_MAX: usize = 32;
const WINDOW_SECONDS: std::ops::RangeInclusive<i64> = 60..=604_800;
const DAYS: std::ops::RangeInclusive<i64> = 1..=365;
const DAY_SECONDS: i64 = 86_400;
const DAY_MINUTES: i64 = 1_440;

/// A payment, as far as policies are about it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub merchant: &'a str,
    pub method: &'a str,
    pub amount: Money,
    pub payer: Option<&'a str>,
    pub device: Option<&'a str>,
    pub terminal: Option<&'a str>,
    /// When its order was created, and what it was in the tenant's time zone then.
    pub at: Timestamp,
    pub local: DateTime,
}

impl<'a> Asked<'a> {
    fn subject(&self, of: RiskSubject) -> Option<&'a str> {
        match of {
            RiskSubject::Payer => self.payer,
            RiskSubject::Merchant => Some(self.merchant),
            RiskSubject::Device => self.device,
            RiskSubject::Terminal => self.terminal,
        }
    }

    fn amount_in(&self, currency: Currency) -> Option<i64> {
        (self.amount.currency() == currency).then_some(self.amount.minor())
    }
}

/// Says why policies cannot be used. The operator renders none such.
pub fn check(policies: &[RiskPolicyConfig]) -> Result<(), String> {
    if policies.len() > POLICIES_MAX {
        return Err(format!("more than {POLICIES_MAX} risk policies"));
    }
    for (place, policy) in policies.iter().enumerate() {
        if policies.iter().take(place).any(|known| known.name == policy.name) {
            return Err(format!("risk policy {} is there twice", policy.name));
        }
        let in_range = match &policy.rule {
            RiskRule::Velocity(rule) => WINDOW_SECONDS.contains(&rule.window_seconds),
            RiskRule::SplitOrder(rule) => WINDOW_SECONDS.contains(&rule.window_seconds),
            RiskRule::TimeOfDay(rule) => {
                [rule.from_minute, rule.to_minute].iter().all(|minute| (0..DAY_MINUTES).contains(minute))
            }
            RiskRule::NewMerchant(rule) => DAYS.contains(&rule.days),
            RiskRule::Amount(_) | RiskRule::List(_) => true,
        };
        if !in_range {
            return Err(format!("risk policy {}: a time is out of range", policy.name));
        }
    }
    Ok(())
}

/// What the policies have to know of a payment; none where it is nobody's business.
#[must_use]
pub fn ask(
    policies: &[RiskPolicyConfig],
    asked: &Asked<'_>,
    version: Version,
    keys: &DataKeys,
) -> Option<Question> {
    let mut question = Question::new(version, asked.merchant, asked.at);
    for policy in policies {
        let matched = match &policy.rule {
            RiskRule::Amount(rule) => asked.amount_in(rule.currency).and_then(|minor| {
                let is_meant = rule.method.as_deref().is_none_or(|method| method == asked.method);
                let fits = rule.amount_minor_min.is_none_or(|min| minor >= min)
                    && rule.amount_minor_max.is_none_or(|max| minor <= max);
                (is_meant && !fits).then(|| {
                    json!({"amountMinor": minor,
                    "amountMinorMin": rule.amount_minor_min, "amountMinorMax": rule.amount_minor_max})
                })
            }),
            RiskRule::TimeOfDay(rule) => time_of_day(rule, asked),
            RiskRule::List(rule) => {
                question.lookups.extend(lookups(rule, policy, asked, keys));
                None
            }
            RiskRule::Velocity(rule) => {
                question.counts.extend(velocity(rule, policy, asked, keys));
                None
            }
            RiskRule::NewMerchant(rule) => {
                question.counts.extend(new_merchant(rule, policy, asked, keys));
                None
            }
            RiskRule::SplitOrder(rule) => {
                question.counts.extend(split_order(rule, policy, asked, keys));
                None
            }
        };
        question.matched(policy, matched);
    }
    (!question.is_empty()).then_some(question)
}

fn time_of_day(rule: &TimeOfDayRule, asked: &Asked<'_>) -> Option<Value> {
    let time = asked.local.time();
    let minute = i64::from(time.hour()).saturating_mul(60).saturating_add(i64::from(time.minute()));
    let is_then = if rule.from_minute <= rule.to_minute {
        (rule.from_minute..rule.to_minute).contains(&minute)
    } else {
        minute >= rule.from_minute || minute < rule.to_minute
    };
    let minor = asked.amount_in(rule.currency).filter(|minor| is_then && *minor > rule.amount_minor_max)?;
    let time = time.strftime("%H:%M").to_string();
    Some(json!({"time": time, "amountMinor": minor, "amountMinorMax": rule.amount_minor_max}))
}

/// Who may stand in a list.
pub const LISTED: [RiskSubject; 4] =
    [RiskSubject::Payer, RiskSubject::Device, RiskSubject::Merchant, RiskSubject::Terminal];

/// Everybody whom the payment names may stand in the list.
fn lookups(rule: &ListRule, policy: &RiskPolicyConfig, asked: &Asked<'_>, keys: &DataKeys) -> Vec<Lookup> {
    let named = LISTED.into_iter().filter_map(|kind| Some((kind, asked.subject(kind)?)));
    let of = |(kind, value): (RiskSubject, &str)| Lookup {
        policy: policy.into(),
        list: rule.list.clone(),
        kind,
        hashes: listed_as(keys, kind, value),
    };
    named.map(of).collect()
}

/// What an entry of a list is known by in the database.
#[must_use]
pub fn listed_as(keys: &DataKeys, kind: RiskSubject, value: &str) -> Vec<[u8; 32]> {
    keys.subject(&["list", kind.as_str(), value])
}

/// Counts by the key for what is new alone: under another one a window begins anew.
fn key(keys: &DataKeys, parts: &[&str]) -> [u8; 32] {
    keys.subject(parts).first().copied().unwrap_or_default()
}

/// Of no use after that: a day more, as a window does not end with a day.
fn last_day(asked: &Asked<'_>, seconds: i64) -> Date {
    let days = seconds.checked_div(DAY_SECONDS).unwrap_or(0).saturating_add(1);
    asked.local.date().saturating_add(days.days())
}

fn velocity(
    rule: &VelocityRule,
    policy: &RiskPolicyConfig,
    asked: &Asked<'_>,
    keys: &DataKeys,
) -> Vec<Count> {
    let Some(subject) = asked.subject(rule.per) else { return vec![] };
    let window = rule.window_seconds.to_string();
    let count = |what: &str, adds: i64, most: Most| Count {
        policy: policy.into(),
        key: key(keys, &["velocity", &policy.name, rule.per.as_str(), &window, what, subject]),
        span: Span::Rolling { seconds: rule.window_seconds },
        last_day: last_day(asked, rule.window_seconds),
        adds: Used { amount_minor: adds, payments: 1 },
        most,
        while_new_days: None,
    };
    let payments = rule.payments_max.map(|max| count("payments", 0, Most::Payments(max)));
    let amounts = rule.amounts.iter().filter_map(|most| {
        let minor = asked.amount_in(most.currency)?;
        Some(count(most.currency.as_str(), minor, Most::AmountMinor(most.amount_minor_max)))
    });
    payments.into_iter().chain(amounts).collect()
}

fn new_merchant(
    rule: &NewMerchantRule,
    policy: &RiskPolicyConfig,
    asked: &Asked<'_>,
    keys: &DataKeys,
) -> Vec<Count> {
    let day = asked.local.date();
    let count = |what: &str, adds: i64, most: Most| Count {
        policy: policy.into(),
        key: key(keys, &["new-merchant", &policy.name, &day.to_string(), what, asked.merchant]),
        span: Span::Whole,
        last_day: last_day(asked, 0),
        adds: Used { amount_minor: adds, payments: 1 },
        most,
        while_new_days: Some(rule.days),
    };
    let payments = rule.payments_per_day_max.map(|max| count("payments", 0, Most::Payments(max)));
    let amounts = rule.amounts_per_day.iter().filter_map(|most| {
        let minor = asked.amount_in(most.currency)?;
        Some(count(most.currency.as_str(), minor, Most::AmountMinor(most.amount_minor_max)))
    });
    payments.into_iter().chain(amounts).collect()
}

fn split_order(
    rule: &SplitOrderRule,
    policy: &RiskPolicyConfig,
    asked: &Asked<'_>,
    keys: &DataKeys,
) -> Option<Count> {
    let payer = asked.payer?;
    let minor = asked.amount_in(rule.currency).filter(|minor| *minor <= rule.amount_minor_max)?;
    let (window, currency) = (rule.window_seconds.to_string(), rule.currency.as_str());
    Some(Count {
        policy: policy.into(),
        key: key(keys, &["split-order", &policy.name, &window, currency, asked.merchant, payer]),
        span: Span::Rolling { seconds: rule.window_seconds },
        last_day: last_day(asked, rule.window_seconds),
        adds: Used { amount_minor: minor, payments: 1 },
        most: Most::Parts { payments_min: rule.payments_min, amount_minor_max: rule.amount_minor_max },
        while_new_days: None,
    })
}

#[cfg(test)]
mod trials;
