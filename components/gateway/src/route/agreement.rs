//! Which channel an agreement is signed over: of those that have agreements, and take the
//! payment that is asked for with it, one whose network answers, by priority.

use std::collections::BTreeSet;

use payplane_api::config::MethodConfig;

use super::open_to;
use crate::breaker::Breakers;
use crate::channel::agreement::Agreements;
use crate::settings::{ChannelSettings, Settings};

/// An agreement, as far as the choice is about it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub merchant: &'a str,
    pub method: &'a str,
    /// Is the owner's phone number known?
    pub has_phone: bool,
}

/// The channel; why there is none, where there is none.
pub fn choose<'a>(
    settings: &'a Settings,
    breakers: &Breakers,
    asked: Asked<'_>,
    fits: impl Fn(&ChannelSettings) -> bool,
) -> Result<&'a ChannelSettings, String> {
    let (mut fit, mut against) = (Vec::new(), BTreeSet::new());
    for channel in &settings.channels {
        match rules(settings, channel, asked) {
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
    Asked { merchant, method, has_phone }: Asked<'_>,
) -> Result<&'a MethodConfig, &'static str> {
    open_to(settings, channel, merchant)?;
    let rules = channel.method(method).ok_or("MethodMissing")?;
    if !channel.client.signs(method) {
        return Err("AgreementsMissing");
    }
    if !has_phone && channel.client.agreements().is_some_and(Agreements::needs_owner) {
        return Err("PhoneNumberMissing");
    }
    Ok(rules)
}
