//! Which channel an agreement is signed over: of those that have agreements, and take the
//! payment that is asked for with it, one whose network answers, by priority.

use std::collections::BTreeSet;

use payplane_api::config::MethodConfig;

use super::open_to;
use crate::breaker::Breakers;
use crate::settings::{ChannelSettings, Settings};

/// The channel; why there is none, where there is none.
pub fn choose<'a>(
    settings: &'a Settings,
    breakers: &Breakers,
    (merchant, method): (&str, &str),
    fits: impl Fn(&ChannelSettings) -> bool,
) -> Result<&'a ChannelSettings, String> {
    let (mut fit, mut against) = (Vec::new(), BTreeSet::new());
    for channel in &settings.channels {
        match rules(settings, channel, (merchant, method)) {
            Ok(_) if !fits(channel) => _ = against.insert("PaymentUnfit"),
            Ok(rules) => fit.push((breakers.rests(&channel.name), rules.priority, channel)),
            Err(why) => _ = against.insert(why),
        }
    }
    let first = fit.into_iter().min_by_key(|(rests, priority, channel)| (*rests, *priority, &channel.name));
    first.map(|(_, _, channel)| channel).ok_or_else(|| against.into_iter().collect::<Vec<_>>().join(", "))
}

fn rules<'a>(
    settings: &Settings,
    channel: &'a ChannelSettings,
    (merchant, method): (&str, &str),
) -> Result<&'a MethodConfig, &'static str> {
    open_to(settings, channel, merchant)?;
    let rules = channel.method(method).ok_or("MethodMissing")?;
    if !channel.client.signs() {
        return Err("AgreementsMissing");
    }
    Ok(rules)
}
