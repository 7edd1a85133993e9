//! A channel's entry in the gateway's config.

use payplane_api::config::{
    AlipayNetwork, AllowanceConfig, BankDirectNetwork, ChannelConfig, ClientIdentity, FeeConfig, FeeRule,
    KeyFile, LimitConfig, MethodConfig, NetworkConfig, PayoutConfig, QuotaConfig, Reach, SimulatorNetwork,
    UnionPayNetwork, UnionPaySigning, UnionPayTokens, WechatPayNetwork,
};
use payplane_api::currency::Currency;
use payplane_api::money::AMOUNT_MINOR_MAX;
use payplane_crds::channel::{
    Allowance, Fee, FeeChange, Limit, Method, Payout, Quota, ServiceReference, UnionPaySignMethod,
};
use payplane_crds::{Channel, ChannelSpec};

/// Where the networks are called when the spec does not say.
const WECHAT_PAY: &str = "https://api.mch.weixin.qq.com";
const ALIPAY: &str = "https://openapi.alipay.com";
const UNION_PAY: &str = "https://gateway.95516.com";

/// None where the spec says too little; `files` are the keys of its Secret.
#[must_use]
pub fn channel_config(
    channel: &Channel,
    enabled: bool,
    files: &[(String, Vec<u8>)],
) -> Option<ChannelConfig> {
    let spec = &channel.spec;
    let network = simulator(spec, files)
        .map(NetworkConfig::Simulator)
        .or_else(|| wechat_pay(spec, files).map(NetworkConfig::WechatPay))
        .or_else(|| alipay(spec, files).map(NetworkConfig::Alipay))
        .or_else(|| union_pay(spec, files).map(NetworkConfig::UnionPay))
        .or_else(|| bank_direct(spec, files).map(NetworkConfig::BankDirect))?;
    Some(ChannelConfig {
        name: channel.metadata.name.clone()?,
        enabled,
        merchants: spec.merchants.clone(),
        methods: spec.methods.iter().enumerate().map(method).collect(),
        payouts: spec.payouts.iter().filter_map(payout).collect(),
        refund_days: spec.refund_days,
        network,
    })
}

fn method((place, method): (usize, &Method)) -> MethodConfig {
    MethodConfig {
        name: method.name.clone(),
        priority: method.priority.unwrap_or_else(|| u32::try_from(place).unwrap_or(u32::MAX)),
        weight: method.weight,
        fees: method.fees.iter().filter_map(fee).collect(),
        costs: method.costs.iter().filter_map(fee).collect(),
        limits: method.limits.iter().filter_map(limit).collect(),
    }
}

fn payout(payout: &Payout) -> Option<PayoutConfig> {
    Some(PayoutConfig {
        currency: Currency::parse(&payout.currency).ok()?,
        priority: payout.priority,
        per_payout_minor_max: payout.per_payout_minor_max.unwrap_or(AMOUNT_MINOR_MAX),
    })
}

fn fee(fee: &Fee) -> Option<FeeConfig> {
    Some(FeeConfig {
        currency: Currency::parse(&fee.currency).ok()?,
        rule: FeeRule {
            basis_points: fee.basis_points,
            fixed_minor: fee.fixed_minor,
            max_minor: fee.max_minor,
        },
        changes: fee.changes.iter().map(change).collect::<Option<_>>()?,
    })
}

fn change(change: &FeeChange) -> Option<payplane_api::config::FeeChange> {
    let rule = FeeRule {
        basis_points: change.basis_points,
        fixed_minor: change.fixed_minor,
        max_minor: change.max_minor,
    };
    Some(payplane_api::config::FeeChange { from: change.from.parse().ok()?, rule })
}

fn limit(limit: &Limit) -> Option<LimitConfig> {
    Some(LimitConfig {
        currency: Currency::parse(&limit.currency).ok()?,
        per_payment_minor_max: limit.per_payment_minor_max.unwrap_or(AMOUNT_MINOR_MAX),
        per_channel: allowance(limit.per_channel),
        per_merchant: allowance(limit.per_merchant),
        per_payer: allowance(limit.per_payer),
    })
}

fn allowance(given: Option<Allowance>) -> AllowanceConfig {
    let quota = |quota: Quota| QuotaConfig {
        amount_minor_max: quota.amount_minor_max,
        payments_max: quota.payments_max,
    };
    given.map_or_else(AllowanceConfig::default, |given| AllowanceConfig {
        per_day: given.per_day.map(quota),
        per_month: given.per_month.map(quota),
    })
}

/// The key file with this suffix, and its digest.
fn key(files: &[(String, Vec<u8>)], suffix: &str) -> Option<KeyFile> {
    let (file, bytes) = files.iter().find(|(name, _)| name.ends_with(suffix))?;
    Some(KeyFile { file: file.clone(), sha256: payplane_api::config::hash(bytes) })
}

fn address(service: &ServiceReference) -> String {
    format!("https://{}.{}.svc:{}", service.name, service.namespace, service.port)
}

fn reach(spec: &ChannelSpec, own: Option<&str>, files: &[(String, Vec<u8>)]) -> Option<Reach> {
    let network = spec.network.as_ref()?;
    let sandbox = network.sandbox.as_ref().map(|sandbox| address(&sandbox.service));
    Some(Reach {
        is_simulated: sandbox.is_some(),
        endpoint: sandbox.or_else(|| network.endpoint.clone()).or_else(|| own.map(str::to_owned))?,
        ca: key(files, ".ca"),
        notify_url: network.notify_url.clone(),
    })
}

fn simulator(spec: &ChannelSpec, files: &[(String, Vec<u8>)]) -> Option<SimulatorNetwork> {
    let simulator = spec.simulator.as_ref()?;
    Some(SimulatorNetwork {
        endpoint: address(&simulator.service),
        merchant_id: simulator.merchant_id.clone().try_into().ok()?,
        merchant_key: key(files, ".key")?,
        network_key: key(files, ".pub")?,
        ca: key(files, ".ca")?,
    })
}

fn wechat_pay(spec: &ChannelSpec, files: &[(String, Vec<u8>)]) -> Option<WechatPayNetwork> {
    let wechat = spec.wechat_pay.as_ref()?;
    Some(WechatPayNetwork {
        reach: reach(spec, Some(WECHAT_PAY), files)?,
        mchid: wechat.mchid.clone(),
        appid: wechat.appid.clone(),
        merchant_serial: wechat.merchant_serial.clone(),
        public_key_id: wechat.public_key_id.clone(),
        merchant_key: key(files, ".key")?,
        api_v3_key: key(files, ".seal")?,
        network_key: key(files, ".pub")?,
    })
}

fn alipay(spec: &ChannelSpec, files: &[(String, Vec<u8>)]) -> Option<AlipayNetwork> {
    let alipay = spec.alipay.as_ref()?;
    Some(AlipayNetwork {
        reach: reach(spec, Some(ALIPAY), files)?,
        app_id: alipay.app_id.clone(),
        merchant_key: key(files, ".key")?,
        network_key: key(files, ".pub")?,
    })
}

fn union_pay(spec: &ChannelSpec, files: &[(String, Vec<u8>)]) -> Option<UnionPayNetwork> {
    let union_pay = spec.union_pay.as_ref()?;
    let signing = match union_pay.sign_method {
        UnionPaySignMethod::Rsa => UnionPaySigning::Rsa {
            merchant_key: key(files, ".key")?,
            merchant_certificate: key(files, ".crt")?,
            network_ca: key(files, ".root")?,
        },
        UnionPaySignMethod::Sha256 => UnionPaySigning::Sha256 { secure_key: key(files, ".secret")? },
        UnionPaySignMethod::Sm3 => UnionPaySigning::Sm3 { secure_key: key(files, ".secret")? },
    };
    let tokens = union_pay.token_requestor.as_ref().map(|requestor| {
        let encryption_certificate = key(files, ".encrypt")?;
        Some(UnionPayTokens { requestor: requestor.clone(), encryption_certificate })
    });
    Some(UnionPayNetwork {
        reach: reach(spec, Some(UNION_PAY), files)?,
        mer_id: union_pay.mer_id.clone(),
        signing,
        // A certificate that is missing is no network without tokens.
        tokens: match tokens {
            Some(tokens) => Some(tokens?),
            None => None,
        },
    })
}

fn bank_direct(spec: &ChannelSpec, files: &[(String, Vec<u8>)]) -> Option<BankDirectNetwork> {
    let bank = spec.bank_direct.as_ref()?;
    Some(BankDirectNetwork {
        // A bank has no address that everybody knows.
        reach: reach(spec, None, files)?,
        participant_id: bank.participant_id.clone(),
        agreements: bank.agreements,
        merchant_key: key(files, ".key")?,
        network_key: key(files, ".pub")?,
        client: key(files, ".client-crt")
            .zip(key(files, ".client-key"))
            .map(|(certificate, key)| ClientIdentity { certificate, key }),
    })
}
