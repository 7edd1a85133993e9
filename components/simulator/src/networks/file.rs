//! `networks.json`, as it is written.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The file. A network that is not in it is not played.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct File {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wechat_pay: Option<WechatFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alipay: Option<AlipayFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub union_pay: Option<UnionFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank_direct: Option<BankFile>,
}

/// Files are named from the folder of `networks.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WechatFile {
    pub private_key_file: PathBuf,
    pub public_key_id: String,
    pub merchants: Vec<WechatMerchantFile>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WechatMerchantFile {
    pub mchid: String,
    pub appids: Vec<String>,
    /// PEM, those in force; a serial number chooses.
    pub certificates: Vec<String>,
    pub api_v3_key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlipayFile {
    pub private_key_file: PathBuf,
    pub merchants: Vec<AlipayMerchantFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlipayMerchantFile {
    pub app_id: String,
    pub seller_id: String,
    pub public_key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnionFile {
    pub private_key_file: PathBuf,
    pub certificate_file: PathBuf,
    /// Its certificate is what merchants encrypt for; without it nobody has tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<UnionEncryptionFile>,
    pub merchants: Vec<UnionMerchantFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnionEncryptionFile {
    pub private_key_file: PathBuf,
    pub certificate_file: PathBuf,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UnionMerchantFile {
    pub mer_id: String,
    /// PEM, those in force; `certId` chooses.
    pub certificates: Vec<String>,
    /// For signMethod 11 and 12; without it they are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secure_key: Option<String>,
    /// `trId`, of a merchant that has tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_requestor: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BankFile {
    pub private_key_file: PathBuf,
    pub participants: Vec<ParticipantFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ParticipantFile {
    pub participant_id: String,
    /// PEM, those in force; `Bank-Key` chooses.
    pub public_keys: Vec<String>,
}

// What holds a secret shows only whose it is.
impl std::fmt::Debug for WechatMerchantFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.mchid)
    }
}

impl std::fmt::Debug for UnionMerchantFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.mer_id)
    }
}
