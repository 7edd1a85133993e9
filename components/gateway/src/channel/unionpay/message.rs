//! UnionPay's messages of one merchant, and what they mean.

use std::borrow::Cow;

use jiff::Timestamp;
use payplane_api::money::Money;
use serde_json::{Value, json};

use super::codes::{self, Refused, State};
use super::fields::Fields;
use super::sign::Signer;
use super::time;
use crate::channel::{Kind, Outcome, Pay, PrepareError, Repay, Sent, storable};

pub(super) const CURRENCY: &str = "CNY";
/// CNY in ISO 4217's numbers.
const CURRENCY_CODE: &str = "156";
pub(super) const PAYMENT: &str = "01";
pub(super) const REFUND: &str = "04";
const QUERY: &str = "00";
const OK: &str = "00";
const DESCRIPTION_BYTES_MAX: usize = 32;
const AMOUNT_DIGITS_MAX: usize = 12;

/// A way to pay.
pub(super) struct Service {
    pub method: &'static str,
    pub path: &'static str,
    sub_type: &'static str,
    biz_type: &'static str,
    /// Where an answer has what the payer needs, and what an app calls it.
    result: &'static str,
    action: &'static str,
}

/// The payer scans a code (产品: 二维码支付, 申请二维码).
const QR: Service = Service {
    method: "unionpay-qr",
    path: "/gateway/api/backTransReq.do",
    sub_type: "07",
    biz_type: "000000",
    result: "qrCode",
    action: "QrCode",
};

/// An app calls UnionPay's (产品: 手机控件支付).
const APP: Service = Service {
    method: "unionpay-app",
    path: "/gateway/api/appTransReq.do",
    sub_type: "01",
    biz_type: "000201",
    result: "tn",
    action: "UnionPayApp",
};

pub(super) fn service(method: &str) -> Option<&'static Service> {
    [&QR, &APP].into_iter().find(|service| service.method == method)
}

/// A merchant of UnionPay's: what it signs, and what it believes.
pub(super) struct Merchant {
    pub mer_id: String,
    pub notify_url: String,
    pub signer: Signer,
}

/// What a query says.
#[derive(Debug, PartialEq)]
pub(super) enum Looked {
    Said(State, Outcome),
    NotFound,
    Nothing(String),
}

type Common<'a> = (&'static str, &'static str, &'static str, &'a str, Timestamp);

impl Merchant {
    fn sign<'f, const N: usize>(
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

    /// Reads an answer. It is believed where UnionPay signed it, and is about what was asked.
    fn read<'a>(&self, body: &'a [u8], about: (&str, Timestamp)) -> Result<Fields<'a>, String> {
        let text = std::str::from_utf8(body).map_err(|_| "an answer that is not text".to_owned())?;
        let now = Timestamp::now();
        // Answers are sent as they are; one that is form-encoded after all verifies as that.
        let believed = |fields: Option<Fields<'a>>| fields.filter(|read| self.signer.verifies(read, now));
        let fields = believed(Fields::answer(text)).or_else(|| believed(Fields::form(text)));
        let fields = fields.ok_or_else(|| "an answer whose signature does not verify".to_owned())?;
        let ours = fields.is("merId", &self.mer_id)
            && fields.is("orderId", about.0)
            && fields.is("txnTime", &time::in_china(about.1));
        if ours { Ok(fields) } else { Err("an answer about something else".to_owned()) }
    }

    /// What the answer to a new order says.
    pub(super) fn ordered(&self, service: &Service, body: &[u8], about: (&str, Timestamp)) -> Outcome {
        let fields = match self.read(body, about) {
            Ok(fields) if fields.is("txnType", PAYMENT) => fields,
            Ok(_) => return unknown("an answer of another kind"),
            Err(why) => return Outcome::Unknown { why },
        };
        match (fields.get("respCode"), fields.get(service.result)) {
            (Some(OK), Some(result)) => {
                let action: Value = json!({"type": service.action, service.result: result});
                Outcome::Processing { network_id: None, action: Some(action) }
            }
            (Some(OK), None) => unknown("an order without what the payer needs"),
            (code, _) => refused(code, codes::of_payment_request),
        }
    }

    /// What the answer to a refund says.
    pub(super) fn repaid(&self, body: &[u8], about: (&str, Timestamp)) -> Outcome {
        let fields = match self.read(body, about) {
            Ok(fields) if fields.is("txnType", REFUND) => fields,
            Ok(_) => return unknown("an answer of another kind"),
            Err(why) => return Outcome::Unknown { why },
        };
        match fields.get("respCode") {
            // Only accepted.
            Some(OK) => Outcome::Processing { network_id: query_id(&fields), action: None },
            code => refused(code, codes::of_refund_request),
        }
    }

    /// What the answer to a query says.
    pub(super) fn looked(&self, sent: &Sent, body: &[u8]) -> Looked {
        let fields = match self.read(body, (&sent.number, sent.signed_at)) {
            Ok(fields) => fields,
            Err(why) => return Looked::Nothing(why),
        };
        let (of_kind, is_refund) = match sent.kind {
            Kind::Payment { .. } => (fields.is("txnType", PAYMENT), false),
            Kind::Refund { .. } => (fields.is("txnType", REFUND), true),
        };
        match (fields.get("respCode"), fields.get("origRespCode")) {
            // It names the kind that it found, and the query's own where it found nothing.
            (Some("34"), None) if of_kind || fields.is("txnType", QUERY) => Looked::NotFound,
            (Some(OK), Some(code)) if of_kind => {
                let state = codes::of_original(code, is_refund);
                Looked::Said(state, outcome(&fields, state, code))
            }
            (code, original) => Looked::Nothing(format!("answer {code:?}, of the original {original:?}")),
        }
    }
}

/// The outcome that a query or a notification tells of.
pub(super) fn outcome(fields: &Fields<'_>, state: State, code: &str) -> Outcome {
    match state {
        State::Succeeded => succeeded(fields),
        State::Waiting | State::UnderWay => {
            Outcome::Processing { network_id: query_id(fields), action: None }
        }
        State::Failed => Outcome::Declined { code: storable(code), network_id: query_id(fields) },
        State::Unknown => Outcome::Unknown { why: format!("code {code}") },
    }
}

/// A success says which and how much, in fen. `txnAmt` is what was asked for; what UnionPay
/// settles (`settleAmt`) may be less by a discount that it pays.
fn succeeded(fields: &Fields<'_>) -> Outcome {
    let is_cny = fields.get("currencyCode").is_none_or(|code| code == CURRENCY_CODE);
    let minor = fields.get("txnAmt").and_then(fen).filter(|_| is_cny);
    // When the network passed it on. `txnTime`, the request's own time, where that is missing:
    // the same in whatever tells of it.
    let requested_at = fields.get("txnTime").and_then(time::parse);
    let at = requested_at.map(|from| {
        let trace = fields.get("traceTime").and_then(|text| time::of_trace(text, from));
        trace.unwrap_or(from)
    });
    match (fields.get("queryId"), at, minor) {
        (Some(id), Some(at), Some(minor)) => Outcome::succeeded(id, at, Some(minor)),
        _ => unknown("a success without queryId, time or amount in CNY"),
    }
}

fn query_id(fields: &Fields<'_>) -> Option<String> {
    fields.get("queryId").map(storable)
}

fn refused(code: Option<&str>, meaning: fn(&str) -> Refused) -> Outcome {
    let Some(code) = code else { return unknown("an answer without a code") };
    match meaning(code) {
        Refused::NotTaken => Outcome::NotSent { why: format!("refused: {}", storable(code)) },
        Refused::Declined => Outcome::Declined { code: storable(code), network_id: None },
        Refused::Unknown => Outcome::Unknown { why: format!("answer {}", storable(code)) },
    }
}

fn unknown(why: &str) -> Outcome {
    Outcome::Unknown { why: why.to_owned() }
}

/// An amount in fen: 1 to 12 digits.
fn fen(text: &str) -> Option<i64> {
    let is_amount =
        (1..=AMOUNT_DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    is_amount.then(|| text.parse().ok())?
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
