//! What fields hold, by the names that networks give them.

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
    "account",
    "accountname",
    "accountnumber",
    "holdername",
    "payeeaccount",
    "payeename",
    "payeraccount",
    "token",
    // WechatPay
    "openid",
    "subopenid",
    "spopenid",
    "userreceivedaccount",
    "useraccount",
    "username",
    // Alipay
    "appauthtoken",
    "authcode",
    "authtoken",
    "buyerid",
    "buyerlogonid",
    "buyeropenid",
    "buyeruserid",
    "buyerusername",
    "buyeruserphone",
    "selleremail",
    "sellerlogonid",
    "opuserid",
    // UnionPay
    "accno",
    "accsplitdata",
    "cardtransdata",
    "certifid",
    "customerinfo",
    "customernm",
    "cvn",
    "cvn2",
    "expired",
    "paycardno",
    "phoneno",
    "pin",
    "reserved",
    "smscode",
    "tokenpaydata",
    // Whatever a network adds.
    "cardno",
    "cardnumber",
    "cvc",
    "cvv",
    "cvv2",
    "expiry",
    "idcard",
    "mobile",
    "name",
    "onetimecode",
    "otp",
    "pan",
    "password",
    "phone",
    "pwd",
    "realname",
    "secret",
    "track1",
    "track2",
];

const CERTIFICATE: &[&str] = &["encryptpubkeycert", "signpubkeycert"];

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

/// What the field of this name holds; one that is not known is as what it stands in.
pub(super) fn holds(name: &str, within: Holds, also: &[&str]) -> Holds {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).map(|char| char.to_ascii_lowercase()).collect();
    let is_in = |names: &[&str]| names.contains(&plain.as_str());
    match within {
        _ if is_in(SECRET) || is_in(also) => Holds::Secret,
        Holds::Secret => Holds::Secret,
        _ if is_in(CERTIFICATE) => Holds::Certificate,
        _ if is_in(ID) => Holds::Id,
        other => other,
    }
}
