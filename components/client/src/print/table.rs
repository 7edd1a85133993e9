//! The trial balance as an aligned table with totals.

use std::collections::BTreeMap;

use super::amount;
use crate::message::TrialBalance;

const HEADS: [&str; 4] = ["ACCOUNT", "CURRENCY", "DEBIT", "CREDIT"];

/// Sums are made here again, so that the last line does not rest on what the
/// server says alone.
#[must_use]
pub fn trial_balance(balance: &TrialBalance) -> String {
    let mut totals: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
    let mut rows: Vec<[String; 4]> = vec![HEADS.map(str::to_owned)];
    for line in &balance.lines {
        let total = totals.entry(&line.currency).or_default();
        total.0 = total.0.saturating_add(line.debit_minor.into());
        total.1 = total.1.saturating_add(line.credit_minor.into());
        let money = |minor| amount(minor, &line.currency);
        rows.push([
            line.account.clone(),
            line.currency.clone(),
            money(line.debit_minor),
            money(line.credit_minor),
        ]);
    }
    let ours = totals.values().all(|(debit, credit)| debit == credit);
    for (currency, (debit, credit)) in &totals {
        let money = |minor: i128| i64::try_from(minor).map_or("out of range".into(), |m| amount(m, currency));
        rows.push(["total".to_owned(), (*currency).to_owned(), money(*debit), money(*credit)]);
    }
    let mut text = aligned(&rows);
    let balanced = ours && balance.balanced;
    text.push_str(if balanced { "balanced: yes\n" } else { "balanced: no\n" });
    text
}

/// Names to the left, numbers to the right.
fn aligned(rows: &[[String; 4]]) -> String {
    let mut widths = [0usize; 4];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let [a, b, c, d] = widths;
    rows.iter()
        .map(|[account, currency, debit, credit]| {
            format!("{account:<a$}  {currency:<b$}  {debit:>c$}  {credit:>d$}\n")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::TrialBalanceLine;

    fn line(account: &str, debit_minor: i64, credit_minor: i64) -> TrialBalanceLine {
        TrialBalanceLine { account: account.into(), currency: "CNY".into(), debit_minor, credit_minor }
    }

    #[test]
    fn columns_align_and_totals_are_checked() {
        let lines = vec![line("channel:sim:receivable", 12_800, 2_800), line("income:fee", 0, 10_000)];
        let balance = TrialBalance { lines, balanced: true };
        let expected = "\
ACCOUNT                 CURRENCY   DEBIT  CREDIT
channel:sim:receivable  CNY       128.00   28.00
income:fee              CNY         0.00  100.00
total                   CNY       128.00  128.00
balanced: yes
";
        assert_eq!(trial_balance(&balance), expected);
        let lines = vec![line("a", 2, 0), line("b", 0, 1)];
        assert!(trial_balance(&TrialBalance { lines, balanced: true }).ends_with("balanced: no\n"));
    }
}
