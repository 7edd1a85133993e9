//! What fields hold, by the names that networks give them.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holds {
    Text,
    /// An id of ours or of the network: it may be a long number and no account's.
    Id,
    Secret,
    /// Known by its digest.
    Certificate,
}

/// Accounts, names, whatever tells a person, codes and tokens. Small letters and digits alone,
/// as names are compared.
const SECRET: &[&str] = &[
    // Simulator and BankDirect. `code` is secret in the request that brings it.
    "accountnumber",
    // WechatPay
    "userreceivedaccount",
    // Alipay
    "authcode",
    "buyerid",
    "buyerlogonid",
    "sellerlogonid",
    "opuserid",
    // UnionPay
    "accsplitdata",
    "cardtransdata",
    "certifid",
    "customerinfo",
    "customernm",
    "expired",
    "pin",
    "reserved",
    "smscode",
    "tokenpaydata",
    // Whatever a network adds.
    "birthday",
    "cvn",
    "cvn2",
    "cvc",
    "cvv",
    "cvv2",
    "address",
    "idcard",
    "onetimecode",
    "otp",
    "pan",
    "pwd",
    "securitycode",
    "track1",
    "track2",
    "track1data",
    "track2data",
];

/// What begins otherwise holds the same: `payeeName`, `buyer_user_phone`, `accessToken`.
const SECRET_ENDS: &[&str] = &[
    "account",
    "accountno",
    "accno",
    "acctno",
    "cardholder",
    "cardno",
    "cardnumber",
    "email",
    "expiry",
    "expirydate",
    "holder",
    "idno",
    "mobile",
    "mobileno",
    "name",
    "openid",
    "password",
    "phone",
    "phoneno",
    "phonenumber",
    "secret",
    "token",
    "userid",
];

/// Names of what is nobody's.
const NO_PERSON: &[&str] = &[
    "appname",
    "bankname",
    "goodsname",
    "mername",
    "merchantname",
    "productname",
    "servicename",
    "shopname",
    "storename",
];

const CERTIFICATE: &[&str] = &["encryptpubkeycert", "signpubkeycert"];

/// Times, which may have as many digits.
const ID_ENDS: &[&str] = &["time", "timestamp", "date"];

const ID: &[&str] = &[
    "number",
    "originalnumber",
    "networkid",
    "bankid",
    "id",
    "outtradeno",
    "outrefundno",
    "transactionid",
    "refundid",
    "prepayid",
    "mchid",
    "appid",
    "serialno",
    "outrequestno",
    "tradeno",
    "notifyid",
    "outbizno",
    "sign",
    "orderid",
    "queryid",
    "origqryid",
    "traceno",
    "tn",
    "merid",
    "certid",
    "encryptcertid",
    "signature",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    Secret,
    NoPerson,
    Certificate,
    Id,
}

static KNOWN: LazyLock<HashMap<&str, Known>> = LazyLock::new(|| {
    let of = |names: &'static [&'static str], known| names.iter().map(move |name| (*name, known));
    let all =
        of(ID, Known::Id).chain(of(CERTIFICATE, Known::Certificate)).chain(of(NO_PERSON, Known::NoPerson));
    all.chain(of(SECRET, Known::Secret)).collect()
});

/// What the field of this name holds; one that is not known is as what it stands in.
pub(super) fn holds(name: &str, within: Holds, also: &[&str]) -> Holds {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|char| char.to_ascii_lowercase()).collect();
    let known = KNOWN.get(plain.as_str());
    let ends_in = |ends: &[&str]| ends.iter().any(|end| plain.ends_with(end));
    match within {
        _ if known == Some(&Known::Secret) || also.contains(&plain.as_str()) => Holds::Secret,
        _ if known != Some(&Known::NoPerson) && ends_in(SECRET_ENDS) => Holds::Secret,
        Holds::Secret => Holds::Secret,
        _ if known == Some(&Known::Certificate) => Holds::Certificate,
        _ if known == Some(&Known::Id) || ends_in(ID_ENDS) => Holds::Id,
        other => other,
    }
}
