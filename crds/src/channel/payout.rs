//! What a channel pays out: from a merchant's balance to an account.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// Payouts in a currency.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Payout {
    /// The ISO 4217 code, one of the tenant's currencies.
    #[schemars(length(max = 3), regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// Which channel pays out, 0 to 1000: the lowest of those that can.
    #[serde(default)]
    #[schemars(range(max = 1000))]
    pub priority: u32,
    /// The largest payout in minor units (cents, fen), 0 to 2^53-1. Left out, any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 9007199254740991_i64))]
    pub per_payout_minor_max: Option<i64>,
}
