//! The real networks: how they are reached, and as whom.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CredentialsName, ServiceReference};

/// How a network and the gateway reach each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!(has(self.endpoint) && has(self.sandbox))")
        .field_path(".sandbox")
        .message("a sandbox takes the place of the endpoint: give one of them, or neither"),
    validation = Rule::new("has(self.sandbox) == has(oldSelf.sandbox)")
        .field_path(".sandbox")
        .message("a channel does not change between real and simulated money: make another Channel")
)]
pub struct Network {
    /// Where the network is called: https, host and port. Left out, the network's own
    /// address (a bank has none). The tenant's `network.egressCidrs` must let it through, on port 443 or 8443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 9, max = 253),
        regex(
            pattern = "^https://(([A-Za-z0-9-]+[.])*[A-Za-z][A-Za-z0-9-]*|[0-9]{1,3}([.][0-9]{1,3}){3})(:[0-9]{1,5})?$"
        )
    )]
    pub endpoint: Option<String>,
    /// The payplane simulator instead of the real network, for tenants of environment Test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<Sandbox>,
    /// The address under which the network reaches
    /// `/v1/channels/CHANNEL/notifications` of this tenant's gateway, through the
    /// bank's ingress; https, without a query.
    #[schemars(length(min = 9, max = 255), regex(pattern = "^https://[^?#\\s]+$"))]
    pub notify_url: String,
}

/// Where the payplane simulator runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Sandbox {
    /// Its Service; it is called by https. Name and namespace are immutable.
    pub service: ServiceReference,
    /// Labels of its pods: the gateway reaches these alone, and they reach the gateway. 1 to 8.
    #[schemars(schema_with = "crate::labels::of_pods")]
    pub pod_labels: BTreeMap<String, String>,
}

/// A merchant of WeChat Pay.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct WechatPay {
    /// The merchant number, 8 to 32 digits. Immutable.
    #[schemars(length(min = 8, max = 32), regex(pattern = "^[0-9]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("mchid is immutable: make another Channel"))]
    pub mchid: String,
    /// The app that payers pay in, 1 to 32 characters. Immutable.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[A-Za-z0-9]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("appid is immutable: make another Channel"))]
    pub appid: String,
    /// Serial number of the merchant's certificate: hexadecimal, 1 to 40 characters.
    #[schemars(length(min = 1, max = 40), regex(pattern = "^[0-9A-F]+$"))]
    pub merchant_serial: String,
    /// Which key the network signs with: `PUB_KEY_ID_...`, or a platform certificate's serial number.
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[0-9A-Za-z_]+$"))]
    pub public_key_id: String,
    /// The keys to speak with the network.
    pub credentials: CredentialsName,
}

/// An app of Alipay's open platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Alipay {
    /// The app's number, 8 to 32 digits. Immutable.
    #[schemars(length(min = 8, max = 32), regex(pattern = "^[0-9]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("appId is immutable: make another Channel"))]
    pub app_id: String,
    /// The keys to speak with the network.
    pub credentials: CredentialsName,
}

/// A participant of a bank.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BankDirect {
    /// The id that the bank gave, 1 to 32 characters. Immutable.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[A-Za-z0-9._-]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("participantId is immutable: make another Channel"))]
    pub participant_id: String,
    /// Whether the bank has agreements: an account's owner agrees once, by a one-time code, and
    /// is debited without one from then on (`POST /v1/agreements` of the gateway). False takes
    /// no new ones, and no payments by those that are there; they can still be ended.
    #[serde(default)]
    pub agreements: bool,
    /// The keys to speak with the bank.
    pub credentials: CredentialsName,
}

/// A merchant of UnionPay online.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(oldSelf.tokenRequestor) || (has(self.tokenRequestor) && self.tokenRequestor == oldSelf.tokenRequestor)")
        .field_path(".tokenRequestor")
        .message("tokenRequestor is immutable, as tokens are its own: make another Channel")
)]
pub struct UnionPay {
    /// The merchant number, 15 letters and digits. Immutable.
    #[schemars(length(min = 15, max = 15), regex(pattern = "^[0-9A-Za-z]+$"))]
    #[x_kube(validation = Rule::new("self == oldSelf").message("merId is immutable: make another Channel"))]
    pub mer_id: String,
    /// How both sides sign.
    #[serde(default)]
    pub sign_method: UnionPaySignMethod,
    /// As whom the merchant asks UnionPay for tokens (`trId`), 1 to 11 digits. With it cards are
    /// agreed on: an owner agrees once, by a one-time code, and is debited without one from then on
    /// (method `unionpay-card`); the Secret holds `encrypt.crt`. Immutable once it is given, as
    /// tokens are its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 11), regex(pattern = "^[0-9]+$"))]
    pub token_requestor: Option<String>,
    /// The keys to speak with the network.
    pub credentials: CredentialsName,
}

/// UnionPay's signMethod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnionPaySignMethod {
    /// 01: RSA with SHA-256, certificates of both sides.
    #[default]
    Rsa,
    /// 11: SHA-256 with a key that both sides know.
    Sha256,
    /// 12: SM3 with a key that both sides know.
    Sm3,
}
