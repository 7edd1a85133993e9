//! What requests say. Lengths and ranges are those of docs/bank-direct.md.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answer::Answer;
use crate::book::Asked;
use crate::details::Details;
use crate::sandbox::{EXPIRES, is_https};

const AMOUNT_MINOR_MAX: i64 = 9_007_199_254_740_991;
const EXPIRES_WITHIN: SignedDuration = SignedDuration::from_hours(24);

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Pay {
    pub(super) number: String,
    pub(super) amount_minor: i64,
    currency: String,
    payer_account: String,
    description: String,
    expires_at: Timestamp,
    notify_url: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Refund {
    pub(super) number: String,
    original_number: String,
    pub(super) amount_minor: i64,
    currency: String,
    notify_url: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Payout {
    pub(super) number: String,
    pub(super) amount_minor: i64,
    currency: String,
    payee_account: String,
    payee_name: String,
    description: String,
    notify_url: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Number {
    pub(super) number: String,
}

/// Reads a body of JSON.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Answer> {
    serde_json::from_slice(body).map_err(|error| {
        let detail = error.to_string();
        if error.is_data() { Answer::invalid_field(&detail) } else { Answer::invalid_body(&detail) }
    })
}

pub(super) fn is_number(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn is_currency(text: &str) -> bool {
    text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

pub(super) fn is_account(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

pub(super) fn is_text(text: &str) -> bool {
    (1..=128).contains(&text.chars().count()) && !text.contains(char::is_control)
}

pub(super) fn is_notify_url(url: &str) -> bool {
    is_https(url, 255) && !url.contains('?')
}

/// Names the first field that is not what it must be.
pub(super) fn check(fields: &[(&str, bool)]) -> Result<(), Answer> {
    match fields.iter().find(|(_, good)| !good) {
        Some((field, _)) => Err(Answer::invalid_field(&format!("{field} is out of its range"))),
        None => Ok(()),
    }
}

impl Pay {
    pub(super) fn check(&self) -> Result<(), Answer> {
        let latest = Timestamp::now().saturating_add(EXPIRES_WITHIN).unwrap_or(Timestamp::MAX);
        check(&[
            ("number", is_number(&self.number)),
            ("amountMinor", (1..=AMOUNT_MINOR_MAX).contains(&self.amount_minor)),
            ("currency", is_currency(&self.currency)),
            ("payerAccount", is_account(&self.payer_account)),
            ("description", is_text(&self.description)),
            ("expiresAt", self.expires_at <= latest),
            ("notifyUrl", is_notify_url(&self.notify_url)),
        ])
    }

    pub(super) fn is_over(&self) -> bool {
        self.expires_at <= Timestamp::now()
    }

    pub(super) fn asked(&self) -> (Asked, Details) {
        let asked = Asked::Pay { currency: self.currency.clone(), method: "bank-account".to_owned() };
        let details = Details::default()
            .with("currency", &self.currency)
            .with("payerAccount", &self.payer_account)
            .with("description", &self.description)
            .with(EXPIRES, &self.expires_at.to_string())
            .with("notifyUrl", &self.notify_url);
        (asked, details)
    }
}

impl Refund {
    pub(super) fn check(&self) -> Result<(), Answer> {
        check(&[
            ("number", is_number(&self.number)),
            ("originalNumber", is_number(&self.original_number)),
            ("amountMinor", (1..=AMOUNT_MINOR_MAX).contains(&self.amount_minor)),
            ("currency", is_currency(&self.currency)),
            ("notifyUrl", is_notify_url(&self.notify_url)),
        ])
    }

    pub(super) fn asked(&self) -> (Asked, Details) {
        let asked = Asked::Refund { original_number: self.original_number.clone() };
        let details = Details::default().with("currency", &self.currency).with("notifyUrl", &self.notify_url);
        (asked, details)
    }
}

impl Payout {
    pub(super) fn check(&self) -> Result<(), Answer> {
        check(&[
            ("number", is_number(&self.number)),
            ("amountMinor", (1..=AMOUNT_MINOR_MAX).contains(&self.amount_minor)),
            ("currency", is_currency(&self.currency)),
            ("payeeAccount", is_account(&self.payee_account)),
            ("payeeName", is_text(&self.payee_name)),
            ("description", is_text(&self.description)),
            ("notifyUrl", is_notify_url(&self.notify_url)),
        ])
    }

    pub(super) fn asked(&self) -> (Asked, Details) {
        let asked = Asked::Payout { currency: self.currency.clone() };
        let details = Details::default()
            .with("currency", &self.currency)
            .with("payeeAccount", &self.payee_account)
            .with("payeeName", &self.payee_name)
            .with("description", &self.description)
            .with("notifyUrl", &self.notify_url);
        (asked, details)
    }
}

impl Number {
    pub(super) fn check(&self) -> Result<(), Answer> {
        check(&[("number", is_number(&self.number))])
    }
}
