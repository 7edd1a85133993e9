//! UnionPay's notifications: the fields of a payment or a refund, form-encoded and signed
//! like an answer. Of payments only successes are told, of refunds every end.

use jiff::Timestamp;

use super::codes::{self, State};
use super::fields::Fields;
use super::message::{PAYMENT, REFUND, outcome};
use super::request::Merchant;
use crate::channel::Outcome;
use crate::channel::notification::{About, Notification, Unproven};

impl Merchant {
    pub(super) fn notified(&self, body: &[u8]) -> Result<Notification, Unproven> {
        let fields = std::str::from_utf8(body).ok().and_then(Fields::form);
        let fields = fields.ok_or_else(|| Unproven::because("a notification that cannot be read"))?;
        if !self.signer.verifies(&fields, Timestamp::now()) {
            return Err(Unproven::because("the signature does not verify"));
        }
        if !fields.is("merId", &self.mer_id) {
            return Err(Unproven::because("a notification for another merchant"));
        }
        // UnionPay signs its answers alike, and their code 00 says only that a request was
        // accepted: an answer that comes as a notification is none. Only notifications have
        // a trace, and only a query's answer has the code of something else.
        if fields.get("origRespCode").is_some() || fields.get("traceTime").is_none() {
            return Err(Unproven::because("an answer, not a notification"));
        }
        let about = match fields.get("txnType") {
            Some(PAYMENT) => About::Payment,
            Some(REFUND) => About::Refund,
            other => return Err(Unproven::because(format!("a notification of {other:?}"))),
        };
        let (Some(number), Some(code)) = (fields.get("orderId"), fields.get("respCode")) else {
            return Err(Unproven::because("a notification without number or code"));
        };
        let outcome = match codes::of_original(code, about == About::Refund) {
            // While an order can be paid, a failure is not its end.
            State::Failed | State::Waiting | State::UnderWay if about == About::Payment => {
                Outcome::Unknown { why: format!("notified of code {code}") }
            }
            state => outcome(&fields, state, code),
        };
        Ok(Notification { number: number.to_owned(), about, currency: None, outcome })
    }
}
