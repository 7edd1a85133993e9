//! Channels as the gateway's config has them: what works, and why the rest does not.

use payplane_api::config::{ChannelConfig, Environment, GatewayConfig};
use payplane_api::currency::Currency;
use payplane_crds::condition::Reason;
use payplane_crds::{Channel, SECRET_TYPE_CHANNEL_CREDENTIALS};
use serde_json::Value;

use crate::framework::cluster::{Cluster, ClusterError};
use crate::framework::object::resource;
use crate::settings::Settings;
use crate::tenant::build::channel::channel_config;
use crate::tenant::credentials::{self, KeyFile, Needs};
use crate::tenant::endpoint;
use crate::tenant::validate::{Refused, Tenant};

/// A channel's entry and its key files.
#[derive(Clone)]
pub struct Usable {
    pub config: ChannelConfig,
    pub files: Vec<(String, Vec<u8>)>,
}

/// A channel, what the gateway gets of it, and why that is not what the spec says.
pub struct Resolved {
    pub channel: Channel,
    pub usable: Option<Usable>,
    /// The gateway has an entry of it, be it an older one.
    pub serves: bool,
    pub refused: Option<Refused>,
}

/// Resolves every channel. One that cannot work keeps its last good entry.
pub async fn resolve(
    cluster: &Cluster,
    tenant: &Tenant,
    channels: &[Channel],
    (live_config, settings): (Option<&Value>, &Settings),
) -> Result<Vec<Resolved>, ClusterError> {
    let mut resolved = Vec::new();
    for channel in channels {
        let result = match check(tenant, channel, settings) {
            Ok(()) => build(cluster, tenant, channel).await?,
            Err(refused) => Err(refused),
        };
        let (usable, refused) = match result {
            Ok(usable) => (Some(usable), None),
            // A Simulator has no business in a Live tenant, last good or not.
            Err(refused) if refused.reason == Reason::SimulatorInLiveTenant => (None, Some(refused)),
            Err(refused) => (live_config.and_then(|live| standing(live, channel)), Some(refused)),
        };
        let serves = usable.is_some();
        resolved.push(Resolved { channel: channel.clone(), usable, serves, refused });
    }
    resolved.sort_by(|a, b| a.channel.metadata.name.cmp(&b.channel.metadata.name));
    Ok(resolved)
}

/// A channel on its way out serves what is open, nothing new.
fn takes_payments(channel: &Channel) -> bool {
    channel.spec.enabled && channel.metadata.deletion_timestamp.is_none()
}

/// The last good entry of a channel whose spec cannot work now. To stop new
/// payments needs nothing that could be missing, so that part of the spec holds.
#[must_use]
pub fn standing(live: &Value, channel: &Channel) -> Option<Usable> {
    let mut good = last_good(live, channel.metadata.name.as_deref().unwrap_or_default())?;
    good.config.enabled &= takes_payments(channel);
    Some(good)
}

/// What the two specs alone say against it.
pub fn check(tenant: &Tenant, channel: &Channel, settings: &Settings) -> Result<(), Refused> {
    if tenant.environment == Environment::Live && channel.spec.simulated().is_some() {
        let place =
            if channel.spec.simulator.is_some() { "spec.simulator." } else { "spec.network.sandbox." };
        return Err(Refused::new(Reason::SimulatorInLiveTenant, place));
    }
    reachable(tenant, channel, settings)?;
    let fees = channel.spec.methods.iter().flat_map(|method| {
        method.fees.iter().map(|fee| (format!("spec.methods[{}].fees", method.name), &fee.currency))
    });
    let payouts = channel.spec.payouts.iter().map(|payout| ("spec.payouts".to_owned(), &payout.currency));
    for (place, currency) in fees.chain(payouts) {
        let known = Currency::parse(currency).is_ok_and(|c| tenant.currencies.contains(&c));
        if !known {
            let detail = format!("{place}: {currency} is not one of the tenant's currencies.");
            return Err(Refused::new(Reason::CurrencyUnknown, detail));
        }
    }
    Ok(())
}

/// May the gateway call the real network of a channel?
fn reachable(tenant: &Tenant, channel: &Channel, settings: &Settings) -> Result<(), Refused> {
    if channel.spec.simulated().is_some() {
        return Ok(());
    }
    let endpoint = channel.spec.network.as_ref().and_then(|network| network.endpoint.as_deref());
    let place = ("spec.network", "spec.network.endpoint");
    endpoint::called(tenant, place, endpoint.unwrap_or_default(), settings)
}

async fn build(
    cluster: &Cluster,
    tenant: &Tenant,
    channel: &Channel,
) -> Result<Result<Usable, Refused>, ClusterError> {
    let Some(Needs { member, secret, files: wanted }) = credentials::needs(&channel.spec) else {
        return Ok(Err(Refused::new(Reason::InvalidSpec, "the member named by spec.type is missing.")));
    };
    let live = cluster.look(&resource("v1", "Secret"), Some(&tenant.namespace), secret).await?;
    let place = format!("spec.{member}.credentials");
    let Some(live) = live else {
        let detail = format!("{place}: Secret {secret} does not exist in {}.", tenant.namespace);
        return Ok(Err(Refused::new(Reason::CredentialsMissing, detail)));
    };
    if live["type"] != SECRET_TYPE_CHANNEL_CREDENTIALS {
        let detail = format!("{place}: Secret {secret} is not of type {SECRET_TYPE_CHANNEL_CREDENTIALS}.");
        return Ok(Err(Refused::new(Reason::CredentialsInvalid, detail)));
    }
    let name = channel.metadata.name.as_deref().unwrap_or_default();
    let mut files = Vec::new();
    for KeyFile { key, suffix, what, is_usable, optional } in wanted {
        if optional && live["data"][key].is_null() {
            continue;
        }
        let Some(pem) = credentials::bytes(&live, key).filter(|bytes| is_usable(bytes)) else {
            let detail = format!("{place}: Secret {secret}: {key} is missing or is not {what}.");
            return Ok(Err(Refused::new(Reason::CredentialsInvalid, detail)));
        };
        files.push((format!("channel-{name}.{suffix}"), pem));
    }
    let named = |suffix: &str| files.iter().find(|(name, _)| name.ends_with(suffix)).map(|(_, pem)| pem);
    if let (Some(key), Some(certificate)) = (named(".key"), named(".crt"))
        && !credentials::is_pair(key, certificate)
    {
        let detail = format!("{place}: Secret {secret}: merchant.crt does not belong to merchant.key.");
        return Ok(Err(Refused::new(Reason::CredentialsInvalid, detail)));
    }
    let whole = match (named(".client-key"), named(".client-crt")) {
        (Some(key), Some(certificate)) => credentials::is_tls_pair(key, certificate),
        (key, certificate) => key.is_none() && certificate.is_none(),
    };
    if !whole {
        let detail =
            format!("{place}: Secret {secret}: client.crt and client.key must both be there and be a pair.");
        return Ok(Err(Refused::new(Reason::CredentialsInvalid, detail)));
    }
    let config = channel_config(channel, takes_payments(channel), &files);
    Ok(match config {
        Some(config) => Ok(Usable { config, files }),
        None => Err(Refused::new(Reason::InvalidSpec, format!("spec.{member} is not usable."))),
    })
}

/// The entry that the gateway has now.
#[must_use]
pub fn last_good(live: &Value, name: &str) -> Option<Usable> {
    let config: GatewayConfig = serde_json::from_slice(&credentials::bytes(live, "config.json")?).ok()?;
    let config = config.channels.into_iter().find(|c| c.name == name)?;
    let file =
        |key: &payplane_api::config::KeyFile| Some((key.file.clone(), credentials::bytes(live, &key.file)?));
    let files = config.network.key_files().into_iter().map(file).collect::<Option<Vec<_>>>()?;
    Some(Usable { config, files })
}
