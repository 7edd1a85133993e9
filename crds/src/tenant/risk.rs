//! What a tenant's payments are held against before a network is called.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::step_up::{RiskOnError, RiskStepUp};

/// Policies on payments. They reach the running gateway without a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.stepUp) || !has(self.policies) || !self.policies.exists(p, p.action == 'StepUp')")
        .field_path(".stepUp")
        .message("a policy with action StepUp needs stepUp: who sends the codes")
)]
pub struct Risk {
    /// Each is asked of every payment. At most 32.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".to_owned()]))]
    pub policies: Vec<RiskPolicy>,
    /// Who sends one-time codes to payers, where a policy asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_up: Option<RiskStepUp>,
}

/// One policy. It counts from when it is first there, by its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("(self.type == 'Velocity') == has(self.velocity) && (self.type == 'Amount') == has(self.amount) && (self.type == 'TimeOfDay') == has(self.timeOfDay) && (self.type == 'List') == has(self.list) && (self.type == 'NewMerchant') == has(self.newMerchant) && (self.type == 'SplitOrder') == has(self.splitOrder)")
        .field_path(".type")
        .message("the member named by type must be given, and no other"),
    validation = Rule::new("!has(self.onError) || self.action == 'StepUp'")
        .field_path(".onError")
        .message("onError goes only with action StepUp")
)]
pub struct RiskPolicy {
    /// What the journal and the metrics call it: 1 to 32 of a-z, 0-9 and `-`, starting with
    /// a letter.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z][a-z0-9-]*$"))]
    pub name: String,
    /// What it looks at. The member of the same name holds the particulars.
    #[serde(rename = "type")]
    pub policy_type: RiskPolicyType,
    /// What becomes of a payment that it matches.
    #[serde(default)]
    pub action: RiskAction,
    /// Whether it acts. A policy is tried in Shadow first.
    #[serde(default)]
    pub mode: RiskMode,
    /// What becomes of a payment whose payer cannot be sent a code, with action StepUp. Left out, Block.
    /// Of several policies that ask for a code the strictest counts: Block, then Hold, then Allow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_error: Option<RiskOnError>,
    /// How often, or how much, in the latest seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub velocity: Option<Velocity>,
    /// How much in one payment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<AmountRange>,
    /// How much in one payment at some time of the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_of_day: Option<TimeOfDay>,
    /// Who takes no part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<BlockList>,
    /// How much a merchant is paid in a day while it is new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new_merchant: Option<NewMerchant>,
    /// Whether an amount is paid in parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_order: Option<SplitOrder>,
}

/// What a policy looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RiskPolicyType {
    /// Payments of somebody in the latest seconds.
    Velocity,
    /// The amount of one payment.
    Amount,
    /// The amount of one payment at some time of the day.
    TimeOfDay,
    /// A list that the admin API keeps.
    List,
    /// The payments of a day to a merchant that was approved of late.
    NewMerchant,
    /// Payments of a payer to a merchant, each small, together large.
    SplitOrder,
}

/// What becomes of a payment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RiskAction {
    /// It fails with `RiskBlocked`; no network is called.
    #[default]
    Block,
    /// Its payer is sent a one-time code, and no network is called before it was brought.
    StepUp,
}

/// Whether a policy acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RiskMode {
    /// It acts.
    #[default]
    Enforce,
    /// It only notes in the journal what it would have done.
    Shadow,
}

/// Of whom payments are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RiskSubject {
    /// The payment's `payerId`; a payment without one is not counted.
    Payer,
    /// The merchant that is paid.
    Merchant,
    /// The payment's `deviceId`; a payment without one is not counted.
    Device,
    /// The terminal; a payment without one is not counted.
    Terminal,
}

/// The most of each subject in the latest seconds. Payments count that no policy blocked,
/// whatever became of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.paymentsMax) || (has(self.amounts) && self.amounts.size() > 0)")
        .message("say how much: paymentsMax, amounts or both")
)]
pub struct Velocity {
    /// Of whom payments are counted together.
    pub per: RiskSubject,
    /// How far back it looks, 60 to 604800 seconds (a week). It is counted in slices of a
    /// twelfth: never less than that, at most a twelfth more.
    #[schemars(range(min = 60, max = 604800))]
    pub window_seconds: i64,
    /// How many payments, 0 to 2^53-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9007199254740991_i64))]
    pub payments_max: Option<i64>,
    /// How much, by currency. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["currency".to_owned()]))]
    pub amounts: Vec<RiskAmount>,
}

/// The most in a currency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RiskAmount {
    /// The ISO 4217 code, one of the tenant's currencies.
    #[schemars(length(max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// The sum of the payments in minor units (cents, fen), 0 to 2^53-1.
    #[schemars(range(min = 0, max = 9007199254740991_i64))]
    pub amount_minor_max: i64,
}

/// One payment is no smaller and no larger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.amountMinorMin) || has(self.amountMinorMax)")
        .message("say how much: amountMinorMin, amountMinorMax or both"),
    validation = Rule::new("!has(self.amountMinorMin) || !has(self.amountMinorMax) || self.amountMinorMin <= self.amountMinorMax")
        .field_path(".amountMinorMin")
        .message("the smallest amount is not above the largest")
)]
pub struct AmountRange {
    /// The ISO 4217 code, one of the tenant's currencies.
    #[schemars(length(max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// The payment method that it is about, e.g. `card`. Left out, every method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z][a-z0-9-]*$"))]
    pub method: Option<String>,
    /// The smallest amount in minor units, 0 to 2^53-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9007199254740991_i64))]
    pub amount_minor_min: Option<i64>,
    /// The largest amount in minor units, 0 to 2^53-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9007199254740991_i64))]
    pub amount_minor_max: Option<i64>,
}

/// One payment is no larger at some time of the day, in the tenant's time zone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.from != self.to")
        .field_path(".to")
        .message("from and to are two times: a policy for the whole day is of type Amount")
)]
pub struct TimeOfDay {
    /// The local time `HH:MM` from which it holds.
    #[schemars(length(max = 5), regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: String,
    /// The local time `HH:MM` before which it holds; one before `from` is on the next day.
    #[schemars(length(max = 5), regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub to: String,
    /// The ISO 4217 code, one of the tenant's currencies.
    #[schemars(length(max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// The largest amount in minor units then, 0 to 2^53-1.
    #[schemars(range(min = 0, max = 9007199254740991_i64))]
    pub amount_minor_max: i64,
}

/// A list of payers, devices, merchants and terminals that the admin API keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlockList {
    /// The list's name in the admin API: 1 to 32 of a-z, 0-9 and `-`, starting with a letter.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z][a-z0-9-]*$"))]
    pub name: String,
}

/// The most that a merchant is paid in a day of the tenant's calendar while it is new.
/// Payments count that no policy blocked, whatever became of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.paymentsPerDayMax) || (has(self.amountsPerDay) && self.amountsPerDay.size() > 0)")
        .message("say how much: paymentsPerDayMax, amountsPerDay or both")
)]
pub struct NewMerchant {
    /// How long after its approval a merchant is new, 1 to 365 days of 24 hours.
    #[schemars(range(min = 1, max = 365))]
    pub days: i64,
    /// How many payments in a day, 0 to 2^53-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9007199254740991_i64))]
    pub payments_per_day_max: Option<i64>,
    /// How much in a day, by currency. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["currency".to_owned()]))]
    pub amounts_per_day: Vec<RiskAmount>,
}

/// An amount that is not to be paid in parts: `paymentsMin` or more payments of one payer to
/// one merchant, none of them above the amount, do not come to more than it together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SplitOrder {
    /// How far back it looks, 60 to 604800 seconds (a week), counted as by a velocity.
    #[schemars(range(min = 60, max = 604800))]
    pub window_seconds: i64,
    /// From how many payments on it is a pattern, 2 to 100.
    #[schemars(range(min = 2, max = 100))]
    pub payments_min: i64,
    /// The ISO 4217 code, one of the tenant's currencies.
    #[schemars(length(max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// The amount in minor units, 1 to 2^53-1.
    #[schemars(range(min = 1, max = 9007199254740991_i64))]
    pub amount_minor_max: i64,
}
