//! The config in force, checked and made ready: a value of this type works.

use std::path::Path;
use std::sync::Arc;

use jiff::civil::Date;
use payplane_api::config::{
    ChannelConfig, Environment, FeeConfig, GatewayConfig, LimitConfig, MethodConfig, NetworkConfig,
    PayoutConfig,
};
use payplane_api::currency::Currency;
use payplane_api::money::{BASIS_POINTS, Money, fee};
use payplane_api::settlement::Calendar;
use payplane_common::telemetry::chain;

use crate::channel::Channel;
use crate::channel::alipay::Alipay;
use crate::channel::bank::BankDirect;
use crate::channel::endpoint::DeniedNetworks;
use crate::channel::simulator::Simulator;
use crate::channel::unionpay::UnionPay;
use crate::channel::wechat::WechatPay;
use crate::step_up::sender::{CodeSender, Webhook};

const CHANNELS_MAX: usize = 256;

/// A checked config.
pub struct Settings {
    pub tenant: String,
    pub epoch: u64,
    /// Hex SHA-256 of the file.
    pub hash: String,
    pub environment: Environment,
    pub currencies: Vec<Currency>,
    pub calendar: Calendar,
    pub channels: Vec<ChannelSettings>,
    /// Neither networks nor apps' endpoints lie there.
    pub denied: Arc<DeniedNetworks>,
    /// Who brings one-time codes to payers.
    pub code_sender: Option<Arc<dyn CodeSender>>,
    pub config: GatewayConfig,
}

/// A channel, and the client that speaks with its network.
pub struct ChannelSettings {
    pub name: String,
    pub enabled: bool,
    /// Is it a network that plays with money that is not real?
    pub is_simulated: bool,
    /// Those that it takes payments for; empty: all.
    pub merchants: Vec<String>,
    pub methods: Vec<MethodConfig>,
    /// What it pays out, by currency.
    pub payouts: Vec<PayoutConfig>,
    /// So many days after a payment its network gives it back; none: however old it is.
    pub refund_days: Option<u16>,
    pub client: Arc<dyn Channel>,
}

impl Settings {
    /// Reads a config file and the key files in its folder.
    pub fn parse(folder: &Path, bytes: &[u8]) -> Result<Self, String> {
        let config: GatewayConfig = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
        let calendar = Calendar::new(&config.calendar).map_err(|e| chain(&e))?;
        let denied = Arc::new(DeniedNetworks::parse(&config.denied_cidrs)?);
        crate::risk::check(&config.risk)?;
        let code_sender = match &config.step_up {
            Some(given) => Some(Webhook::new(given, &denied).map_err(|why| format!("stepUp: {why}"))?),
            None => None,
        };
        if config.channels.len() > CHANNELS_MAX {
            return Err(format!("more than {CHANNELS_MAX} channels"));
        }
        let mut channels: Vec<ChannelSettings> = Vec::with_capacity(config.channels.len());
        for channel in &config.channels {
            if channels.iter().any(|known| known.name == channel.name) {
                return Err(format!("channel {} is there twice", channel.name));
            }
            let built = build(channel, folder, &denied);
            channels.push(built.map_err(|why| format!("channel {}: {why}", channel.name))?);
        }
        Ok(Self {
            tenant: config.tenant.clone(),
            epoch: config.epoch,
            hash: payplane_api::config::hash(bytes),
            environment: config.environment,
            currencies: config.currencies.clone(),
            calendar,
            channels,
            denied,
            code_sender: code_sender.map(|sender| Arc::new(sender) as Arc<dyn CodeSender>),
            config,
        })
    }

    #[must_use]
    pub fn channel(&self, name: &str) -> Option<&ChannelSettings> {
        self.channels.iter().find(|channel| channel.name == name)
    }

    /// The epoch as the database and the ledger keep it.
    #[must_use]
    pub fn epoch_signed(&self) -> i64 {
        i64::try_from(self.epoch).unwrap_or(i64::MAX)
    }
}

impl ChannelSettings {
    #[must_use]
    pub fn method(&self, name: &str) -> Option<&MethodConfig> {
        self.methods.iter().find(|method| method.name == name)
    }

    /// The fee on an amount, by the rules of a day, and since when they have been in force;
    /// none where the method or the currency is unknown.
    #[must_use]
    pub fn fee(&self, method: &str, amount: Money, on: Date) -> Option<(Money, Option<Date>)> {
        price(&self.method(method)?.fees, amount, on)
    }

    /// What its network takes of an amount on a day; none where that is not known.
    #[must_use]
    pub fn cost(&self, method: &str, amount: Money, on: Date) -> Option<Money> {
        price(&self.method(method)?.costs, amount, on).map(|(cost, _)| cost)
    }

    /// The limits of a method on payments in a currency.
    #[must_use]
    pub fn limits(&self, method: &str, currency: Currency) -> Option<&LimitConfig> {
        self.method(method)?.limits.iter().find(|limit| limit.currency == currency)
    }
}

fn price(rules: &[FeeConfig], amount: Money, on: Date) -> Option<(Money, Option<Date>)> {
    let (rule, since) = rules.iter().find(|rule| rule.currency == amount.currency())?.on(on);
    Some((fee(amount, rule.basis_points, rule.fixed_minor, rule.max_minor).ok()?, since))
}

fn build(
    channel: &ChannelConfig,
    folder: &Path,
    denied: &Arc<DeniedNetworks>,
) -> Result<ChannelSettings, String> {
    payplane_api::id::check("channel name", &channel.name, 63).map_err(|e| e.to_string())?;
    for method in &channel.methods {
        for rule in method.fees.iter().chain(&method.costs).flat_map(FeeConfig::rules) {
            let in_range = (0..=BASIS_POINTS).contains(&rule.basis_points)
                && rule.fixed_minor >= 0
                && rule.max_minor.is_none_or(|max| max >= 0);
            if !in_range {
                return Err(format!("a fee or cost of method {} is out of range", method.name));
            }
        }
    }
    let client: Arc<dyn Channel> = match &channel.network {
        NetworkConfig::Simulator(network) => {
            Arc::new(Simulator::new(network, folder, denied.clone()).map_err(|e| chain(&e))?)
        }
        NetworkConfig::WechatPay(network) => {
            Arc::new(WechatPay::new(network, folder, denied.clone()).map_err(|e| chain(&e))?)
        }
        NetworkConfig::Alipay(network) => {
            Arc::new(Alipay::new(network, folder, denied.clone()).map_err(|e| chain(&e))?)
        }
        NetworkConfig::UnionPay(network) => {
            Arc::new(UnionPay::new(network, folder, denied.clone()).map_err(|e| chain(&e))?)
        }
        NetworkConfig::BankDirect(network) => {
            Arc::new(BankDirect::new(network, folder, denied.clone()).map_err(|e| chain(&e))?)
        }
    };
    Ok(ChannelSettings {
        name: channel.name.clone(),
        enabled: channel.enabled,
        is_simulated: channel.network.is_simulated(),
        merchants: channel.merchants.clone(),
        methods: channel.methods.clone(),
        payouts: channel.payouts.clone(),
        refund_days: channel.refund_days,
        client,
    })
}
