//! The config that the operator renders and a component parses: one struct for
//! both, so they cannot disagree. Each is one JSON file.
//!
//! A component identifies the config that it runs by [`hash`] of the file's
//! bytes. Key files beside it are named with their digest in the config, so a
//! changed key changes the hash too.
//!
//! Fields that are not known are ignored: during an upgrade pods of the release
//! before run by the config of the next, until they are replaced. So a new field
//! has a default, and may not change what an old one means.

mod risk;

pub use risk::*;

use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::currency::Currency;
use crate::id::MerchantId;
use crate::settlement::CalendarConfig;
use jiff::civil::Date;

/// Is the money real?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Environment {
    Live,
    Test,
}

/// Where the tenant's database is, and as whom to log in. The client
/// certificate and the CA lie in [`crate::names::DATABASE_TLS_DIR`] and
/// [`crate::names::DATABASE_TRUST_DIR`]; the server's name is always verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseConfig {
    pub host: String,
    pub port: u16,
    pub database: String,
    pub user: String,
    /// A file with the password, for an external database whose logins are not
    /// by certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_file: Option<String>,
}

impl DatabaseConfig {
    /// The same database for another login, whose password lies beside this one's.
    #[must_use]
    pub fn as_user(&self, user: &str) -> Self {
        let beside = |file: &String| Path::new(file).with_file_name(user).to_string_lossy().into_owned();
        let password_file = self.password_file.as_ref().map(beside);
        Self { user: user.to_owned(), password_file, ..self.clone() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LedgerConfig {
    pub tenant: String,
    pub environment: Environment,
    pub currencies: Vec<Currency>,
    pub calendar: CalendarConfig,
    pub database: DatabaseConfig,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayConfig {
    pub tenant: String,
    pub environment: Environment,
    /// Rises with every change of this file. A posting that was decided on an
    /// epoch below the ledger's least one is refused.
    pub epoch: u64,
    pub currencies: Vec<Currency>,
    pub calendar: CalendarConfig,
    pub database: DatabaseConfig,
    /// `https://ledger.ptn-demo.svc:8443`
    pub ledger: String,
    /// Networks that no channel's endpoint may resolve to (loopback, link-local
    /// and the cluster's own ranges), as CIDRs. A Simulator's Service is exempt.
    #[serde(default)]
    pub denied_cidrs: Vec<String>,
    #[serde(default)]
    pub channels: Vec<ChannelConfig>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub risk: Vec<RiskPolicyConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<StepUpConfig>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelConfig {
    pub name: String,
    /// False stops new pays; queries and refunds go on.
    pub enabled: bool,
    /// The merchants that it takes payments for; empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merchants: Vec<String>,
    pub methods: Vec<MethodConfig>,
    /// The currencies in which it pays out; empty: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub payouts: Vec<PayoutConfig>,
    /// So many days after a payment the network gives it back: 0: never; absent: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_days: Option<u16>,
    pub network: NetworkConfig,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum NetworkConfig {
    Simulator(SimulatorNetwork),
    WechatPay(WechatPayNetwork),
    Alipay(AlipayNetwork),
    UnionPay(UnionPayNetwork),
    BankDirect(BankDirectNetwork),
}

impl NetworkConfig {
    /// How it is reached, where it is one of the real networks.
    #[must_use]
    pub fn reach(&self) -> Option<&Reach> {
        match self {
            Self::Simulator(_) => None,
            Self::WechatPay(network) => Some(&network.reach),
            Self::Alipay(network) => Some(&network.reach),
            Self::UnionPay(network) => Some(&network.reach),
            Self::BankDirect(network) => Some(&network.reach),
        }
    }

    /// Does it play with money that is not real?
    #[must_use]
    pub fn is_simulated(&self) -> bool {
        self.reach().is_none_or(|reach| reach.is_simulated)
    }

    /// The key files that it needs beside the config.
    #[must_use]
    pub fn key_files(&self) -> Vec<&KeyFile> {
        let own = match self {
            Self::Simulator(network) => vec![&network.merchant_key, &network.network_key, &network.ca],
            Self::WechatPay(network) => {
                vec![&network.merchant_key, &network.api_v3_key, &network.network_key]
            }
            Self::Alipay(network) => vec![&network.merchant_key, &network.network_key],
            Self::BankDirect(network) => {
                let client = network.client.iter().flat_map(|client| [&client.certificate, &client.key]);
                [&network.merchant_key, &network.network_key].into_iter().chain(client).collect()
            }
            Self::UnionPay(network) => {
                let tokens = network.tokens.iter().map(|tokens| &tokens.encryption_certificate);
                network.signing.key_files().into_iter().chain(tokens).collect()
            }
        };
        own.into_iter().chain(self.reach().and_then(|reach| reach.ca.as_ref())).collect()
    }
}

/// How to reach the simulated network, and the keys to speak with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SimulatorNetwork {
    /// `https://simulator.simnet.svc:8443`
    pub endpoint: String,
    pub merchant_id: MerchantId,
    /// PEM PKCS#8 of the ECDSA P-256 key that signs requests, in the config's folder.
    pub merchant_key: KeyFile,
    /// PEM SubjectPublicKeyInfo that verifies the network's answers.
    pub network_key: KeyFile,
    /// PEM certificates that the network's TLS certificate must lead to.
    pub ca: KeyFile,
}

/// Where a network is reached, and where it reaches us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reach {
    /// `https://api.mch.weixin.qq.com`
    pub endpoint: String,
    /// Does it play with money that is not real? Such a network is not used in a Live tenant.
    #[serde(default)]
    pub is_simulated: bool,
    /// PEM certificates that the network's TLS certificate must lead to; absent: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<KeyFile>,
    /// Where the network sends its notifications: the address under which it reaches
    /// `/v1/channels/CHANNEL/notifications` of the gateway.
    pub notify_url: String,
}

/// WeChat Pay, API v3, as a merchant of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WechatPayNetwork {
    #[serde(flatten)]
    pub reach: Reach,
    pub mchid: String,
    pub appid: String,
    /// Serial number of the merchant's certificate, hexadecimal.
    pub merchant_serial: String,
    /// Which key the network signs with: `PUB_KEY_ID_...`, or a platform certificate's serial number.
    pub public_key_id: String,
    /// PEM PKCS#8 of the RSA key that signs requests.
    pub merchant_key: KeyFile,
    /// 32 characters: the key that notifications are sealed with.
    pub api_v3_key: KeyFile,
    /// PEM SubjectPublicKeyInfo that verifies the network's answers and notifications.
    pub network_key: KeyFile,
}

/// Alipay's open platform, RSA2.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AlipayNetwork {
    #[serde(flatten)]
    pub reach: Reach,
    pub app_id: String,
    /// PEM PKCS#8 of the RSA key that signs requests.
    pub merchant_key: KeyFile,
    /// PEM SubjectPublicKeyInfo that verifies the network's answers and notifications.
    pub network_key: KeyFile,
}

/// UnionPay online, 5.1.0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnionPayNetwork {
    #[serde(flatten)]
    pub reach: Reach,
    pub mer_id: String,
    pub signing: UnionPaySigning,
    /// Agreements about cards, where the merchant has the token product.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<UnionPayTokens>,
}

/// As whom the merchant asks for tokens, and for whom it encrypts whose card it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnionPayTokens {
    /// `trId`, which UnionPay gives.
    pub requestor: String,
    /// PEM, UnionPay's.
    pub encryption_certificate: KeyFile,
}

/// How both sides sign.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all_fields = "camelCase")]
pub enum UnionPaySigning {
    /// signMethod 01: RSA with SHA-256, certificates of both sides.
    Rsa { merchant_key: KeyFile, merchant_certificate: KeyFile, network_ca: KeyFile },
    /// signMethod 11: SHA-256 with a key that both sides know.
    Sha256 { secure_key: KeyFile },
    /// signMethod 12: SM3 with a key that both sides know.
    Sm3 { secure_key: KeyFile },
}

impl UnionPaySigning {
    fn key_files(&self) -> Vec<&KeyFile> {
        match self {
            Self::Rsa { merchant_key, merchant_certificate, network_ca } => {
                vec![merchant_key, merchant_certificate, network_ca]
            }
            Self::Sha256 { secure_key } | Self::Sm3 { secure_key } => vec![secure_key],
        }
    }
}

/// The core of a bank, by docs/bank-direct.md.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BankDirectNetwork {
    #[serde(flatten)]
    pub reach: Reach,
    /// As whom we speak: the id that the bank gave.
    pub participant_id: String,
    /// Does the bank have agreements: sign, confirm, unsign?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub agreements: bool,
    /// PEM PKCS#8 of the ECDSA P-256 key that signs requests.
    pub merchant_key: KeyFile,
    /// PEM SubjectPublicKeyInfo of 1 to 4 keys that verify the bank's answers and notifications.
    pub network_key: KeyFile,
    /// What we show in TLS, where the bank asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientIdentity>,
}

/// A certificate for TLS, with those that it leads over, and its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientIdentity {
    pub certificate: KeyFile,
    pub key: KeyFile,
}

/// A file beside the config, and the digest of its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeyFile {
    pub file: String,
    /// Hex SHA-256.
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MethodConfig {
    /// The payment method that a payer picks, e.g. `card`.
    pub name: String,
    /// Lower is tried first.
    pub priority: u32,
    /// Its share of the payments among channels that are about as good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    pub fees: Vec<FeeConfig>,
    /// What the network takes, where it is not what the merchant pays: for the choice alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub costs: Vec<FeeConfig>,
    pub limits: Vec<LimitConfig>,
}

/// Payouts in a currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PayoutConfig {
    pub currency: Currency,
    /// Lower is taken first.
    pub priority: u32,
    pub per_payout_minor_max: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeeConfig {
    pub currency: Currency,
    #[serde(flatten)]
    pub rule: FeeRule,
    /// What takes the rule's place, by the day from which on it does; in any order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<FeeChange>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeeRule {
    pub basis_points: i64,
    pub fixed_minor: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_minor: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FeeChange {
    pub from: Date,
    #[serde(flatten)]
    pub rule: FeeRule,
}

impl FeeConfig {
    /// The rule on a day of the tenant's calendar, and since when it has been in force.
    #[must_use]
    pub fn on(&self, day: Date) -> (&FeeRule, Option<Date>) {
        let changed =
            self.changes.iter().filter(|change| change.from <= day).max_by_key(|change| change.from);
        changed.map_or((&self.rule, None), |change| (&change.rule, Some(change.from)))
    }

    pub fn rules(&self) -> impl Iterator<Item = &FeeRule> {
        std::iter::once(&self.rule).chain(self.changes.iter().map(|change| &change.rule))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LimitConfig {
    pub currency: Currency,
    pub per_payment_minor_max: i64,
    /// All payments of the method and currency.
    #[serde(default, skip_serializing_if = "AllowanceConfig::is_unlimited")]
    pub per_channel: AllowanceConfig,
    /// Each merchant's.
    #[serde(default, skip_serializing_if = "AllowanceConfig::is_unlimited")]
    pub per_merchant: AllowanceConfig,
    /// Each payer's, where the payment names one.
    #[serde(default, skip_serializing_if = "AllowanceConfig::is_unlimited")]
    pub per_payer: AllowanceConfig,
}

/// What is taken in a day and in a month of the tenant's calendar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AllowanceConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<QuotaConfig>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_month: Option<QuotaConfig>,
}

impl AllowanceConfig {
    #[must_use]
    pub fn is_unlimited(&self) -> bool {
        *self == Self::default()
    }
}

/// The most that is taken, of either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuotaConfig {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_minor_max: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payments_max: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MigrateConfig {
    pub tenant: String,
    pub environment: Environment,
    pub currencies: Vec<Currency>,
    pub timezone: String,
    pub database: DatabaseConfig,
    /// The books that this tenant already has, or that its namespace is marked
    /// with; absent where the tenant is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub books_id: Option<String>,
    /// Set down in the control row: a successor may not have less.
    pub instances: u32,
    pub storage_bytes: u64,
    /// A database that the bank runs itself: check that it is safe before the
    /// first write, and create the login roles' grants only.
    pub external: bool,
}

/// What the migration says when it ends, as its container's termination
/// message: one line of JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all_fields = "camelCase")]
pub enum MigrateReport {
    /// The schema is current.
    Migrated { books_id: String, schema_version: u32 },
    /// The control row belongs to other books or disagrees with the tenant.
    BooksConflict { message: String },
    /// The database is not fit to hold books (version, fsync, rights, ...).
    DatabaseUnfit { message: String },
    /// It could not be reached or gave up: worth another try.
    Failed { message: String },
}

/// Identifies a config file's content: hex SHA-256.
#[must_use]
pub fn hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_login_has_its_password_beside_the_first_ones() {
        let of = |user: &str, password: Option<&str>| DatabaseConfig {
            host: "db".to_owned(),
            port: 5432,
            database: "payplane".to_owned(),
            user: user.to_owned(),
            password_file: password.map(str::to_owned),
        };
        assert_eq!(of("gateway", None).as_user("v"), of("v", None));
        assert_eq!(of("gateway", Some("/a/gateway")).as_user("v"), of("v", Some("/a/v")));
    }
}
