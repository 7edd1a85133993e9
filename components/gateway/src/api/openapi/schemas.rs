//! The schemas of requests and answers.

use payplane_api::money::AMOUNT_MINOR_MAX;
use serde_json::{Map, Value, json};

use crate::api::accounts::ACCOUNTS;
use crate::api::agreements::{CODE_LENGTH, PHONE, PURPOSE_CHARS_MAX};
use crate::api::payouts::{NAME_CHARS_MAX, PAYEE, PAYEE_LENGTH_MAX};
use crate::api::problem::Code;
use crate::api::terminals::{ACCOUNT_LENGTH_MAX, ACQUIRER_LENGTH_MAX, LOCATION_CHARS_MAX, SERIAL_LENGTH_MAX};
use crate::api::wire::{EXPIRES_IN_DEFAULT, EXPIRES_IN_SECONDS, NAME_LENGTH_MAX, TEXT_CHARS_MAX};
use crate::state::OrderState;
use crate::state::agreement::AgreementState;

pub(super) fn all(currencies: &[String]) -> Value {
    let currency = one_of(currencies);
    json!({
        "PayRequest": pay_request(&currency),
        "RefundRequest": refund_request(),
        "Payment": payment(),
        "Refund": refund(),
        "Balance": balance(),
        "Statement": statement(),
        "WalletBalance": wallet_balance(),
        "Events": events(),
        "PayoutRequest": payout_request(&currency),
        "Payout": payout(),
        "AgreementRequest": agreement_request(),
        "Agreement": agreement(),
        "OneTimeCode": one_time_code(),
        "Problem": problem(),
    })
}

pub(super) fn one_of(currencies: &[String]) -> Value {
    json!({"type": "string", "enum": currencies})
}

fn pay_request(currency: &Value) -> Value {
    let required = [
        ("orderDate", date()),
        ("orderNumber", id(64)),
        ("merchantId", id(32)),
        ("method", id(32)),
        ("amountMinor", amount(1)),
        ("currency", currency.clone()),
    ];
    let seconds = json!({"type": ["integer", "null"], "default": EXPIRES_IN_DEFAULT,
        "minimum": EXPIRES_IN_SECONDS.start(), "maximum": EXPIRES_IN_SECONDS.end()});
    let name = json!({"type": ["string", "null"], "pattern": format!("^[!-~]{{1,{NAME_LENGTH_MAX}}}$")});
    let optional = [
        ("description", text()),
        ("payerId", name.clone()),
        ("agreement", agreement_name()),
        ("deviceId", name),
        ("expiresInSeconds", seconds),
        ("terminal", terminal()),
        ("topUp", nullable(top_up())),
    ];
    let mut request = closed(object(&required, &optional));
    let both = json!({"payerId": {"type": "string"}, "agreement": {"type": "object"}});
    let asked = json!({"type": "object", "required": ["accountNumber"]});
    let device = json!({"deviceId": {"type": "string"}, "agreement": asked});
    let top_up = json!({"topUp": {"type": "object"}, "agreement": asked});
    request["not"] = json!({"anyOf": [
        {"required": ["payerId", "agreement"], "properties": both},
        {"required": ["deviceId", "agreement"], "properties": device},
        {"required": ["topUp", "agreement"], "properties": top_up},
    ]});
    request
}

/// The five elements, and which terminal it is.
fn terminal() -> Value {
    let code = "^[0-9A-HJ-NPQRTUWXY]{18}$";
    let required = [
        ("terminalId", id(32)),
        ("serialNumber", id(SERIAL_LENGTH_MAX)),
        ("acquirerCode", id(ACQUIRER_LENGTH_MAX)),
        ("unifiedSocialCreditCode", json!({"type": "string", "pattern": code})),
        ("settlementAccount", id(ACCOUNT_LENGTH_MAX)),
        (
            "location",
            json!({"type": "string", "minLength": 1, "maxLength": LOCATION_CHARS_MAX, "pattern": FREE}),
        ),
    ];
    nullable(closed(object(&required, &[])))
}

/// Whose wallet a payment fills.
fn top_up() -> Value {
    closed(object(&[("customer", id(64))], &[]))
}

fn refund_request() -> Value {
    let required = [("refundNumber", id(64)), ("amountMinor", amount(1))];
    let [account, name] = payee();
    let mut request = closed(object(&required, &[("reason", text()), account, name]));
    let [account, name] = PAYEE;
    request["dependentRequired"] = json!({account: [name], name: [account]});
    request
}

fn payment() -> Value {
    let required = [
        ("orderId", uuid()),
        ("orderDate", date()),
        ("orderNumber", id(64)),
        ("merchantId", id(32)),
        ("method", id(32)),
        ("amountMinor", amount(1)),
        ("currency", currency()),
        ("status", status()),
        ("createdAt", time()),
        ("refundedMinor", amount(0)),
        ("expiresAt", time()),
    ];
    let action = json!({"type": "object", "required": ["type"], "properties": {"type": {"type": "string"}}});
    let optional = [
        ("channel", json!({"type": "string"})),
        ("feeMinor", amount(0)),
        ("configHash", json!({"type": "string"})),
        ("configEpoch", json!({"type": "integer", "minimum": 0})),
        ("ledgerTransactionId", uuid()),
        ("failureCode", json!({"type": "string"})),
        ("completedAt", time()),
        ("action", action),
        ("terminalId", id(32)),
        ("settlementDate", date()),
        ("topUp", top_up()),
    ];
    object(&required, &optional)
}

fn refund() -> Value {
    let required = [
        ("refundId", uuid()),
        ("refundNumber", id(64)),
        ("amountMinor", amount(1)),
        ("currency", currency()),
        ("status", status()),
        ("createdAt", time()),
    ];
    let optional = [
        ("ledgerTransactionId", uuid()),
        ("failureCode", json!({"type": "string"})),
        ("channel", json!({"type": "string", "description": "Over which it is transferred, if it is."})),
        ("payeeAccount", json!({"type": "string", "description": "Where it is transferred: its end alone."})),
    ];
    object(&required, &optional)
}

fn balance() -> Value {
    let names = ACCOUNTS.map(|account| format!("{account}Minor"));
    let minor = names.iter().map(|name| (name.as_str(), amount(0)));
    let line: Vec<_> = [("currency", currency())].into_iter().chain(minor).collect();
    let lines = json!({"type": "array", "items": object(&line, &[])});
    object(&[("merchantId", id(32)), ("balances", lines)], &[])
}

fn wallet_balance() -> Value {
    let line = object(&[("currency", currency()), ("availableMinor", amount(0))], &[]);
    let lines = json!({"type": "array", "items": line});
    object(&[("customer", id(64)), ("balances", lines)], &[])
}

fn statement() -> Value {
    let change = json!({"type": "integer", "minimum": -AMOUNT_MINOR_MAX, "maximum": AMOUNT_MINOR_MAX});
    let line = [
        ("position", json!({"type": "integer", "minimum": 1})),
        ("transactionId", uuid()),
        ("line", json!({"type": "integer", "minimum": 1})),
        ("kind", json!({"type": "string"})),
        ("changeMinor", change),
        ("effectiveTime", time()),
        ("accountingDate", date()),
    ];
    let required = [
        ("merchantId", id(32)),
        ("account", json!({"type": "string", "enum": ACCOUNTS})),
        ("currency", currency()),
        ("entries", json!({"type": "array", "items": object(&line, &[])})),
        ("next", json!({"type": "string"})),
        ("more", json!({"type": "boolean"})),
    ];
    object(&required, &[])
}

fn payee() -> [(&'static str, Value); 2] {
    let account = json!({"type": "string", "pattern": format!("^[!-~]{{1,{PAYEE_LENGTH_MAX}}}$")});
    let name = json!({"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX, "pattern": FREE});
    [(PAYEE[0], account), (PAYEE[1], name)]
}

fn payout_request(currency: &Value) -> Value {
    let [account, name] = payee();
    let required = [
        ("orderDate", date()),
        ("payoutNumber", id(64)),
        ("merchantId", id(32)),
        ("amountMinor", amount(1)),
        ("currency", currency.clone()),
        account,
        name,
    ];
    closed(object(&required, &[("description", text())]))
}

fn payout() -> Value {
    let required = [
        ("payoutId", uuid()),
        ("orderDate", date()),
        ("payoutNumber", id(64)),
        ("merchantId", id(32)),
        ("amountMinor", amount(1)),
        ("currency", currency()),
        ("status", status()),
        ("channel", json!({"type": "string"})),
        ("payeeAccount", json!({"type": "string", "description": "Its end alone."})),
        ("createdAt", time()),
    ];
    let optional = [
        ("ledgerTransactionId", uuid()),
        ("failureCode", json!({"type": "string"})),
        ("completedAt", time()),
    ];
    object(&required, &optional)
}

/// A page of what happened.
fn events() -> Value {
    let place = json!({"type": "string"});
    let event = object(
        &[
            ("place", place.clone()),
            ("eventId", uuid()),
            ("kind", json!({"type": "string"})),
            ("createdAt", time()),
            ("data", json!({"type": "object"})),
        ],
        &[],
    );
    let events = json!({"type": "array", "items": event});
    object(&[("events", events), ("next", place), ("more", json!({"type": "boolean"}))], &[])
}

/// By which a payment is made, in place of `payerId`.
fn agreement_name() -> Value {
    let (owner, phone) = (owner(), phone());
    let optional = owner.into_iter().chain([phone]).collect::<Vec<_>>();
    let mut name = nullable(closed(object(&[("date", date()), ("number", id(64))], &optional)));
    name["dependentRequired"] = json!({"accountNumber": ["accountName"], "accountName": ["accountNumber"],
        "phoneNumber": ["accountNumber"]});
    name
}

/// Whose account an agreement is about.
fn owner() -> [(&'static str, Value); 2] {
    let account = json!({"type": "string", "pattern": format!("^[!-~]{{1,{PAYEE_LENGTH_MAX}}}$")});
    let name = json!({"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX, "pattern": FREE});
    [("accountNumber", account), ("accountName", name)]
}

/// Where he is sent the code, for networks that have to be told.
fn phone() -> (&'static str, Value) {
    ("phoneNumber", json!({"type": ["string", "null"], "pattern": PHONE}))
}

fn agreement_request() -> Value {
    let [account, owner] = owner();
    let purpose =
        json!({"type": ["string", "null"], "minLength": 1, "maxLength": PURPOSE_CHARS_MAX, "pattern": FREE});
    let required = [
        ("agreementDate", date()),
        ("agreementNumber", id(64)),
        ("merchantId", id(32)),
        ("method", id(32)),
        account,
        owner,
    ];
    closed(object(&required, &[("description", purpose), phone()]))
}

fn agreement() -> Value {
    let states: Vec<_> = AgreementState::ALL.iter().map(|state| state.as_str()).collect();
    let required = [
        ("agreementId", uuid()),
        ("agreementDate", date()),
        ("agreementNumber", id(64)),
        ("merchantId", id(32)),
        ("method", id(32)),
        ("status", json!({"type": "string", "enum": states})),
        ("channel", json!({"type": "string"})),
        ("accountNumber", json!({"type": "string", "description": "Its end alone."})),
        (
            "payerId",
            json!({"type": "string", "description": "What limits and risk policies know its account by."}),
        ),
        ("createdAt", time()),
    ];
    object(&required, &[("failureCode", json!({"type": "string"})), ("endedAt", time())])
}

fn one_time_code() -> Value {
    let pattern = format!("^[A-Za-z0-9]{{{},{}}}$", CODE_LENGTH.start(), CODE_LENGTH.end());
    closed(object(&[("code", json!({"type": "string", "pattern": pattern}))], &[]))
}

/// RFC 9457.
fn problem() -> Value {
    let codes: Vec<_> = Code::ALL.iter().map(|code| format!("{code:?}")).collect();
    let string = || json!({"type": "string"});
    let required = [
        ("type", json!({"type": "string", "format": "uri"})),
        ("title", string()),
        ("status", json!({"type": "integer", "minimum": 400, "maximum": 599})),
        ("code", json!({"type": "string", "enum": codes})),
        ("detail", string()),
    ];
    object(&required, &[("field", string())])
}

fn object(required: &[(&str, Value)], optional: &[(&str, Value)]) -> Value {
    let names: Vec<_> = required.iter().map(|(name, _)| *name).collect();
    let all = required.iter().chain(optional).map(|(name, schema)| ((*name).to_owned(), schema.clone()));
    json!({"type": "object", "required": names, "properties": all.collect::<Map<_, _>>()})
}

fn closed(mut object: Value) -> Value {
    object["additionalProperties"] = false.into();
    object
}

/// Null is as good as absent.
fn nullable(mut object: Value) -> Value {
    object["type"] = json!(["object", "null"]);
    object
}

/// A name that a client chose.
pub(super) fn id(length_max: usize) -> Value {
    json!({"type": "string", "pattern": format!("^[A-Za-z0-9._-]{{1,{length_max}}}$")})
}

pub(super) fn date() -> Value {
    json!({"type": "string", "format": "date", "pattern": "^2[0-9]{3}-[0-9]{2}-[0-9]{2}$"})
}

fn amount(least: i64) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": AMOUNT_MINOR_MAX})
}

/// No control characters.
const FREE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*$";

fn text() -> Value {
    json!({"type": ["string", "null"], "minLength": 1, "maxLength": TEXT_CHARS_MAX, "pattern": FREE})
}

fn currency() -> Value {
    json!({"type": "string", "pattern": "^[A-Z]{3}$"})
}

fn uuid() -> Value {
    json!({"type": "string", "format": "uuid"})
}

fn time() -> Value {
    json!({"type": "string", "format": "date-time"})
}

fn status() -> Value {
    let all: Vec<_> = OrderState::ALL.iter().map(|state| state.as_str()).collect();
    json!({"type": "string", "enum": all})
}
