//! Risk policies: what a payment is held against before a network is called.

use serde::{Deserialize, Serialize};

use crate::currency::Currency;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RiskPolicyConfig {
    pub name: String,
    pub action: RiskAction,
    pub mode: RiskMode,
    /// What becomes of a payment whose payer cannot be sent a code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_error: Option<OnError>,
    #[serde(flatten)]
    pub rule: RiskRule,
}

/// What becomes of a payment that a policy matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RiskAction {
    Block,
    /// Its payer brings a one-time code first.
    StepUp,
}

/// What becomes of a payment where no code can be sent, from the mildest to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum OnError {
    /// It goes on without.
    Allow,
    /// It waits, and a code is sent again.
    Hold,
    /// It fails.
    Block,
}

/// Who sends one-time codes to payers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepUpConfig {
    pub url: String,
    /// The CAs that it is believed by; absent: the public ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_pem: Option<String>,
}

/// Does it act, or only say in the journal what it would have done?
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RiskMode {
    Enforce,
    Shadow,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub enum RiskRule {
    Velocity(VelocityRule),
    Amount(AmountRule),
    TimeOfDay(TimeOfDayRule),
    List(ListRule),
    NewMerchant(NewMerchantRule),
    SplitOrder(SplitOrderRule),
}

/// Of whom payments are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RiskSubject {
    Payer,
    Merchant,
    Device,
    Terminal,
}

/// How often, and how much, in a window that moves with time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VelocityRule {
    pub per: RiskSubject,
    pub window_seconds: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payments_max: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amounts: Vec<RiskAmount>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RiskAmount {
    pub currency: Currency,
    pub amount_minor_max: i64,
}

/// One payment is neither smaller nor larger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AmountRule {
    pub currency: Currency,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_minor_min: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount_minor_max: Option<i64>,
}

/// One payment is not larger at some time of the day, in minutes after midnight of the
/// tenant's time zone: from the first to before the second, perhaps over midnight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeOfDayRule {
    pub from_minute: i64,
    pub to_minute: i64,
    pub currency: Currency,
    pub amount_minor_max: i64,
}

/// Nobody of the list takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListRule {
    pub list: String,
}

/// How much a merchant is paid in a day of the tenant's calendar while it is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewMerchantRule {
    /// Days after its approval, of 24 hours.
    pub days: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payments_per_day_max: Option<i64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub amounts_per_day: Vec<RiskAmount>,
}

/// An amount is not paid in parts: so many payments of one payer to one merchant, none
/// above the amount, together are not above it either.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SplitOrderRule {
    pub window_seconds: i64,
    pub payments_min: i64,
    pub currency: Currency,
    pub amount_minor_max: i64,
}

macro_rules! names {
    ($($name:ident { $($value:ident),+ })+) => {
        $(impl $name {
            /// As people and the database have it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$value => stringify!($value)),+ }
            }
        })+
    };
}

names! {
    RiskAction { Block, StepUp }
    OnError { Allow, Hold, Block }
    RiskMode { Enforce, Shadow }
    RiskSubject { Payer, Merchant, Device, Terminal }
}
