//! Routing: which channels can take a payment, in which order, and why.

pub mod agreement;
pub mod payout;

use std::cmp::Reverse;
use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::civil::Date;
use payplane_api::config::Environment;
use payplane_api::money::{BASIS_POINTS, Money};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::breaker::Breakers;
use crate::limits::Reached;
use crate::rates::Rates;
use crate::settings::{ChannelSettings, Settings};

/// Scores this close to the best one are about as good.
const ALIKE: i64 = 100;

/// What an attempt is decided on. It is stored with the attempt, and booked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    pub channel: String,
    pub fee_minor: i64,
    pub config_hash: String,
    pub config_epoch: i64,
    /// Every candidate, and what spoke for or against it.
    pub explanation: Value,
}

/// A payment, as far as the choice is about it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub order_id: Uuid,
    pub merchant: &'a str,
    pub method: &'a str,
    pub amount: Money,
    /// The order's day in the tenant's calendar: its fee goes by the rules of that day.
    pub on: Date,
    /// The channel of the agreement by which it is made.
    pub agreed: Option<&'a str>,
    /// Does it fill a wallet? Nobody pays a fee for that.
    pub top_up: bool,
}

/// A channel that can take it.
struct Candidate<'a> {
    channel: &'a ChannelSettings,
    rests: bool,
    priority: u32,
    weight: Option<u32>,
    fee: Money,
    /// Since when the fee's rule has been in force, where it has a date.
    fee_since: Option<Date>,
    cost_minor: i64,
    success: i64,
    /// What is left of the amount on average, in basis points of it.
    score: i64,
}

/// The channels that can take a payment: those whose network answers; by priority, by score.
/// Weights share the payments among those that are about as good as the best.
#[must_use]
pub fn choose(
    settings: &Settings,
    (breakers, rates): (&Breakers, &Rates),
    asked: &Asked<'_>,
) -> Vec<Decision> {
    let mut fit = Vec::new();
    let mut explained = Vec::new();
    for channel in &settings.channels {
        match candidate(settings, channel, asked) {
            Ok(((priority, weight), (fee, fee_since), cost)) => {
                let success = rates.success_basis_points(&channel.name, Instant::now());
                let score = success.saturating_sub(share(cost, asked.amount));
                let (rests, cost_minor) = (breakers.rests(&channel.name), cost.minor());
                let found = Candidate {
                    channel,
                    rests,
                    priority,
                    weight,
                    fee,
                    fee_since,
                    cost_minor,
                    success,
                    score,
                };
                explained.push(found.explain());
                fit.push(found);
            }
            Err(why) => explained.push(json!({"channel": channel.name, "refused": why})),
        }
    }
    let fit = in_order(fit, seed(asked.order_id));
    let order: Vec<_> = fit.iter().map(|candidate| &candidate.channel.name).collect();
    let explanation = json!({ "candidates": explained, "order": order });
    let decided = fit.iter().map(|candidate| Decision {
        channel: candidate.channel.name.clone(),
        fee_minor: if asked.top_up { 0 } else { candidate.fee.minor() },
        config_hash: settings.hash.clone(),
        config_epoch: settings.epoch_signed(),
        explanation: explanation.clone(),
    });
    decided.collect()
}

impl Candidate<'_> {
    fn explain(&self) -> Value {
        let mut said = json!({
            "channel": self.channel.name,
            "rests": self.rests,
            "priority": self.priority,
            "costMinor": self.cost_minor,
            "successBasisPoints": self.success,
            "score": self.score,
        });
        if let Some(said) = said.as_object_mut() {
            said.extend(self.weight.map(|weight| ("weight".to_owned(), json!(weight))));
            said.extend(self.fee_since.map(|since| ("feeSince".to_owned(), json!(since))));
        }
        said
    }
}

impl Decision {
    /// With the limits that were reached before it had its turn.
    #[must_use]
    pub fn after(&self, reached: &[Reached]) -> Self {
        Self { explanation: explain(&self.explanation, reached), ..self.clone() }
    }
}

/// An explanation, with the limits that were reached.
#[must_use]
pub fn explain(explanation: &Value, reached: &[Reached]) -> Value {
    let mut said = explanation.clone();
    if let Some(said) = said.as_object_mut().filter(|_| !reached.is_empty()) {
        said.insert("limitsReached".to_owned(), json!(reached));
    }
    said
}

/// What speaks against a channel, whatever is asked of it for this merchant.
fn open_to(settings: &Settings, channel: &ChannelSettings, merchant: &str) -> Result<(), &'static str> {
    if !channel.enabled {
        return Err("Disabled");
    }
    if channel.is_simulated && settings.environment == Environment::Live {
        return Err("SimulatedInLive");
    }
    if !channel.merchants.is_empty() && !channel.merchants.iter().any(|known| known == merchant) {
        return Err("OtherMerchants");
    }
    Ok(())
}

/// Priority and weight; the fee, and since when its rule is in force; the cost.
type Terms = ((u32, Option<u32>), (Money, Option<Date>), Money);

fn candidate(
    settings: &Settings,
    channel: &ChannelSettings,
    asked: &Asked<'_>,
) -> Result<Terms, &'static str> {
    open_to(settings, channel, asked.merchant)?;
    match asked.agreed {
        Some(agreed) if agreed != channel.name => return Err("OtherAgreement"),
        Some(_) if !channel.client.signs(asked.method) => return Err("AgreementsMissing"),
        None if channel.client.is_agreed_alone(asked.method) => return Err("AgreementMissing"),
        _ => {}
    }
    if asked.top_up && !channel.client.takes_top_ups() {
        return Err("TopUpsMissing");
    }
    let (method, amount) = (asked.method, asked.amount);
    let rules = channel.method(method).ok_or("MethodMissing")?;
    let limit = channel.limits(method, amount.currency());
    if limit.is_some_and(|limit| amount.minor() > limit.per_payment_minor_max) {
        return Err("OverLimit");
    }
    let fee = channel.fee(method, amount, asked.on).ok_or("CurrencyMissing")?;
    let cost = channel.cost(method, amount, asked.on).unwrap_or(fee.0);
    Ok(((rules.priority, rules.weight), fee, cost))
}

/// A part of an amount in basis points, rounded up.
fn share(part: Money, amount: Money) -> i64 {
    let whole = i128::from(amount.minor().max(1));
    let share = i128::from(part.minor()).saturating_mul(BASIS_POINTS.into());
    let up = share.saturating_add(whole).saturating_sub(1).checked_div(whole);
    up.and_then(|up| i64::try_from(up).ok()).unwrap_or(BASIS_POINTS)
}

/// The same for the same order, whoever asks; even over many.
fn seed(order_id: Uuid) -> u128 {
    let hash = digest(&SHA256, order_id.as_bytes());
    hash.as_ref().iter().take(16).fold(0, |seed, byte| (seed << 8) | u128::from(*byte))
}

fn in_order(mut fit: Vec<Candidate<'_>>, mut seed: u128) -> Vec<Candidate<'_>> {
    fit.sort_by(|a, b| {
        let key = |c: &Candidate<'_>| (c.rests, c.priority, Reverse(c.score));
        key(a).cmp(&key(b)).then_with(|| a.channel.name.cmp(&b.channel.name))
    });
    let mut ordered = Vec::with_capacity(fit.len());
    // Each turn takes one out, so it ends.
    while let Some(best) = fit.first() {
        let (group, least) = ((best.rests, best.priority), best.score.saturating_sub(ALIKE));
        let is_drawn = |c: &Candidate<'_>| (c.rests, c.priority) == group && c.score >= least;
        let weights: Vec<_> = fit.iter().map(|c| c.weight.filter(|_| is_drawn(c)).unwrap_or(0)).collect();
        let next = draw(&weights, &mut seed).unwrap_or(0);
        ordered.push(fit.remove(next));
    }
    ordered
}

/// Draws one by its weight, with a part of the seed; none where nothing has weight.
fn draw(weights: &[u32], seed: &mut u128) -> Option<usize> {
    let total: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
    let mut point = seed.checked_rem(total)?;
    *seed = seed.checked_div(total)?;
    weights.iter().position(|weight| match point.checked_sub(u128::from(*weight)) {
        Some(left) => {
            point = left;
            false
        }
        None => true,
    })
}

/// Decides again on newer settings, for the channel that took the payment. A
/// channel or method that the newer settings no longer have keeps its fee.
#[must_use]
pub fn decide_again(
    settings: &Settings,
    channel: &str,
    (method, amount, on): (&str, Money, Date),
    fee_minor: i64,
) -> Decision {
    let newer = settings.channel(channel).and_then(|c| c.fee(method, amount, on));
    Decision {
        channel: channel.to_owned(),
        fee_minor: newer.map_or(fee_minor, |(fee, _)| fee.minor()),
        config_hash: settings.hash.clone(),
        config_epoch: settings.epoch_signed(),
        explanation: Value::Null,
    }
}

#[cfg(test)]
mod trials;
