//! A payment or refund of a network, and its name.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::details::Details;
use crate::message::{Answer, State};

/// Which network took a payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NetworkName {
    #[default]
    Simulator,
    WechatPay,
    Alipay,
    UnionPay,
    BankDirect,
}

impl NetworkName {
    /// The detail that holds the network's own number of a payment.
    pub(super) fn id_detail(self) -> Option<&'static str> {
        match self {
            Self::Simulator | Self::BankDirect => None,
            Self::WechatPay => Some("transaction_id"),
            Self::Alipay => Some("trade_no"),
            Self::UnionPay => Some("queryId"),
        }
    }

    fn is_simulator(&self) -> bool {
        *self == Self::Simulator
    }
}

/// What was asked for: two requests with one number must not differ in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all_fields = "camelCase")]
pub enum Asked {
    Pay {
        currency: String,
        method: String,
    },
    Refund {
        original_number: String,
    },
    /// Money to an account.
    Payout {
        currency: String,
    },
    /// An account's owner agrees that it be debited.
    Sign,
    /// A pay that was closed before it came.
    Close,
}

/// One pay or refund, as it stands in the journal and in the record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Payment {
    #[serde(default, skip_serializing_if = "NetworkName::is_simulator")]
    pub network: NetworkName,
    pub merchant_id: String,
    pub number: String,
    #[serde(flatten)]
    pub asked: Asked,
    pub amount_minor: i64,
    pub network_id: String,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    pub network_time: Timestamp,
    /// What the network's answers, notifications and bills tell of it.
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    pub details: Details,
    /// How often it was asked for again, since the network was started: it is not in the
    /// journal.
    #[serde(default, skip_serializing_if = "is_never")]
    pub repeated: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_never(times: &u32) -> bool {
    *times == 0
}

impl Payment {
    #[must_use]
    pub fn key(&self) -> Key {
        let scope = match (self.network, &self.asked) {
            // Refund numbers are of their own kind there,
            (NetworkName::WechatPay, Asked::Refund { .. }) => "refund",
            // and there they count within their trade.
            (NetworkName::Alipay, Asked::Refund { original_number }) => original_number,
            _ => "",
        };
        Key {
            network: self.network,
            merchant_id: self.merchant_id.clone(),
            scope: scope.to_owned(),
            number: self.number.clone(),
        }
    }

    pub(super) fn answer(&self) -> Answer {
        Answer {
            number: self.number.clone(),
            network_id: self.network_id.clone(),
            state: self.state,
            code: self.code.clone(),
            network_time: self.network_time,
        }
    }
}

/// A payment's name: its number belongs to a merchant of a network.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Key {
    #[serde(default, skip_serializing_if = "NetworkName::is_simulator")]
    pub(super) network: NetworkName,
    pub(super) merchant_id: String,
    /// Numbers of one scope do not meet those of another.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) scope: String,
    pub(super) number: String,
}

impl Key {
    /// An order of a network, or whatever has numbers of the orders' kind.
    #[must_use]
    pub fn order(network: NetworkName, merchant: &str, number: &str) -> Self {
        Self { network, merchant_id: merchant.to_owned(), scope: String::new(), number: number.to_owned() }
    }

    /// A refund of a network that counts them on their own, in a scope.
    #[must_use]
    pub fn refund(network: NetworkName, merchant: &str, scope: &str, number: &str) -> Self {
        Self { scope: scope.to_owned(), ..Self::order(network, merchant, number) }
    }

    pub(super) fn simulator(merchant: &str, number: &str) -> Self {
        Self::order(NetworkName::Simulator, merchant, number)
    }
}
