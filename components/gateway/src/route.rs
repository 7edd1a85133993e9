//! Routing: which channels can take a payment, in which order, and why.

use payplane_api::config::Environment;
use payplane_api::money::Money;
use serde_json::{Value, json};

use crate::breaker::Breakers;
use crate::settings::{ChannelSettings, Settings};

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

/// The channels that can take a payment: by priority, then by name; those whose network
/// does not answer at the moment after all others.
#[must_use]
pub fn choose(settings: &Settings, breakers: &Breakers, method: &str, amount: Money) -> Vec<Decision> {
    let mut fit: Vec<(bool, u32, &ChannelSettings, Money)> = Vec::new();
    let mut explained = Vec::new();
    for channel in &settings.channels {
        match candidate(settings, channel, method, amount) {
            Ok((priority, fee)) => {
                let rests = breakers.rests(&channel.name);
                explained.push(json!({"channel": channel.name, "priority": priority, "rests": rests}));
                fit.push((rests, priority, channel, fee));
            }
            Err(why) => explained.push(json!({"channel": channel.name, "refused": why})),
        }
    }
    fit.sort_by(|a, b| (a.0, a.1, &a.2.name).cmp(&(b.0, b.1, &b.2.name)));
    let explanation = json!({ "candidates": explained });
    let decided = fit.into_iter().map(|(_, _, channel, fee)| Decision {
        channel: channel.name.clone(),
        fee_minor: fee.minor(),
        config_hash: settings.hash.clone(),
        config_epoch: settings.epoch_signed(),
        explanation: explanation.clone(),
    });
    decided.collect()
}

fn candidate(
    settings: &Settings,
    channel: &ChannelSettings,
    method: &str,
    amount: Money,
) -> Result<(u32, Money), &'static str> {
    if !channel.enabled {
        return Err("Disabled");
    }
    if channel.is_simulated && settings.environment == Environment::Live {
        return Err("SimulatedInLive");
    }
    let rules = channel.method(method).ok_or("MethodMissing")?;
    let limit = rules.limits.iter().find(|limit| limit.currency == amount.currency());
    if limit.is_some_and(|limit| amount.minor() > limit.per_payment_minor_max) {
        return Err("OverLimit");
    }
    let fee = channel.fee(method, amount).ok_or("CurrencyMissing")?;
    Ok((rules.priority, fee))
}

/// Decides again on newer settings, for the channel that took the payment. A
/// channel or method that the newer settings no longer have keeps its fee.
#[must_use]
pub fn decide_again(
    settings: &Settings,
    channel: &str,
    method: &str,
    amount: Money,
    fee_minor: i64,
) -> Decision {
    let newer = settings.channel(channel).and_then(|c| c.fee(method, amount));
    Decision {
        channel: channel.to_owned(),
        fee_minor: newer.map_or(fee_minor, Money::minor),
        config_hash: settings.hash.clone(),
        config_epoch: settings.epoch_signed(),
        explanation: Value::Null,
    }
}
