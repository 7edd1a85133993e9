//! Which channel pays out: of those that can, one whose network answers, by priority.

use std::collections::BTreeSet;

use payplane_api::config::PayoutConfig;
use payplane_api::money::Money;

use super::open_to;
use crate::breaker::Breakers;
use crate::settings::{ChannelSettings, Settings};

/// The channel; why there is none, where there is none.
pub fn choose<'a>(
    settings: &'a Settings,
    breakers: &Breakers,
    (merchant, amount): (&str, Money),
) -> Result<&'a ChannelSettings, String> {
    let (mut fit, mut against) = (Vec::new(), BTreeSet::new());
    for channel in &settings.channels {
        match rules(settings, channel, (merchant, amount)) {
            Ok(rules) => fit.push((breakers.rests(&channel.name), rules.priority, channel)),
            Err(why) => _ = against.insert(why),
        }
    }
    let first = fit.into_iter().min_by(|a, b| {
        let key = |fit: &(bool, u32, &'a ChannelSettings)| (fit.0, fit.1, fit.2.name.as_str());
        key(a).cmp(&key(b))
    });
    let against = || against.into_iter().collect::<Vec<_>>().join(", ");
    first.map(|(_, _, channel)| channel).ok_or_else(against)
}

/// What the config says of such a payout over a channel; why it takes none, where it does not.
pub fn rules<'a>(
    settings: &Settings,
    channel: &'a ChannelSettings,
    (merchant, amount): (&str, Money),
) -> Result<&'a PayoutConfig, &'static str> {
    open_to(settings, channel, merchant)?;
    if channel.payouts.is_empty() || !channel.client.pays_out() {
        return Err("PayoutsMissing");
    }
    let rules = channel.payouts.iter().find(|rules| rules.currency == amount.currency());
    let rules = rules.ok_or("CurrencyMissing")?;
    if amount.minor() > rules.per_payout_minor_max {
        return Err("OverLimit");
    }
    Ok(rules)
}
