//! The requests of one merchant of UnionPay's.

use std::borrow::Cow;

use jiff::Timestamp;
use payplane_api::money::Money;

use super::message::{PAYMENT, QUERY, REFUND};
use super::sign::Signer;
use super::time;
use super::token::Tokens;
use crate::channel::{Pay, PrepareError, Repay, Sent};

const CURRENCY: &str = "CNY";
/// CNY in ISO 4217's numbers.
pub(super) const CURRENCY_CODE: &str = "156";
const DESCRIPTION_BYTES_MAX: usize = 32;

/// A way to pay.
pub(super) struct Service {
    pub method: &'static str,
    pub path: &'static str,
    pub sub_type: &'static str,
    pub biz_type: &'static str,
    /// Where an answer has what the payer needs, and what an app calls it; none where he has
    /// agreed before.
    pub action: Option<(&'static str, &'static str)>,
}

/// The payer scans a code (产品: 二维码支付, 申请二维码).
const QR: Service = Service {
    method: "unionpay-qr",
    path: "/gateway/api/backTransReq.do",
    sub_type: "07",
    biz_type: "000000",
    action: Some(("qrCode", "QrCode")),
};

/// An app calls UnionPay's (产品: 手机控件支付).
const APP: Service = Service {
    method: "unionpay-app",
    path: "/gateway/api/appTransReq.do",
    sub_type: "01",
    biz_type: "000201",
    action: Some(("tn", "UnionPayApp")),
};

/// A card that was opened is debited (产品: 无跳转token, 消费).
pub(super) const TOKEN: Service = Service {
    method: "unionpay-card",
    path: "/gateway/api/backTransReq.do",
    sub_type: "01",
    biz_type: "000902",
    action: None,
};

pub(super) fn service(method: &str) -> Option<&'static Service> {
    [&QR, &APP, &TOKEN].into_iter().find(|service| service.method == method)
}

/// A merchant of UnionPay's: what it signs, and what it believes.
pub(super) struct Merchant {
    pub mer_id: String,
    pub notify_url: String,
    pub signer: Signer,
    /// Where it has agreements.
    pub tokens: Option<Tokens>,
}

pub(super) type Common<'a> = (&'static str, &'static str, &'static str, &'a str, Timestamp);

impl Merchant {
    pub(super) fn sign<'f, const N: usize>(
        &'f self,
        (txn_type, sub_type, biz_type, number, at): Common<'f>,
        more: [(&'static str, Cow<'f, str>); N],
    ) -> Result<String, PrepareError> {
        let mut fields: Vec<(&'static str, Cow<'f, str>)> = Vec::with_capacity(24);
        fields.extend([
            ("txnType", txn_type.into()),
            ("txnSubType", sub_type.into()),
            ("bizType", biz_type.into()),
            ("accessType", "0".into()),
            ("merId", self.mer_id.as_str().into()),
            ("orderId", number.into()),
            ("txnTime", time::in_china(at).into()),
        ]);
        fields.extend(more);
        let body = self.signer.sign(fields);
        body.ok_or_else(|| PrepareError { why: "signing failed".to_owned() })
    }

    pub(super) fn pay(
        &self,
        service: &Service,
        pay: &Pay<'_>,
        at: Timestamp,
    ) -> Result<String, PrepareError> {
        let is_app = service.method == APP.method;
        let description = if is_app { shown(pay.description) } else { String::new() };
        let token = match (service.method == TOKEN.method, pay.payer) {
            (false, _) => String::new(),
            (true, Some(token)) => self.tokens()?.named(token),
            (true, None) => return Err(PrepareError { why: "the payment names no token".to_owned() }),
        };
        let common = (PAYMENT, service.sub_type, service.biz_type, pay.number, at);
        self.sign(
            common,
            [
                ("channelType", "08".into()),
                ("accType", if is_app { "01".into() } else { "".into() }),
                ("currencyCode", CURRENCY_CODE.into()),
                ("txnAmt", pay.amount.minor().to_string().into()),
                ("payTimeout", time::in_china(pay.expires_at).into()),
                ("backUrl", self.notify_url.as_str().into()),
                ("orderDesc", description.into()),
                ("tokenPayData", token.into()),
            ],
        )
    }

    pub(super) fn refund(&self, repay: &Repay<'_>, at: Timestamp) -> Result<String, PrepareError> {
        let original = repay.original.network_id.as_deref();
        let original =
            original.ok_or_else(|| PrepareError { why: "the payment has no queryId".to_owned() })?;
        self.sign(
            (REFUND, "00", "000000", repay.number, at),
            [
                ("channelType", "08".into()),
                ("origQryId", original.into()),
                ("currencyCode", CURRENCY_CODE.into()),
                ("txnAmt", repay.amount.minor().to_string().into()),
                ("backUrl", self.notify_url.as_str().into()),
            ],
        )
    }

    pub(super) fn query(&self, sent: &Sent) -> Result<String, PrepareError> {
        self.sign((QUERY, "00", "000000", &sent.number, sent.signed_at), [])
    }
}

/// What the payer is shown, without what UnionPay's own parsers trip over.
fn shown(description: &str) -> String {
    let mut shown = String::new();
    for char in description.chars().filter(|char| !char.is_control() && !"&={}[]\"'".contains(*char)) {
        if shown.len().saturating_add(char.len_utf8()) > DESCRIPTION_BYTES_MAX {
            break;
        }
        shown.push(char);
    }
    shown.trim().to_owned()
}

/// UnionPay's merchants in China are paid in CNY.
pub(super) fn in_cny(amount: Money) -> Result<(), PrepareError> {
    if amount.currency().as_str() == CURRENCY {
        return Ok(());
    }
    Err(PrepareError { why: format!("UnionPay takes {CURRENCY} only") })
}
