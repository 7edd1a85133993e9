//! The real networks' keys and merchants, as `networks.json` lists them. Every
//! key is parsed here, once.

mod file;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, LessSafeKey, UnboundKey};
use snafu::{OptionExt, ResultExt, Snafu};

pub use self::file::{
    AlipayFile, AlipayMerchantFile, BankFile, File, ParticipantFile, UnionEncryptionFile, UnionFile,
    UnionMerchantFile, WechatFile, WechatMerchantFile,
};
use crate::bank::keys::{BankKey, ParticipantKey};
use crate::rsa::{Certified, DecryptingKey, RsaError, SigningKey, VerifyingKey};

#[derive(Debug, Snafu)]
pub enum NetworksError {
    #[snafu(display("this is not the JSON of the networks"))]
    Json { source: serde_json::Error },
    #[snafu(display("cannot read {}", path.display()))]
    Read { path: PathBuf, source: std::io::Error },
    #[snafu(display("a key cannot be used"))]
    Key { source: RsaError },
    #[snafu(display("{what} is not an ECDSA P-256 key in PEM"))]
    BankKey { what: String },
    #[snafu(display("the APIv3 key of {mchid} has not 32 letters and digits"))]
    ApiV3Key { mchid: String },
}

/// The networks that are played.
#[derive(Default)]
pub struct Networks {
    pub wechat: Option<Wechat>,
    pub alipay: Option<Alipay>,
    pub union: Option<Union>,
    pub bank: Option<Bank>,
}

pub struct Bank {
    pub key: BankKey,
    /// Keys of each participant, by their ids.
    pub participants: HashMap<String, HashMap<String, ParticipantKey>>,
}

pub struct Wechat {
    pub key: SigningKey,
    pub key_id: String,
    pub merchants: HashMap<String, WechatMerchant>,
}

pub struct WechatMerchant {
    pub appids: Vec<String>,
    pub keys: HashMap<String, VerifyingKey>,
    /// Seals notifications.
    pub seal: LessSafeKey,
}

pub struct Alipay {
    pub key: SigningKey,
    pub merchants: HashMap<String, AlipayMerchant>,
}

pub struct AlipayMerchant {
    pub seller_id: String,
    pub key: VerifyingKey,
}

pub struct Union {
    pub key: SigningKey,
    /// The certificate as answers carry it.
    pub certificate: String,
    pub encryption: Option<UnionEncryption>,
    pub merchants: HashMap<String, UnionMerchant>,
}

/// What merchants encrypt for.
pub struct UnionEncryption {
    pub key: DecryptingKey,
    /// `encryptCertId`
    pub certificate_id: String,
}

pub struct UnionMerchant {
    pub keys: HashMap<String, VerifyingKey>,
    pub secure_key: Option<String>,
    pub token_requestor: Option<String>,
}

impl Networks {
    /// Reads the file and the key files beside it.
    pub fn parse(folder: &Path, json: &[u8]) -> Result<Self, NetworksError> {
        let file: File = serde_json::from_slice(json).context(JsonSnafu)?;
        Ok(Self {
            wechat: file.wechat_pay.map(|file| wechat(folder, file)).transpose()?,
            alipay: file.alipay.map(|file| alipay(folder, file)).transpose()?,
            union: file.union_pay.map(|file| union(folder, file)).transpose()?,
            bank: file.bank_direct.map(|file| bank(folder, file)).transpose()?,
        })
    }
}

fn read(folder: &Path, file: &Path) -> Result<Vec<u8>, NetworksError> {
    let path = folder.join(file);
    std::fs::read(&path).context(ReadSnafu { path })
}

fn signing(folder: &Path, file: &Path) -> Result<SigningKey, NetworksError> {
    SigningKey::from_pem(&read(folder, file)?, &file.display().to_string()).context(KeySnafu)
}

fn wechat(folder: &Path, file: WechatFile) -> Result<Wechat, NetworksError> {
    let mut merchants = HashMap::new();
    for listed in file.merchants {
        let what = format!("the certificate of {}", listed.mchid);
        let mut keys = HashMap::new();
        for pem in &listed.certificates {
            let certified = Certified::from_pem(pem.as_bytes(), &what).context(KeySnafu)?;
            keys.insert(certified.serial_hex(), certified.key);
        }
        let secret = listed.api_v3_key.as_bytes();
        let plain = secret.len() == 32 && secret.iter().all(u8::is_ascii_alphanumeric);
        let seal = plain.then(|| UnboundKey::new(&AES_256_GCM, secret).ok()).flatten();
        let seal = seal.map(LessSafeKey::new).context(ApiV3KeySnafu { mchid: &listed.mchid })?;
        merchants.insert(listed.mchid, WechatMerchant { appids: listed.appids, keys, seal });
    }
    Ok(Wechat { key: signing(folder, &file.private_key_file)?, key_id: file.public_key_id, merchants })
}

fn alipay(folder: &Path, file: AlipayFile) -> Result<Alipay, NetworksError> {
    let mut merchants = HashMap::new();
    for listed in file.merchants {
        let what = format!("the public key of {}", listed.app_id);
        let key = VerifyingKey::from_pem(listed.public_key.as_bytes(), &what).context(KeySnafu)?;
        merchants.insert(listed.app_id, AlipayMerchant { seller_id: listed.seller_id, key });
    }
    Ok(Alipay { key: signing(folder, &file.private_key_file)?, merchants })
}

fn bank(folder: &Path, file: BankFile) -> Result<Bank, NetworksError> {
    let pem = read(folder, &file.private_key_file)?;
    let what = file.private_key_file.display().to_string();
    let key = BankKey::from_pem(&pem).context(BankKeySnafu { what })?;
    let mut participants = HashMap::new();
    for listed in file.participants {
        let what = format!("a public key of {}", listed.participant_id);
        let read = |pem: &String| ParticipantKey::from_pem(pem.as_bytes()).map(|key| (key.id.clone(), key));
        let keys = listed.public_keys.iter().map(read).collect::<Option<HashMap<_, _>>>();
        participants.insert(listed.participant_id, keys.context(BankKeySnafu { what })?);
    }
    Ok(Bank { key, participants })
}

fn union(folder: &Path, file: UnionFile) -> Result<Union, NetworksError> {
    let mut merchants = HashMap::new();
    for listed in file.merchants {
        let what = format!("the certificate of {}", listed.mer_id);
        let mut keys = HashMap::new();
        for pem in &listed.certificates {
            let certified = Certified::from_pem(pem.as_bytes(), &what).context(KeySnafu)?;
            keys.insert(certified.serial_decimal(), certified.key);
        }
        merchants.insert(
            listed.mer_id,
            UnionMerchant { keys, secure_key: listed.secure_key, token_requestor: listed.token_requestor },
        );
    }
    let certificate = read(folder, &file.certificate_file)?;
    let what = file.certificate_file.display().to_string();
    Certified::from_pem(&certificate, &what).context(KeySnafu)?;
    let certificate = String::from_utf8_lossy(&certificate).trim_end().to_owned();
    let encryption = file.encryption.map(|file| encryption(folder, &file)).transpose()?;
    Ok(Union { key: signing(folder, &file.private_key_file)?, certificate, encryption, merchants })
}

fn encryption(folder: &Path, file: &UnionEncryptionFile) -> Result<UnionEncryption, NetworksError> {
    let what = |path: &Path| path.display().to_string();
    let pem = read(folder, &file.private_key_file)?;
    let key = DecryptingKey::from_pem(&pem, &what(&file.private_key_file)).context(KeySnafu)?;
    let pem = read(folder, &file.certificate_file)?;
    let certified = Certified::from_pem(&pem, &what(&file.certificate_file)).context(KeySnafu)?;
    Ok(UnionEncryption { key, certificate_id: certified.serial_decimal() })
}
