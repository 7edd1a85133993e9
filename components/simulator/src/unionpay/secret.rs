//! Whose card it is: fields that merchants encrypt for the network, and `customerInfo`, in which
//! some of them stand beside others.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::answer::Refused;
use super::message::Message;
use crate::networks::Union;

/// Whose card it is, as it was sent.
pub(super) struct Customer {
    pub(super) account: String,
    pub(super) phone: String,
    pub(super) name: String,
    pub(super) code: String,
}

/// The value of a name in `{name=value&...}`.
pub(super) fn inner<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let pairs = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut pairs = pairs.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find_map(|(known, value)| (known == name).then_some(value))
}

impl Customer {
    pub(super) fn read(union: &Union, message: &Message) -> Result<Self, Refused> {
        message.require(&["accNo", "customerInfo", "encryptCertId"])?;
        let encryption = union.encryption.as_ref().ok_or_else(|| Refused::new("32", "商户无此交易权限"))?;
        if encryption.certificate_id != message.text("encryptCertId") {
            return Err(Refused::format("encryptCertId"));
        }
        let account = encryption.key.decrypt(message.text("accNo")).filter(|text| is_account(text));
        let account = account.ok_or_else(|| Refused::format("accNo"))?;
        let wrong = || Refused::format("customerInfo");
        let customer = STANDARD.decode(message.text("customerInfo")).ok();
        let customer = customer.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(wrong)?;
        let encrypted = inner(&customer, "encryptedInfo").ok_or_else(wrong)?;
        let decrypted = encryption.key.decrypt(encrypted).ok_or_else(wrong)?;
        let phone = inner(&format!("{{{decrypted}}}"), "phoneNo").ok_or_else(wrong)?.to_owned();
        let beside = |name: &str| inner(&customer, name).unwrap_or_default().to_owned();
        // Nobody may send it as it is.
        if !beside("phoneNo").is_empty() {
            return Err(wrong());
        }
        Ok(Self { account, phone, name: beside("customerNm"), code: beside("smsCode") })
    }
}

fn is_account(text: &str) -> bool {
    (12..=19).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}
