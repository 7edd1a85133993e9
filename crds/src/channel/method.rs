//! A payment method of a channel, with its fees and limits.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::limit::Limit;

/// A payment method, and what it costs in each currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.limits) || self.limits.all(l, self.fees.exists(f, f.currency == l.currency))")
        .field_path(".limits")
        .message("a limit needs a fee in the same currency: without one the currency is not taken at all"),
    validation = Rule::new("!has(self.costs) || self.costs.all(c, self.fees.exists(f, f.currency == c.currency))")
        .field_path(".costs")
        .message("a cost needs a fee in the same currency: without one the currency is not taken at all")
)]
pub struct Method {
    /// The method that a payment asks for, e.g. `card`: 1 to 32 of a-z, 0-9 and
    /// `-`, starting with a letter.
    #[schemars(length(min = 1, max = 32), regex(pattern = "^[a-z][a-z0-9-]*$"))]
    pub name: String,
    /// Which channel has its turn first, 0 to 1000: lower before higher. Left out, the
    /// method's place in this list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1000))]
    pub priority: Option<u32>,
    /// The share of payments, 1 to 1000, among channels of the same priority that are
    /// about as good as the best: 3 and 1 get three payments and one of four. Left out, it
    /// has its turn after those that have a weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub weight: Option<u32>,
    /// What the merchant pays, by currency. A currency without an entry is not
    /// taken. 1 to 16.
    #[schemars(length(min = 1, max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["currency".to_owned()]))]
    pub fees: Vec<Fee>,
    /// What the network takes, by currency, for the choice among channels alone; it is not
    /// booked. A currency without an entry costs what the merchant pays. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["currency".to_owned()]))]
    pub costs: Vec<Fee>,
    /// The most that is taken, by currency: in one payment, in a day, in a month. A
    /// currency without an entry has no limit. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["currency".to_owned()]))]
    pub limits: Vec<Limit>,
}

/// The fee on a payment: a share of it, rounded half up to a minor unit, plus a
/// fixed part, together at most `maxMinor` and the payment itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.maxMinor) || self.maxMinor >= self.fixedMinor")
        .field_path(".maxMinor")
        .message("the most that a fee comes to is not less than its fixed part")
)]
pub struct Fee {
    /// The ISO 4217 code, one of the tenant's currencies.
    #[schemars(length(max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// The share in basis points (1/100 of a percent), 0 to 10000. It is rounded half up
    /// to a minor unit; share and fixed part together are never more than the payment.
    #[schemars(range(min = 0, max = 10000))]
    pub basis_points: i64,
    /// The fixed part in minor units (cents, fen), 0 to 2^53-1.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9007199254740991_i64))]
    pub fixed_minor: i64,
    /// The most that the fee comes to, in minor units, from `fixedMinor` to 2^53-1.
    /// Left out, the payment itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9007199254740991_i64))]
    pub max_minor: Option<i64>,
    /// What takes the place of this rule from a day on. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["from".to_owned()]))]
    pub changes: Vec<FeeChange>,
}

/// A fee from a day on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.maxMinor) || self.maxMinor >= self.fixedMinor")
        .field_path(".maxMinor")
        .message("the most that a fee comes to is not less than its fixed part")
)]
pub struct FeeChange {
    /// The first day, in the tenant's calendar: payments whose order is stored on it or
    /// later pay this fee, until the next change. YYYY-MM-DD.
    #[schemars(schema_with = "crate::dates::date")]
    pub from: String,
    /// As in the rule that it replaces, 0 to 10000.
    #[schemars(range(min = 0, max = 10000))]
    pub basis_points: i64,
    /// As in the rule that it replaces, 0 to 2^53-1.
    #[serde(default)]
    #[schemars(range(min = 0, max = 9007199254740991_i64))]
    pub fixed_minor: i64,
    /// As in the rule that it replaces, from `fixedMinor` to 2^53-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9007199254740991_i64))]
    pub max_minor: Option<i64>,
}
