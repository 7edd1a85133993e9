//! Channel: a connection of a tenant to a payment network.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

mod limit;
mod method;
mod network;
mod payout;

pub use network::{Alipay, BankDirect, Network, Sandbox, UnionPay, UnionPaySignMethod, WechatPay};

pub use limit::{Allowance, Limit, Quota};
pub use method::{Fee, FeeChange, Method};
pub use payout::Payout;

/// A connection to a payment network, in the namespace of a tenant. What it
/// says reaches the running gateway without a restart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, CustomResource, KubeSchema)]
#[kube(
    group = "payplane.io",
    version = "v1alpha1",
    kind = "Channel",
    plural = "channels",
    shortname = "pch",
    category = "payments",
    namespaced,
    status = "ChannelStatus",
    derive = "PartialEq",
    selectable = ".spec.type",
    printcolumn(
        name = "Ready",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#,
        type_ = "string",
        description = "Every gateway pod works by this spec."
    ),
    printcolumn(
        name = "Available",
        json_path = r#".status.conditions[?(@.type=="Available")].status"#,
        type_ = "string",
        description = "Payments are routed to it, perhaps by an older spec."
    ),
    printcolumn(
        name = "Reason",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        type_ = "string",
        description = "Why it is ready, or is not."
    ),
    printcolumn(
        name = "Type",
        json_path = ".spec.type",
        type_ = "string",
        description = "The payment network."
    ),
    printcolumn(
        name = "Enabled",
        json_path = ".spec.enabled",
        type_ = "boolean",
        description = "Whether new payments are taken."
    ),
    printcolumn(name = "Age", json_path = ".metadata.creationTimestamp", type_ = "date"),
    printcolumn(
        name = "Message",
        json_path = r#".status.conditions[?(@.type=="Ready")].message"#,
        type_ = "string",
        priority = 1,
        description = "What it waits for and what to do about it."
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'Simulator') == has(self.simulator)")
        .field_path(".simulator")
        .message("the member named by type must be given, and no other"),
    validation = Rule::new("(self.type == 'WechatPay') == has(self.wechatPay)")
        .field_path(".wechatPay")
        .message("the member named by type must be given, and no other"),
    validation = Rule::new("(self.type == 'Alipay') == has(self.alipay)")
        .field_path(".alipay")
        .message("the member named by type must be given, and no other"),
    validation = Rule::new("(self.type == 'UnionPay') == has(self.unionPay)")
        .field_path(".unionPay")
        .message("the member named by type must be given, and no other"),
    validation = Rule::new("(self.type == 'BankDirect') == has(self.bankDirect)")
        .field_path(".bankDirect")
        .message("the member named by type must be given, and no other"),
    validation = Rule::new("self.type != 'BankDirect' || !has(self.network) || has(self.network.endpoint) || has(self.network.sandbox)")
        .field_path(".network")
        .message("a bank has no address that is known: give endpoint or sandbox"),
    validation = Rule::new("(self.type != 'Simulator') == has(self.network)")
        .field_path(".network")
        .message("a real network is reached by network; a Simulator has a Service instead"),
    validation = Rule::new("self.type == 'Simulator' || self.methods.all(m, m.name in (self.type == 'WechatPay' ? ['wechat-native', 'wechat-jsapi'] : self.type == 'Alipay' ? ['alipay-qr'] : self.type == 'BankDirect' ? ['bank-account'] : ['unionpay-qr', 'unionpay-app', 'unionpay-card']))")
        .field_path(".methods")
        .message("WechatPay has the methods wechat-native and wechat-jsapi, Alipay has alipay-qr, UnionPay has unionpay-qr, unionpay-app and unionpay-card, BankDirect has bank-account"),
    validation = Rule::new("self.type != 'UnionPay' || !has(self.unionPay) || has(self.unionPay.tokenRequestor) || self.methods.all(m, m.name != 'unionpay-card')")
        .field_path(".methods")
        .message("unionpay-card is paid by agreements: give unionPay.tokenRequestor"),
    validation = Rule::new("self.type in ['Simulator', 'BankDirect'] || self.methods.all(m, m.fees.all(f, f.currency == 'CNY'))")
        .field_path(".methods")
        .message("this network takes CNY only"),
    validation = Rule::new("self.type in ['Simulator', 'BankDirect'] || !has(self.payouts) || size(self.payouts) == 0")
        .field_path(".payouts")
        .message("this network pays nothing out: give payouts to a BankDirect channel")
)]
pub struct ChannelSpec {
    /// The payment network. Immutable. The member of the same name holds what is
    /// particular to it.
    #[serde(rename = "type")]
    #[x_kube(validation = Rule::new("self == oldSelf").message("type is immutable: make another Channel"))]
    pub channel_type: ChannelType,

    /// False stops new payments and payouts only: queries and refunds go on.
    #[serde(default = "enabled")]
    pub enabled: bool,

    /// The merchants whose payments it takes, by their ids. Left out, all of them. At most
    /// 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(min = 1, max = 32), regex(pattern = "^[A-Za-z0-9._-]+$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub merchants: Vec<String>,

    /// The payment methods that the network offers here, e.g. `card`. 1 to 8.
    #[schemars(length(min = 1, max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub methods: Vec<Method>,

    /// What it pays out from merchants' balances to accounts (`POST /v1/payouts` of the
    /// gateway), by currency. A currency without an entry is not paid out. BankDirect and
    /// Simulator alone. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["currency".to_owned()]))]
    pub payouts: Vec<Payout>,

    /// So many days after a payment the network gives money back, 0 to 400: 0 says that it
    /// never does. A refund that comes later, or after the network declined one of the same
    /// payment, is paid out to the account that the refund names (`payeeAccount`), over a
    /// Channel with `payouts`. Left out, the network is asked for every refund.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 400))]
    pub refund_days: Option<u16>,

    /// How a real network and the gateway reach each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<Network>,

    /// A simulated network, for tenants of environment Test.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub simulator: Option<Simulator>,

    /// WeChat Pay, API v3, as a merchant of its own. Methods: `wechat-native` (the
    /// payer scans a QR code), `wechat-jsapi` (inside of WeChat; needs the payer's openid).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wechat_pay: Option<WechatPay>,

    /// Alipay's open platform, RSA2. Method: `alipay-qr` (the payer scans a QR code).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alipay: Option<Alipay>,

    /// UnionPay online, 5.1.0. Methods: `unionpay-qr` (the payer scans a QR code),
    /// `unionpay-app` (the payer's app is given a transaction number), `unionpay-card` (a card
    /// whose owner has agreed, by its token).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub union_pay: Option<UnionPay>,

    /// The core of a bank, by the contract in docs/bank-direct.md. Method: `bank-account`
    /// (a payer's account is debited; needs the account, as payerId). Any currency.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank_direct: Option<BankDirect>,
}

impl ChannelSpec {
    /// The network's Service in this cluster and the labels of its pods, where the
    /// network is a simulated one.
    #[must_use]
    pub fn simulated(&self) -> Option<(&ServiceReference, &BTreeMap<String, String>)> {
        let sandbox = self.network.as_ref().and_then(|network| network.sandbox.as_ref());
        let simulator = self.simulator.as_ref();
        let of_simulator = simulator.map(|simulator| (&simulator.service, &simulator.pod_labels));
        of_simulator.or_else(|| sandbox.map(|sandbox| (&sandbox.service, &sandbox.pod_labels)))
    }
}

/// A payment network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ChannelType {
    /// A network that payplane plays itself, with its own signatures and faults on request.
    Simulator,
    WechatPay,
    Alipay,
    UnionPay,
    /// The core of a bank, by payplane's own contract.
    BankDirect,
}

/// Where the simulated network runs, and as whom to speak with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Simulator {
    /// The network's Service; it is called by https. Its name and namespace are
    /// immutable: what is open there is asked for there.
    pub service: ServiceReference,
    /// Labels of the network's pods, so that the tenant's gateway may reach
    /// nothing else. 1 to 8.
    #[schemars(schema_with = "crate::labels::of_pods")]
    pub pod_labels: BTreeMap<String, String>,
    /// The merchant number that the network gave, 1 to 32 characters. Immutable.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("merchantId is immutable: make another Channel"))]
    pub merchant_id: String,
    /// The keys to speak with the network.
    pub credentials: CredentialsName,
}

/// A Service of this cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceReference {
    /// The Service's namespace.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("!self.startsWith('ptn-') && !self.startsWith('kube-')").message("a network runs in a namespace of its own, not in a tenant's or the system's"),
        validation = Rule::new("self == oldSelf").message("a network's Service is immutable: make another Channel, and delete this one"))]
    pub namespace: String,
    /// The Service's name.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z]([-a-z0-9]*[a-z0-9])?$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("a network's Service is immutable: make another Channel, and delete this one"))]
    pub name: String,
    /// The Service's port, 1 to 65535; the pods must listen on the same one.
    #[serde(default = "https_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
}

/// A Secret in the Channel's namespace, of type
/// `payplane.io/channel-credentials`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialsName {
    /// Its bare name. For a Simulator it holds `merchant.key` (our signing key, PEM),
    /// `network.pub` (the key that the network signs with, PEM) and `ca.crt` (the
    /// certificates that the network's must lead to, PEM). WechatPay: `merchant.key`,
    /// `apiv3.key` (32 characters), `network.pub`. Alipay: `merchant.key`,
    /// `network.pub`. UnionPay: `merchant.key`, `merchant.crt`, `network-ca.crt` for
    /// Rsa, `secure.key` for Sha256 and Sm3, and `encrypt.crt` (the certificate that cards are
    /// encrypted for) with a tokenRequestor. BankDirect: `merchant.key` and
    /// `network.pub` as for a Simulator, the latter with up to four keys, and `client.crt`
    /// and `client.key` where the bank asks for mutual TLS. These four may
    /// have `ca.crt`; without it the public CAs are believed. With a sandbox it is needed.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
}

/// What the operator found and did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChannelStatus {
    /// The generation of the spec that this status speaks of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Available and Progressing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::condition::schema")]
    pub conditions: Vec<Condition>,
}

fn enabled() -> bool {
    true
}

fn https_port() -> u16 {
    8443
}
