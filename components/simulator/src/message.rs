//! What merchants send and the network answers: JSON of bounded, checked fields.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use snafu::{OptionExt, Snafu, ensure};

const AMOUNT_MINOR_MAX: i64 = (1 << 53) - 1;
const NUMBER_LENGTH_MAX: usize = 64;
const METHOD_LENGTH_MAX: usize = 32;
const PAYEE_CHARS_MAX: usize = 128;

#[derive(Debug, Snafu, PartialEq, Eq)]
pub enum MessageError {
    #[snafu(display("the body is not the JSON object that this path takes"))]
    Shape,
    #[snafu(display("field {field} is outside its range"))]
    Field { field: &'static str },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PayRequest {
    pub number: String,
    pub amount_minor: i64,
    pub currency: String,
    pub method: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RefundRequest {
    pub number: String,
    pub original_number: String,
    pub amount_minor: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PayoutRequest {
    pub number: String,
    pub amount_minor: i64,
    pub currency: String,
    pub payee_account: String,
    pub payee_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct QueryRequest {
    pub number: String,
}

/// What became of a pay, a refund or a payout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum State {
    Succeeded,
    Declined,
    Processing,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    pub number: String,
    pub network_id: String,
    pub state: State,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
    pub network_time: Timestamp,
}

/// A refusal: nothing happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    pub code: String,
    pub detail: String,
}

/// A message whose fields can be checked.
pub trait Checked: DeserializeOwned {
    fn check(&self) -> Result<(), MessageError>;
}

/// Reads a request's body.
pub fn read<T: Checked>(body: &[u8]) -> Result<T, MessageError> {
    let message: T = serde_json::from_slice(body).ok().context(ShapeSnafu)?;
    message.check()?;
    Ok(message)
}

impl Checked for PayRequest {
    fn check(&self) -> Result<(), MessageError> {
        name("number", &self.number, NUMBER_LENGTH_MAX)?;
        name("method", &self.method, METHOD_LENGTH_MAX)?;
        currency(&self.currency)?;
        amount(self.amount_minor)
    }
}

impl Checked for PayoutRequest {
    fn check(&self) -> Result<(), MessageError> {
        name("number", &self.number, NUMBER_LENGTH_MAX)?;
        let length = |text: &str| (1..=PAYEE_CHARS_MAX).contains(&text.chars().count());
        let plain = self.payee_account.bytes().all(|b| b.is_ascii_graphic());
        ensure!(plain && length(&self.payee_account), FieldSnafu { field: "payeeAccount" });
        ensure!(length(&self.payee_name), FieldSnafu { field: "payeeName" });
        currency(&self.currency)?;
        amount(self.amount_minor)
    }
}

impl Checked for RefundRequest {
    fn check(&self) -> Result<(), MessageError> {
        name("number", &self.number, NUMBER_LENGTH_MAX)?;
        name("originalNumber", &self.original_number, NUMBER_LENGTH_MAX)?;
        amount(self.amount_minor)
    }
}

impl Checked for QueryRequest {
    fn check(&self) -> Result<(), MessageError> {
        name("number", &self.number, NUMBER_LENGTH_MAX)
    }
}

fn name(field: &'static str, value: &str, max: usize) -> Result<(), MessageError> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    ensure!((1..=max).contains(&value.len()) && value.bytes().all(allowed), FieldSnafu { field });
    Ok(())
}

fn currency(text: &str) -> Result<(), MessageError> {
    let letters = text.len() == 3 && text.bytes().all(|b| b.is_ascii_uppercase());
    ensure!(letters, FieldSnafu { field: "currency" });
    Ok(())
}

fn amount(minor: i64) -> Result<(), MessageError> {
    ensure!((1..=AMOUNT_MINOR_MAX).contains(&minor), FieldSnafu { field: "amountMinor" });
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAY: &str = r#"{"number":"a1","amountMinor":100,"currency":"CNY","method":"card"}"#;

    #[test]
    fn only_whole_messages_pass() {
        assert!(read::<PayRequest>(PAY.as_bytes()).is_ok());
        for (from, to) in [
            ("100", "0"),
            ("100", "-1"),
            ("100", "9007199254740992"),
            ("100", "1.5"),
            ("100", "\"100\""),
            ("CNY", "cny"),
            ("CNY", "CN"),
            ("a1", ""),
            ("a1", "a 1"),
            ("card", ""),
            ("\"method\"", "\"other\""),
            ("{", "{\"more\":1,"),
            ("}", "}}"),
        ] {
            let bad = PAY.replacen(from, to, 1);
            assert!(read::<PayRequest>(bad.as_bytes()).is_err(), "{bad}");
        }
        let long = PAY.replace("a1", &"x".repeat(65));
        assert_eq!(read::<PayRequest>(long.as_bytes()), Err(MessageError::Field { field: "number" }));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read::<PayRequest>(&body);
            let _ = read::<RefundRequest>(&body);
            let _ = read::<PayoutRequest>(&body);
            let _ = read::<QueryRequest>(&body);
        }

        #[test]
        fn what_is_read_is_within_bounds(number in "[a-z0-9.]{0,70}", minor in any::<i64>()) {
            let body = serde_json::json!({"number": number, "originalNumber": "o", "amountMinor": minor});
            if let Ok(refund) = read::<RefundRequest>(body.to_string().as_bytes()) {
                prop_assert!(refund.amount_minor > 0 && refund.amount_minor <= AMOUNT_MINOR_MAX);
                prop_assert!(!refund.number.is_empty() && refund.number.len() <= 64);
            }
        }
    }
}
