//! Terms as they are written.

use jiff::civil::Date;
use payplane_api::config::{AllowanceConfig, FeeRule, QuotaConfig};
use payplane_api::currency::Currency;
use payplane_api::id;
use payplane_api::money::{AMOUNT_MINOR_MAX, BASIS_POINTS};
use serde_json::Value;

use super::super::fields::Fields;
use super::super::problem::{Code, Problem};
use crate::terms::{Terms, TermsFee, TermsLimit};

const FEES_MAX: usize = 32;
const METHOD_LENGTH_MAX: usize = 32;

/// The day from which on they are in force, and what they say.
pub(super) fn read(
    body: &[u8],
    (currencies, has_method): (&[Currency], impl Fn(&str) -> bool),
    today: Date,
) -> Result<(Date, Terms), Problem> {
    let mut fields = Fields::parse(body)?;
    let since = fields.date("since")?;
    if since < today {
        return Err(Problem::field("since", format!("must be {today}, today for this tenant, or later")));
    }
    let fees = each(&mut fields, "fees", FEES_MAX, |fields| fee(fields, (currencies, &has_method)))?;
    let limits = each(&mut fields, "limits", currencies.len(), |fields| limit(fields, currencies))?;
    fields.end()?;
    distinct("fees", &fees, |a, b| (&a.method, a.currency) == (&b.method, b.currency))?;
    distinct("limits", &limits, |a, b| a.currency == b.currency)?;
    Ok((since, Terms { fees, limits }))
}

/// The items of a list of objects; a refusal names the one that is wrong.
fn each<T>(
    fields: &mut Fields,
    name: &str,
    max: usize,
    read: impl Fn(&mut Fields) -> Result<T, Problem>,
) -> Result<Vec<T>, Problem> {
    let list = fields.list(name)?;
    if list.len() > max {
        return Err(Problem::field(name, format!("has at most {max} items")));
    }
    let one = |(index, value): (usize, Value)| {
        let within = |problem: Problem| {
            let field = problem.field.unwrap_or_default();
            Problem::field(format!("{name}[{index}].{field}").trim_end_matches('.'), problem.detail)
        };
        let object = Problem::new(Code::InvalidField, "must be an object");
        let mut inner = Fields::from_value(value).ok_or(object).map_err(within)?;
        let item = read(&mut inner).map_err(within)?;
        inner.end().map_err(within)?;
        Ok(item)
    };
    list.into_iter().enumerate().map(one).collect()
}

fn distinct<T>(name: &str, items: &[T], same: impl Fn(&T, &T) -> bool) -> Result<(), Problem> {
    for (index, item) in items.iter().enumerate() {
        if items.iter().take(index).any(|before| same(before, item)) {
            return Err(Problem::field(&format!("{name}[{index}]"), "repeats one before it"));
        }
    }
    Ok(())
}

fn currency(fields: &mut Fields, currencies: &[Currency]) -> Result<Currency, Problem> {
    let currency = fields.currency("currency")?;
    if !currencies.contains(&currency) {
        return Err(Problem::field("currency", format!("{currency} is not a currency of this tenant")));
    }
    Ok(currency)
}

fn fee(
    fields: &mut Fields,
    (currencies, has_method): (&[Currency], &impl Fn(&str) -> bool),
) -> Result<TermsFee, Problem> {
    let method = fields.optional_text("method")?;
    if let Some(method) = &method {
        let checked = id::check("method", method, METHOD_LENGTH_MAX);
        checked.map_err(|e| Problem::field("method", e.to_string()))?;
        if !has_method(method) {
            return Err(Problem::field(
                "method",
                format!("no channel of this tenant has the method {method}"),
            ));
        }
    }
    let required = |name| Problem::field(name, "is required");
    let rule = FeeRule {
        basis_points: fields.amount("basisPoints", BASIS_POINTS)?.ok_or_else(|| required("basisPoints"))?,
        fixed_minor: fields.amount("fixedMinor", AMOUNT_MINOR_MAX)?.unwrap_or(0),
        max_minor: fields.amount("maxMinor", AMOUNT_MINOR_MAX)?,
    };
    if rule.max_minor.is_some_and(|max| max < rule.fixed_minor) {
        return Err(Problem::field("maxMinor", "must be fixedMinor or more"));
    }
    Ok(TermsFee { method, currency: currency(fields, currencies)?, rule })
}

fn limit(fields: &mut Fields, currencies: &[Currency]) -> Result<TermsLimit, Problem> {
    let per_payment_minor_max = fields.amount("perPaymentMinorMax", AMOUNT_MINOR_MAX)?;
    let quotas = AllowanceConfig { per_day: quota(fields, "perDay")?, per_month: quota(fields, "perMonth")? };
    let limit = TermsLimit { currency: currency(fields, currencies)?, per_payment_minor_max, quotas };
    if limit.per_payment_minor_max.is_none() && limit.quotas.is_unlimited() {
        return Err(Problem::new(Code::InvalidField, "names no perPaymentMinorMax, perDay or perMonth"));
    }
    Ok(limit)
}

fn quota(fields: &mut Fields, name: &str) -> Result<Option<QuotaConfig>, Problem> {
    let Some(mut inner) = fields.optional_object(name)? else { return Ok(None) };
    let within = |problem: Problem| {
        Problem::field(&format!("{name}.{}", problem.field.unwrap_or_default()), problem.detail)
    };
    let amount_minor_max = inner.amount("amountMinorMax", AMOUNT_MINOR_MAX).map_err(within)?;
    let payments_max = inner.amount("paymentsMax", AMOUNT_MINOR_MAX).map_err(within)?;
    inner.end().map_err(within)?;
    if amount_minor_max.or(payments_max).is_none() {
        return Err(Problem::field(name, "names neither amountMinorMax nor paymentsMax"));
    }
    Ok(Some(QuotaConfig { amount_minor_max, payments_max }))
}

#[cfg(test)]
mod trials;
