//! A merchant's message: a form of documented fields, signed.

use http::request::Parts;

use super::answer::Refused;
use super::signature::{SIGNATURE, SignMethod, verifies};
use crate::beijing;
use crate::form::{Fields, read};
use crate::networks::Union;
use crate::sandbox::is_https;

/// What every message has.
const COMMON: [&str; 11] = [
    "version",
    "encoding",
    "signMethod",
    "txnType",
    "txnSubType",
    "bizType",
    "accessType",
    "merId",
    "orderId",
    "txnTime",
    SIGNATURE,
];

#[derive(Clone, Debug)]
pub(super) struct Message(pub(super) Fields);

impl Message {
    /// Reads a form; nothing where it is none.
    pub(super) fn read(parts: &Parts, body: &[u8]) -> Option<Self> {
        let kind = parts.headers.get(http::header::CONTENT_TYPE)?.to_str().ok()?;
        let kind = kind.split(';').next().unwrap_or_default().trim();
        let form = kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        form.then(|| read(body).ok().map(Self))?
    }

    pub(super) fn text(&self, name: &str) -> &str {
        self.0.get(name).map(String::as_str).unwrap_or_default()
    }

    /// Verifies who sent it, and checks what every message has.
    pub(super) fn verify(&self, union: &Union) -> Result<(), Refused> {
        self.require(&COMMON)?;
        let merchant = union.merchants.get(self.text("merId"));
        let merchant = merchant.ok_or_else(|| Refused::new("31", "商户状态不正确"))?;
        let method =
            SignMethod::read(self.text("signMethod")).ok_or_else(|| Refused::format("signMethod"))?;
        if method == SignMethod::Certificate {
            self.require(&["certId"])?;
        }
        if !verifies(&self.0, merchant, method) {
            return Err(Refused::new("11", "验证签名失败"));
        }
        let fields = [
            ("version", self.text("version") == "5.1.0"),
            ("encoding", self.text("encoding").eq_ignore_ascii_case("utf-8")),
            ("accessType", self.text("accessType") == "0"),
            ("bizType", matches!(self.text("bizType"), "000000" | "000201" | "000902")),
            ("orderId", is_order_id(self.text("orderId"))),
            ("txnTime", beijing::read_compact(self.text("txnTime")).is_some()),
            (
                "reqReserved",
                self.text("reqReserved").len() <= 1024 && !self.text("reqReserved").contains(['&', '=']),
            ),
        ];
        check(&fields)
    }

    /// Checks what every transaction that moves money has, and tells its amount.
    pub(super) fn verify_money(&self) -> Result<i64, Refused> {
        self.require(&["txnAmt", "backUrl", "channelType"])?;
        let amount = read_amount(self.text("txnAmt"));
        let currency = self.text("currencyCode");
        let fields = [
            ("txnAmt", amount.is_some()),
            ("backUrl", is_https(self.text("backUrl"), 256)),
            ("channelType", matches!(self.text("channelType"), "07" | "08")),
            ("currencyCode", currency.is_empty() || currency == "156"),
        ];
        check(&fields)?;
        amount.ok_or_else(|| Refused::format("txnAmt"))
    }

    pub(super) fn require(&self, names: &[&str]) -> Result<(), Refused> {
        match names.iter().find(|name| self.text(name).is_empty()) {
            Some(name) => Err(Refused::new("13", &format!("报文交易要素缺失:{name}"))),
            None => Ok(()),
        }
    }
}

pub(super) fn check(fields: &[(&str, bool)]) -> Result<(), Refused> {
    match fields.iter().find(|(_, good)| !good) {
        Some((name, _)) => Err(Refused::format(name)),
        None => Ok(()),
    }
}

/// 8 to 40 letters and digits.
fn is_order_id(text: &str) -> bool {
    (8..=40).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Cents, at most 12 digits.
pub(super) fn read_amount(text: &str) -> Option<i64> {
    let digits = (1..=12).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let minor: i64 = text.parse().ok().filter(|_| digits)?;
    (minor > 0 && !text.starts_with('0')).then_some(minor)
}
