//! What a merchant pays and may take, as it was agreed with him: before what a Channel says
//! of everybody.

use payplane_api::config::{AllowanceConfig, FeeRule};
use payplane_api::currency::Currency;
use payplane_api::money::{Money, fee};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::limits::{self, Asked, Limit, Reached};
use crate::route::Decision;

/// Begins the name of each of its limits.
pub const PREFIX: &str = "terms.";

/// As they are stored: whoever reads them does so by these names for good.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    #[serde(default)]
    pub fees: Vec<TermsFee>,
    #[serde(default)]
    pub limits: Vec<TermsLimit>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TermsFee {
    /// None: every method that has no rule of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    pub currency: Currency,
    #[serde(flatten)]
    pub rule: FeeRule,
}

/// Of all payments to the merchant in a currency, over whatever channel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TermsLimit {
    pub currency: Currency,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_payment_minor_max: Option<i64>,
    #[serde(flatten)]
    pub quotas: AllowanceConfig,
}

/// The terms that are in force on an order's day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    pub version: i32,
    pub terms: Terms,
}

impl InForce {
    /// A decision, with the fee that was agreed on, if one was.
    #[must_use]
    pub fn govern(&self, decision: Decision, (method, amount): (&str, Money)) -> Decision {
        let Some(agreed) = self.fee(method, amount) else { return decision };
        let mut explanation = decision.explanation;
        if let Some(said) = explanation.as_object_mut() {
            said.insert("feeByTerms".to_owned(), json!(self.version));
        }
        Decision { fee_minor: agreed.minor(), explanation, ..decision }
    }

    fn fee(&self, method: &str, amount: Money) -> Option<Money> {
        let of = |method: Option<&str>| {
            let is_it = |f: &&TermsFee| f.currency == amount.currency() && f.method.as_deref() == method;
            self.terms.fees.iter().find(is_it)
        };
        let rule = of(Some(method)).or_else(|| of(None))?.rule;
        fee(amount, rule.basis_points, rule.fixed_minor, rule.max_minor).ok()
    }

    fn limit(&self, currency: Currency) -> Option<&TermsLimit> {
        self.terms.limits.iter().find(|limit| limit.currency == currency)
    }

    /// The limit that a payment exceeds by itself.
    #[must_use]
    pub fn exceeded(&self, channel: &str, amount: Money) -> Option<Reached> {
        let max = self.limit(amount.currency())?.per_payment_minor_max?;
        (amount.minor() > max).then(|| Reached {
            channel: channel.to_owned(),
            limit: "terms.perPaymentMinorMax".to_owned(),
            max,
            used: 0,
        })
    }

    /// The limits per day and month that it counts against.
    #[must_use]
    pub fn limits(&self, currency: Currency, asked: &Asked<'_>) -> Vec<Limit> {
        let whose = format!("{currency}/{}", asked.merchant);
        let quotas = self.limit(currency).map(|limit| limit.quotas).unwrap_or_default();
        limits::per(["terms.perDay", "terms.perMonth"], &quotas, &whose, asked.date)
    }
}

#[cfg(test)]
mod trials;
