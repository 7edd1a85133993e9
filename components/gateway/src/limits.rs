//! Limits per day and month: which ones a payment counts against, and whether it fits.
//! What is counted lies in the database (`store/begin.rs`), nothing of it in memory.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::civil::Date;
use payplane_api::config::{AllowanceConfig, LimitConfig, QuotaConfig};
use serde::Serialize;

/// A payment, as far as limits are about it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    pub channel: &'a str,
    pub method: &'a str,
    pub merchant: &'a str,
    pub payer: Option<&'a str>,
    /// The date of the attempt in the tenant's calendar.
    pub date: Date,
}

/// A limit, and the counter of its day or month.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// As the Channel names it, `perMerchant.perDay`, or the merchant's terms, `terms.perDay`.
    pub name: &'static str,
    pub counter: String,
    /// The last day that the counter is about.
    pub last_day: Date,
    pub quota: QuotaConfig,
}

/// What is counted: attempts that succeeded, or still may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    pub amount_minor: i64,
    pub payments: i64,
}

/// The limit that a payment would exceed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reached {
    pub channel: String,
    /// As the Channel names it: `perMerchant.perDay.amountMinorMax`.
    pub limit: String,
    pub max: i64,
    pub used: i64,
}

/// The limits that a payment counts against.
#[must_use]
pub fn of(rules: &LimitConfig, asked: &Asked<'_>) -> Vec<Limit> {
    let currency = rules.currency;
    let whose = format!("{}/{}/{currency}", asked.channel, asked.method);
    let mut limits =
        per(["perChannel.perDay", "perChannel.perMonth"], &rules.per_channel, &whose, asked.date);
    let whose_merchant = format!("{whose}/{}", asked.merchant);
    let names = ["perMerchant.perDay", "perMerchant.perMonth"];
    limits.extend(per(names, &rules.per_merchant, &whose_merchant, asked.date));
    if let Some(payer) = asked.payer {
        // A payer's name is kept out of the database, and of its backups.
        let hash = hex::encode(digest(&SHA256, format!("{whose}/{payer}").as_bytes()));
        let whose = format!("{whose}/{hash}");
        limits.extend(per(["perPayer.perDay", "perPayer.perMonth"], &rules.per_payer, &whose, asked.date));
    }
    limits
}

pub(crate) fn per(names: [&'static str; 2], rules: &AllowanceConfig, whose: &str, date: Date) -> Vec<Limit> {
    let windows =
        [(rules.per_day, date, date), (rules.per_month, date.first_of_month(), date.last_of_month())];
    let limits = names.into_iter().zip(windows).filter_map(|(name, (quota, first_day, last_day))| {
        let counter = format!("{name}/{first_day}/{whose}");
        quota.map(|quota| Limit { name, counter, last_day, quota })
    });
    limits.collect()
}

/// Counts a payment in all its counters, or in none where it exceeds a limit.
pub fn take(
    used: &mut HashMap<String, Used>,
    limits: &[Limit],
    (channel, amount_minor): (&str, i64),
) -> Result<(), Reached> {
    let mut after = Vec::with_capacity(limits.len());
    for limit in limits {
        let before = used.get(&limit.counter).copied().unwrap_or_default();
        let reached = |member: &str, max: i64, used: i64| Reached {
            channel: channel.to_owned(),
            limit: format!("{}.{member}", limit.name),
            max,
            used,
        };
        // A sum that no number holds is above every limit.
        let amount_max = limit.quota.amount_minor_max.unwrap_or(i64::MAX);
        let amount = before.amount_minor.checked_add(amount_minor).filter(|sum| *sum <= amount_max);
        let amount = amount.ok_or_else(|| reached("amountMinorMax", amount_max, before.amount_minor))?;
        let payments_max = limit.quota.payments_max.unwrap_or(i64::MAX);
        let payments = before.payments.checked_add(1).filter(|sum| *sum <= payments_max);
        let payments = payments.ok_or_else(|| reached("paymentsMax", payments_max, before.payments))?;
        after.push((&limit.counter, Used { amount_minor: amount, payments }));
    }
    for (counter, now) in after {
        used.insert(counter.clone(), now);
    }
    Ok(())
}

#[cfg(test)]
mod trials;
