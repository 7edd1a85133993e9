//! The app API's requests and answers.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use payplane_api::id::{AgreementNumber, CustomerId, MerchantId, OrderNumber, RefundNumber};
use payplane_api::money::Money;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::agreements::{OWNER, owner};
use super::fields::{self, Fields};
use super::payouts::{PAYEE, payee};
use super::problem::Problem;
use super::terminals;
use crate::agreement::payer::PREFIX;
use crate::channel::agreement::Owner;
use crate::payee::Payee;
use crate::state::{OrderState, OutgoingState};
use crate::store::orders::Order;
use crate::store::refunds::Refund;
use crate::terminal::Claim;

pub(super) const TEXT_CHARS_MAX: usize = 200;
pub(super) const NAME_LENGTH_MAX: usize = 128;
/// How long an order can be paid.
pub(super) const EXPIRES_IN_SECONDS: std::ops::RangeInclusive<i16> = 60..=7200;
pub(super) const EXPIRES_IN_DEFAULT: i64 = 900;

/// A payment as an app asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayRequest {
    pub order_date: Date,
    pub order_number: OrderNumber,
    pub merchant_id: MerchantId,
    pub method: String,
    pub amount: Money,
    pub description: Option<String>,
    /// Who pays, by the network's name for the payer.
    pub payer_id: Option<String>,
    /// By which agreement he pays, in place of that.
    pub agreement: Option<AgreementName>,
    /// The device on which it is paid, by the app's name for it.
    pub device_id: Option<String>,
    /// How long it can be paid.
    pub expires_in_seconds: Option<i16>,
    /// Where it is made, and what that terminal says of itself.
    pub terminal: Option<Claim>,
    /// Whose wallet it fills.
    pub top_up: Option<CustomerId>,
}

/// An agreement, as its app named it.
#[derive(Clone, PartialEq, Eq)]
pub struct AgreementName {
    pub date: Date,
    pub number: AgreementNumber,
    /// Whose account it is about, where it is asked for with the payment.
    pub owner: Option<Owner>,
}

/// Whose account it is, no log tells.
impl fmt::Debug for AgreementName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.number, self.date)
    }
}

impl AgreementName {
    fn parse(fields: &mut Fields) -> Result<Option<Self>, Problem> {
        let Some(mut inner) = fields.optional_object("agreement")? else { return Ok(None) };
        let inside = |problem: Problem| Problem {
            field: problem.field.map(|field| format!("agreement.{field}")),
            ..problem
        };
        let date = inner.text("date").and_then(|text| fields::date("date", &text)).map_err(inside)?;
        let number = inner.id("number").map_err(inside)?;
        let owner = inner.has_any(&OWNER).then(|| owner(&mut inner)).transpose().map_err(inside)?;
        inner.end().map_err(inside)?;
        Ok(Some(Self { date, number, owner }))
    }
}

impl PayRequest {
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let request = Self {
            order_date: fields.date("orderDate")?,
            order_number: fields.id("orderNumber")?,
            merchant_id: fields.id("merchantId")?,
            method: fields.text("method")?,
            amount: fields.money("amountMinor", "currency")?,
            description: fields.optional_free_text("description", TEXT_CHARS_MAX)?,
            payer_id: name(&mut fields, "payerId")?,
            agreement: AgreementName::parse(&mut fields)?,
            device_id: name(&mut fields, "deviceId")?,
            expires_in_seconds: fields.optional_number("expiresInSeconds", EXPIRES_IN_SECONDS)?,
            terminal: terminals::claim(&mut fields)?,
            top_up: top_up(&mut fields)?,
        };
        payplane_api::id::check("method", &request.method, 32)
            .map_err(|e| Problem::field("method", e.to_string()))?;
        if request.payer_id.as_deref().is_some_and(|payer| payer.starts_with(PREFIX)) {
            let why = format!("{} stands for accounts of agreements: name the agreement", PREFIX);
            return Err(Problem::field("payerId", why));
        }
        if request.agreement.is_some() && request.payer_id.is_some() {
            return Err(Problem::field("payerId", "the agreement says who pays: leave it out"));
        }
        let signs = request.agreement.as_ref().is_some_and(|name| name.owner.is_some());
        if request.device_id.is_some() && signs {
            let why = "is kept nowhere until the agreement holds: leave it out where one is asked for";
            return Err(Problem::field("deviceId", why));
        }
        if request.top_up.is_some() && signs {
            let why = "is not paid by an agreement that is asked for with it: sign that first, then name it";
            return Err(Problem::field("topUp", why));
        }
        fields.end()?;
        Ok(request)
    }

    /// Tells requests apart by what they ask for, not by how it was written.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let seconds = self.expires_in_seconds.map(|seconds| seconds.to_string());
        let (date, minor) = (self.order_date.to_string(), self.amount.minor().to_string());
        let currency = self.amount.currency();
        let mut parts = vec![
            "pay",
            &date,
            self.order_number.as_str(),
            self.merchant_id.as_str(),
            &self.method,
            &minor,
            currency.as_str(),
            if self.description.is_some() { "1" } else { "0" },
            self.description.as_deref().unwrap_or_default(),
        ];
        // Named, and only where they are given: an older request hashes as it did.
        parts.extend(self.payer_id.iter().flat_map(|payer| ["payerId", payer]));
        let agreement = self.agreement.as_ref().map(|name| (name.date.to_string(), name.number.as_str()));
        parts.extend(agreement.iter().flat_map(|(date, number)| ["agreement", date, number]));
        let owner = self.agreement.as_ref().and_then(|name| name.owner.as_ref());
        parts.extend(owner.iter().flat_map(|owner| ["owner", &owner.account, &owner.name]));
        let phone = owner.and_then(|owner| owner.phone.as_deref());
        parts.extend(phone.iter().flat_map(|phone| ["phoneNumber", phone]));
        parts.extend(self.device_id.iter().flat_map(|device| ["deviceId", device]));
        parts.extend(seconds.iter().flat_map(|seconds| ["expiresInSeconds", seconds]));
        if let Some(claim) = &self.terminal {
            parts.extend(["terminal", &claim.terminal_id, &claim.serial_number, &claim.acquirer_code]);
            parts.extend([claim.credit_code.as_str(), &claim.settlement_account, &claim.location]);
        }
        parts.extend(self.top_up.iter().flat_map(|customer| ["topUp", customer.as_str()]));
        hash(&parts)
    }

    /// How long it can be paid.
    #[must_use]
    pub fn expires_in(&self) -> SignedDuration {
        SignedDuration::from_secs(self.expires_in_seconds.map_or(EXPIRES_IN_DEFAULT, i64::from))
    }
}

fn top_up(fields: &mut Fields) -> Result<Option<CustomerId>, Problem> {
    let Some(mut inner) = fields.optional_object("topUp")? else { return Ok(None) };
    let customer = inner.id("customer").and_then(|customer| inner.end().map(|()| customer));
    customer
        .map(Some)
        .map_err(|problem| Problem { field: problem.field.map(|field| format!("topUp.{field}")), ..problem })
}

/// Somebody else's name for a payer or a device.
fn name(fields: &mut Fields, field: &str) -> Result<Option<String>, Problem> {
    let name = fields.optional_text(field)?;
    if name.as_deref().is_some_and(|name| !is_name(name)) {
        return Err(Problem::field(field, format!("1 to {NAME_LENGTH_MAX} printable ASCII characters")));
    }
    Ok(name)
}

pub(super) fn is_name(text: &str) -> bool {
    (1..=NAME_LENGTH_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A refund as an app asks for it. It has no Debug.
#[derive(Clone, PartialEq, Eq)]
pub struct RefundRequest {
    pub refund_number: RefundNumber,
    pub amount_minor: i64,
    pub reason: Option<String>,
    /// To whom it is transferred where the network gives nothing back.
    pub payee: Option<Payee>,
}

impl RefundRequest {
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let request = Self {
            refund_number: fields.id("refundNumber")?,
            amount_minor: fields.minor("amountMinor")?,
            reason: fields.optional_free_text("reason", TEXT_CHARS_MAX)?,
            payee: fields.has_any(&PAYEE).then(|| payee(&mut fields)).transpose()?,
        };
        fields.end()?;
        Ok(request)
    }

    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        let amount = self.amount_minor.to_string();
        let mut parts = vec![
            "refund",
            self.refund_number.as_str(),
            &amount,
            if self.reason.is_some() { "1" } else { "0" },
            self.reason.as_deref().unwrap_or_default(),
        ];
        if let Some(payee) = &self.payee {
            parts.extend(["payee", &payee.account, &payee.name]);
        }
        hash(&parts)
    }
}

/// Each part with its length before it, so that no two lists hash the same.
pub(super) fn hash(parts: &[&str]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// A payment as the app sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    order_id: Uuid,
    order_date: Date,
    order_number: String,
    merchant_id: String,
    method: String,
    amount_minor: i64,
    currency: String,
    status: OrderState,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fee_minor: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    config_epoch: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    settlement_date: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger_transaction_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_code: Option<String>,
    created_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<Timestamp>,
    refunded_minor: i64,
    expires_at: Timestamp,
    /// What the payer does to pay, while that is awaited.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terminal_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_up: Option<TopUp>,
}

#[derive(Debug, Serialize)]
struct TopUp {
    customer: String,
}

impl From<Order> for Payment {
    fn from(order: Order) -> Self {
        Self {
            order_id: order.order_id,
            order_date: order.order_date,
            order_number: order.order_number,
            merchant_id: order.merchant_id,
            method: order.method,
            amount_minor: order.amount_minor,
            currency: order.currency,
            status: order.status,
            channel: order.channel,
            fee_minor: order.fee_minor,
            config_hash: order.config_hash,
            config_epoch: order.config_epoch,
            settlement_date: order.settlement_date,
            ledger_transaction_id: order.ledger_transaction_id,
            failure_code: order.failure_code,
            created_at: order.created_at,
            completed_at: order.completed_at,
            refunded_minor: order.refunded_minor,
            expires_at: order.expires_at,
            action: order.action.filter(|_| order.status == OrderState::Processing),
            terminal_id: order.terminal_id,
            top_up: order.top_up_customer.map(|customer| TopUp { customer }),
        }
    }
}

/// What the app is told about a refund or a payout: its inner states are Processing.
pub(super) fn shown(state: OutgoingState) -> OrderState {
    match state {
        OutgoingState::Requested | OutgoingState::Sending | OutgoingState::Reversing => {
            OrderState::Processing
        }
        OutgoingState::Succeeded => OrderState::Succeeded,
        OutgoingState::Failed => OrderState::Failed,
    }
}

/// A refund as the app sees it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RefundView {
    refund_id: Uuid,
    refund_number: String,
    amount_minor: i64,
    currency: String,
    status: OrderState,
    #[serde(skip_serializing_if = "Option::is_none")]
    ledger_transaction_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_code: Option<String>,
    /// Where it is transferred: over which channel, and the end of the payee's account alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payee_account: Option<String>,
    created_at: Timestamp,
}

impl RefundView {
    #[must_use]
    pub fn new(refund: Refund, currency: &str) -> Self {
        let status = shown(refund.status);
        let is_final = status != OrderState::Processing;
        Self {
            refund_id: refund.refund_id,
            refund_number: refund.refund_number,
            amount_minor: refund.amount_minor,
            currency: currency.to_owned(),
            status,
            ledger_transaction_id: refund.ledger_transaction_id,
            failure_code: refund.failure_code.filter(|_| is_final),
            channel: refund.payee_masked.is_some().then_some(refund.channel),
            payee_account: refund.payee_masked,
            created_at: refund.created_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = r#"{"orderDate":"2026-11-24","orderNumber":"o1","merchantId":"M1","method":"bank-account",
        "amountMinor":100,"currency":"CNY","agreement":{"date":"2026-11-23","number":"a1"}}"#;

    fn parse(body: &str) -> Result<PayRequest, Problem> {
        PayRequest::parse(body.as_bytes())
    }

    #[test]
    fn an_agreement_is_asked_for_with_whose_account_it_is_about() {
        let owned =
            |owner: &str| BODY.replacen("\"number\":\"a1\"", &format!("\"number\":\"a1\",{owner}"), 1);
        let good = owned("\"accountNumber\":\"6222\",\"accountName\":\"Li\"");
        let first = PayRequest::parse(good.as_bytes()).unwrap();
        assert!(!format!("{first:?}").contains("6222"), "{first:?}");
        assert_ne!(first.hash(), PayRequest::parse(BODY.as_bytes()).unwrap().hash());
        let phone = ("\"Li\"", "\"Li\",\"phoneNumber\":\"13800138000\"");
        for (from, to) in [("6222", "6223"), ("\"Li\"", "\"Lin\""), phone] {
            let other = PayRequest::parse(good.replacen(from, to, 1).as_bytes()).unwrap();
            assert_ne!(other.hash(), first.hash(), "{to}");
        }
        for (bad, field) in [
            (owned("\"accountNumber\":\"6222\""), "agreement.accountName"),
            (owned("\"accountName\":\"Li\""), "agreement.accountNumber"),
            (owned("\"phoneNumber\":\"13800138000\""), "agreement.accountNumber"),
            (owned("\"accountNumber\":\"62 22\",\"accountName\":\"Li\""), "agreement.accountNumber"),
            (good.replacen('{', "{\"deviceId\":\"d\",", 1), "deviceId"),
        ] {
            let refused = PayRequest::parse(bad.as_bytes()).unwrap_err();
            assert_eq!(refused.field.as_deref(), Some(field), "{bad}");
        }
    }

    #[test]
    fn a_top_up_says_whose_wallet_it_fills() {
        let plain = parse(BODY).unwrap();
        let with = |top_up: &str| BODY.replacen('{', &format!("{{\"topUp\":{top_up},"), 1);
        let first = parse(&with("{\"customer\":\"u-1\"}")).unwrap();
        assert_eq!(first.top_up.as_ref().map(CustomerId::as_str), Some("u-1"));
        assert_eq!(parse(&with("null")).unwrap(), plain);
        let other = parse(&with("{\"customer\":\"u-2\"}")).unwrap();
        assert!(first.hash() != plain.hash() && first.hash() != other.hash());
        let long = format!("{{\"customer\":\"{}\"}}", "u".repeat(65));
        for (bad, field) in [
            ("{}", "topUp.customer"),
            ("{\"customer\":null}", "topUp.customer"),
            ("{\"customer\":\"a:b\"}", "topUp.customer"),
            (long.as_str(), "topUp.customer"),
            ("{\"customer\":\"u\",\"amountMinor\":1}", "topUp.amountMinor"),
            ("\"u-1\"", "topUp"),
        ] {
            assert_eq!(parse(&with(bad)).unwrap_err().field.as_deref(), Some(field), "{bad}");
        }
        let owner = "\"a1\",\"accountNumber\":\"6222\",\"accountName\":\"Li\"";
        let signing = with("{\"customer\":\"u-1\"}").replacen("\"a1\"", owner, 1);
        assert_eq!(parse(&signing).unwrap_err().field.as_deref(), Some("topUp"));
    }

    #[test]
    fn an_agreement_takes_the_place_of_a_payer() {
        let first = parse(BODY).unwrap();
        assert_eq!(first.agreement.as_ref().map(|name| name.number.as_str()), Some("a1"));
        for (from, to, field) in [
            ("{\"orderDate", "{\"payerId\":\"6222\",\"orderDate", "payerId"),
            ("11-23", "11-31", "agreement.date"),
            ("\"a1\"", "\"a 1\"", "agreement.number"),
            (",\"number\":\"a1\"", "", "agreement.number"),
            ("\"a1\"", "\"a1\",\"token\":\"t\"", "agreement.token"),
        ] {
            let bad = BODY.replacen(from, to, 1);
            assert_eq!(parse(&bad).unwrap_err().field.as_deref(), Some(field), "{bad}");
        }
        let absent = BODY.replacen(",\"agreement\":{\"date\":\"2026-11-23\",\"number\":\"a1\"}", "", 1);
        let null = BODY.replacen("{\"date\":\"2026-11-23\",\"number\":\"a1\"}", "null", 1);
        assert_eq!(parse(&absent).unwrap(), parse(&null).unwrap());
        let others = [absent, BODY.replacen("11-23", "11-22", 1), BODY.replacen("\"a1\"", "\"a2\"", 1)];
        for other in others {
            assert_ne!(parse(&other).unwrap().hash(), first.hash(), "{other}");
        }
    }
}
