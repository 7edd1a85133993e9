//! What the real networks need: a folder for each beside `merchant` that holds
//! what a channel's Secret holds, and `networks.json` with its keys for the
//! simulator itself.

use std::path::{Path, PathBuf};

use rcgen::{Issuer, KeyPair, PublicKeyData};
use serde_json::{Value, json};
use snafu::ResultExt;

use super::certificates::{Wanted, authority, certificate, key, secret, serial};
use super::{Folders, InitError, MerchantsSnafu, key as p256_key, put};
use crate::networks::{
    AlipayFile, AlipayMerchantFile, BankFile, File, ParticipantFile, UnionEncryptionFile, UnionFile,
    UnionMerchantFile, WechatFile, WechatMerchantFile,
};

/// Serial numbers have lengths that their networks' numbers have.
const WECHAT_SERIAL_BYTES: usize = 20;
const UNION_SERIAL_BYTES: usize = 7;

/// Who the merchant is at each network.
#[derive(Clone, Debug, clap::Args)]
pub struct NetworkIds {
    /// The merchant's number at WeChat Pay
    #[arg(long, default_value = "1900000109")]
    pub wechat_mchid: String,
    /// Its application at WeChat Pay
    #[arg(long, default_value = "wxd678efh567hg6787")]
    pub wechat_appid: String,
    /// Its application at Alipay
    #[arg(long, default_value = "2021000000000001")]
    pub alipay_app_id: String,
    /// Its number at UnionPay
    #[arg(long, default_value = "777290058110048")]
    pub unionpay_mer_id: String,
    /// As whom it asks UnionPay for tokens
    #[arg(long, default_value = "62000000001")]
    pub unionpay_token_requestor: String,
    /// Its participant id at the bank
    #[arg(long, default_value = "10002")]
    pub bank_participant_id: String,
}

impl Default for NetworkIds {
    fn default() -> Self {
        Self {
            wechat_mchid: "1900000109".to_owned(),
            wechat_appid: "wxd678efh567hg6787".to_owned(),
            alipay_app_id: "2021000000000001".to_owned(),
            unionpay_mer_id: "777290058110048".to_owned(),
            unionpay_token_requestor: "62000000001".to_owned(),
            bank_participant_id: "10002".to_owned(),
        }
    }
}

pub(super) fn run(
    folders: &Folders,
    ids: &NetworkIds,
    issuer: &Issuer<'static, KeyPair>,
    ca_pem: &str,
) -> Result<(), InitError> {
    let file = File {
        wechat_pay: Some(wechat(folders, ids, issuer, ca_pem)?),
        alipay: Some(alipay(folders, ids, ca_pem)?),
        union_pay: Some(union(folders, ids, ca_pem)?),
        bank_direct: Some(bank(folders, ids, ca_pem)?),
    };
    let json = serde_json::to_vec_pretty(&file).context(MerchantsSnafu)?;
    put(&folders.get("network")?.join("networks.json"), &json, 0o600)
}

fn wechat(
    folders: &Folders,
    ids: &NetworkIds,
    issuer: &Issuer<'static, KeyPair>,
    ca_pem: &str,
) -> Result<WechatFile, InitError> {
    let folder = folders.get("wechat")?;
    let network_key = key(&folders.get("network")?.join("wechat.key"))?;
    let merchant_key = key(&folder.join("merchant.key"))?;
    let wanted = Wanted { name: &ids.wechat_mchid, ca: None, serial_bytes: WECHAT_SERIAL_BYTES };
    let issued = Some((issuer, ca_pem));
    let certificate = certificate(&folder.join("merchant.crt"), &merchant_key, &wanted, issued)?;
    let api_v3_key = secret(&folder.join("apiv3.key"))?;
    put(&folder.join("network.pub"), network_key.public_key_pem().as_bytes(), 0o644)?;
    put(&folder.join("ca.crt"), ca_pem.as_bytes(), 0o644)?;
    let public_key_id = public_key_id(&ids.wechat_mchid, &network_key);
    let serial = serial(&certificate).map(|certified| certified.serial_hex()).unwrap_or_default();
    put_ids(
        &folder,
        &json!({
            "mchid": ids.wechat_mchid, "appid": ids.wechat_appid,
            "merchantSerial": serial, "publicKeyId": public_key_id,
        }),
    )?;
    let merchant = WechatMerchantFile {
        mchid: ids.wechat_mchid.clone(),
        appids: vec![ids.wechat_appid.clone()],
        certificates: vec![certificate],
        api_v3_key,
    };
    Ok(WechatFile { private_key_file: PathBuf::from("wechat.key"), public_key_id, merchants: vec![merchant] })
}

fn alipay(folders: &Folders, ids: &NetworkIds, ca_pem: &str) -> Result<AlipayFile, InitError> {
    let folder = folders.get("alipay")?;
    let network_key = key(&folders.get("network")?.join("alipay.key"))?;
    let merchant_key = key(&folder.join("merchant.key"))?;
    put(&folder.join("merchant.pub"), merchant_key.public_key_pem().as_bytes(), 0o644)?;
    put(&folder.join("network.pub"), network_key.public_key_pem().as_bytes(), 0o644)?;
    put(&folder.join("ca.crt"), ca_pem.as_bytes(), 0o644)?;
    put_ids(&folder, &json!({"appId": ids.alipay_app_id}))?;
    // A seller's number is one of 16 digits that begins so.
    let tail: String = ids.alipay_app_id.chars().skip(4).collect();
    let merchant = AlipayMerchantFile {
        app_id: ids.alipay_app_id.clone(),
        seller_id: format!("2088{tail}"),
        public_key: merchant_key.public_key_pem(),
    };
    Ok(AlipayFile { private_key_file: PathBuf::from("alipay.key"), merchants: vec![merchant] })
}

fn bank(folders: &Folders, ids: &NetworkIds, ca_pem: &str) -> Result<BankFile, InitError> {
    let folder = folders.get("bankdirect")?;
    let bank_key = p256_key(&folders.get("network")?.join("bankdirect.key"))?;
    let own_key = p256_key(&folder.join("merchant.key"))?;
    put(&folder.join("merchant.pub"), own_key.public_key_pem().as_bytes(), 0o644)?;
    put(&folder.join("network.pub"), bank_key.public_key_pem().as_bytes(), 0o644)?;
    put(&folder.join("ca.crt"), ca_pem.as_bytes(), 0o644)?;
    put_ids(&folder, &json!({"participantId": ids.bank_participant_id}))?;
    let participant = ParticipantFile {
        participant_id: ids.bank_participant_id.clone(),
        public_keys: vec![own_key.public_key_pem()],
    };
    Ok(BankFile { private_key_file: PathBuf::from("bankdirect.key"), participants: vec![participant] })
}

fn union(folders: &Folders, ids: &NetworkIds, ca_pem: &str) -> Result<UnionFile, InitError> {
    let (folder, ca, network) = (folders.get("unionpay")?, folders.get("ca")?, folders.get("network")?);
    let root_key = key(&ca.join("unionpay-root.key"))?;
    let wanted = Wanted { name: "simulated CFCA root", ca: Some(1), serial_bytes: UNION_SERIAL_BYTES };
    let root_pem = certificate(&ca.join("unionpay-root.crt"), &root_key, &wanted, None)?;
    let root = authority(&root_pem, root_key)?;
    let middle_key = key(&ca.join("unionpay-intermediate.key"))?;
    let wanted = Wanted { name: "simulated CFCA OCA1", ca: Some(0), ..wanted };
    let path = ca.join("unionpay-intermediate.crt");
    let middle_pem = certificate(&path, &middle_key, &wanted, Some((&root, &root_pem)))?;
    let middle = authority(&middle_pem, middle_key)?;
    let issued = Some((&middle, middle_pem.as_str()));

    let network_key = key(&network.join("unionpay.key"))?;
    // The third part of the name is what the network's kits look for in tests.
    let name = "041@Z2017-11-1@00040000:SIGN@00000001";
    let wanted = Wanted { name, ca: None, ..wanted };
    certificate(&network.join("unionpay.crt"), &network_key, &wanted, issued)?;
    let encryption_key = key(&network.join("unionpay-encrypt.key"))?;
    let wanted = Wanted { name: "041@Z2017-11-1@00040000:ENC@00000002", ..wanted };
    let encryption_pem =
        certificate(&network.join("unionpay-encrypt.crt"), &encryption_key, &wanted, issued)?;
    put(&folder.join("encrypt.crt"), encryption_pem.as_bytes(), 0o644)?;
    let merchant_key = key(&folder.join("merchant.key"))?;
    let wanted = Wanted { name: &ids.unionpay_mer_id, ..wanted };
    let merchant_pem = certificate(&folder.join("merchant.crt"), &merchant_key, &wanted, issued)?;
    let secure_key = secret(&folder.join("secure.key"))?;
    put(&folder.join("network-ca.crt"), format!("{root_pem}{middle_pem}").as_bytes(), 0o644)?;
    put(&folder.join("ca.crt"), ca_pem.as_bytes(), 0o644)?;
    let cert_id = serial(&merchant_pem).map(|certified| certified.serial_decimal()).unwrap_or_default();
    let requestor = &ids.unionpay_token_requestor;
    put_ids(&folder, &json!({"merId": ids.unionpay_mer_id, "certId": cert_id, "tokenRequestor": requestor}))?;
    let merchant = UnionMerchantFile {
        mer_id: ids.unionpay_mer_id.clone(),
        certificates: vec![merchant_pem],
        secure_key: Some(secure_key),
        token_requestor: Some(requestor.clone()),
    };
    Ok(UnionFile {
        private_key_file: PathBuf::from("unionpay.key"),
        certificate_file: PathBuf::from("unionpay.crt"),
        encryption: Some(UnionEncryptionFile {
            private_key_file: PathBuf::from("unionpay-encrypt.key"),
            certificate_file: PathBuf::from("unionpay-encrypt.crt"),
        }),
        merchants: vec![merchant],
    })
}

/// Digits that stay while the key stays.
fn public_key_id(mchid: &str, key: &KeyPair) -> String {
    use aws_lc_rs::digest::{SHA256, digest};
    let hash = digest(&SHA256, &key.subject_public_key_info());
    let digits: String = hash
        .as_ref()
        .iter()
        .take(16)
        .map(|byte| char::from(b'0'.wrapping_add(byte.rem_euclid(10))))
        .collect();
    format!("PUB_KEY_ID_01{mchid}{digits}")
}

fn put_ids(folder: &Path, ids: &Value) -> Result<(), InitError> {
    let json = serde_json::to_vec_pretty(ids).context(MerchantsSnafu)?;
    put(&folder.join("ids.json"), &json, 0o644)
}
