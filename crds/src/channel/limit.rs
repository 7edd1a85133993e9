//! What a channel takes at most: in one payment, in a day, in a month.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// The most that is taken in a currency. What would exceed a limit goes to the next
/// channel; where there is none, the payment fails with `LimitReached`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.perPaymentMinorMax) || !has(self.perChannel) || !has(self.perChannel.perDay) || !has(self.perChannel.perDay.amountMinorMax) || self.perPaymentMinorMax <= self.perChannel.perDay.amountMinorMax")
        .field_path(".perPaymentMinorMax")
        .message("one payment is not more than the channel takes in a day")
)]
pub struct Limit {
    /// The ISO 4217 code, one of the tenant's currencies.
    #[schemars(length(max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// The largest payment in minor units (cents, fen), 0 to 2^53-1. Left out, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9007199254740991_i64))]
    pub per_payment_minor_max: Option<i64>,
    /// What all payments of this method and currency may come to over this channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_channel: Option<Allowance>,
    /// The same for the payments of each merchant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_merchant: Option<Allowance>,
    /// The same for the payments of each payer, by the payment's `payerId`. A payment
    /// without one is not counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_payer: Option<Allowance>,
}

/// What payments may come to in a day and in a month of the tenant's calendar (its time
/// zone). Those count that succeeded or still may, of unknown outcome too, from when the
/// limit is there; one that fails is given back. Refunds give nothing back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.perDay) || has(self.perMonth)")
        .message("say how much: perDay, perMonth or both"),
    validation = Rule::new("!has(self.perDay) || !has(self.perMonth) || !has(self.perDay.amountMinorMax) || !has(self.perMonth.amountMinorMax) || self.perDay.amountMinorMax <= self.perMonth.amountMinorMax")
        .field_path(".perDay")
        .message("a day's amount is not more than the month's"),
    validation = Rule::new("!has(self.perDay) || !has(self.perMonth) || !has(self.perDay.paymentsMax) || !has(self.perMonth.paymentsMax) || self.perDay.paymentsMax <= self.perMonth.paymentsMax")
        .field_path(".perDay")
        .message("a day's payments are not more than the month's")
)]
pub struct Allowance {
    /// From midnight to midnight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<Quota>,
    /// From the first to the last day of a month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_month: Option<Quota>,
}

/// The most of either. 0 lets nothing through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("has(self.amountMinorMax) || has(self.paymentsMax)")
        .message("say how much: amountMinorMax, paymentsMax or both")
)]
pub struct Quota {
    /// The sum of the payments in minor units (cents, fen), 0 to 2^53-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9007199254740991_i64))]
    pub amount_minor_max: Option<i64>,
    /// How many payments, 0 to 2^53-1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9007199254740991_i64))]
    pub payments_max: Option<i64>,
}
