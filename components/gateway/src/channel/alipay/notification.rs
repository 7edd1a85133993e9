//! Alipay's notifications: a form that it posts, signed over its decoded parameters
//! (opendocs.alipay.com/open/194/103296).

use jiff::Timestamp;

use super::message::{unknown, when};
use super::{form, sign, yuan};
use crate::channel::notification::{About, Notification, Unproven};
use crate::channel::rsa::VerifyingKey;
use crate::channel::{Outcome, storable};

/// The parameters of a notification whose signature verified.
struct Verified(Vec<(String, String)>);

/// Reads a notification for one app.
pub(super) fn read(body: &[u8], key: &VerifyingKey, app_id: &str) -> Result<Notification, Unproven> {
    let params = form::decode(body).ok_or_else(|| Unproven::because("a notification that cannot be read"))?;
    let params = Verified::from(params, key)?;
    // A signature says that Alipay wrote it, not that it is about us and our order: jeepay
    // shipped that mistake (jeepay pull 106). The number and the amount are compared later.
    if params.get("app_id") != app_id {
        return Err(Unproven::because("a notification for another app"));
    }
    if params.get("notify_type") != "trade_status_sync" {
        return Err(Unproven::because(format!("a notification of {:?}", params.get("notify_type"))));
    }
    let number = params.get("out_trade_no").to_owned();
    Ok(Notification { number, about: About::Payment, currency: None, outcome: params.outcome() })
}

impl Verified {
    fn from(params: Vec<(String, String)>, key: &VerifyingKey) -> Result<Self, Unproven> {
        let params = Self(params);
        if params.get("sign_type") != sign::RSA2 || !params.get("charset").eq_ignore_ascii_case("utf-8") {
            return Err(Unproven::because("another signature or charset than RSA2 and utf-8"));
        }
        // The signed text of `a=1&b=2` is also that of one parameter `a` of "1&b=2": whoever
        // sends it again could hide one parameter in another. Ours have no `&`.
        if params.pairs().any(|(_, value)| value.contains('&')) {
            return Err(Unproven::because("a parameter that could be two"));
        }
        let verifies = |with_empty| {
            let text = sign::of_notification(params.pairs(), with_empty);
            text.is_some_and(|text| key.verifies(text.as_bytes(), params.get("sign")))
        };
        let has_empty = params.pairs().any(|(_, value)| value.is_empty());
        if !(verifies(true) || has_empty && verifies(false)) {
            return Err(Unproven::because("the signature does not verify"));
        }
        Ok(params)
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Empty where it is missing: the network's signature does not tell these apart.
    fn get(&self, name: &str) -> &str {
        self.pairs().find(|(known, _)| *known == name).map_or("", |(_, value)| value)
    }

    fn outcome(&self) -> Outcome {
        if self.is_of_refund() {
            return unknown("the notification of a refund, which changes no payment");
        }
        let (trade_no, paid_at) = (self.get("trade_no"), self.get("gmt_payment"));
        match self.get("trade_status") {
            "TRADE_SUCCESS" | "TRADE_FINISHED" => match yuan::minor(self.get("total_amount")) {
                Some(minor) if !trade_no.is_empty() => {
                    Outcome::succeeded(trade_no, when(Some(paid_at), Timestamp::now()), Some(minor))
                }
                _ => unknown("a success without id or amount"),
            },
            "WAIT_BUYER_PAY" if !trade_no.is_empty() => {
                Outcome::Processing { network_id: Some(storable(trade_no)), action: None }
            }
            // It ran out unpaid. One that was paid has been refunded: a query is asked.
            "TRADE_CLOSED" if paid_at.is_empty() => Outcome::Closed,
            other => unknown(format!("trade_status {other:?}")),
        }
    }

    /// Refunds are told of at the payment's address, in its words and with its state. Also
    /// others than refunds have a `refund_fee`, of 0.00.
    fn is_of_refund(&self) -> bool {
        let fee = self.get("refund_fee");
        let is_zero = fee.is_empty() || yuan::minor(fee) == Some(0);
        !is_zero || !self.get("gmt_refund").is_empty() || !self.get("out_biz_no").is_empty()
    }
}
