//! Numbers that the networks give: digits that never come twice, also after a
//! restart, because they are microseconds that only go up.

use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;

use crate::beijing;

static LAST: AtomicU64 = AtomicU64::new(0);

/// A number of 16 digits.
#[must_use]
pub fn unique() -> u64 {
    let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap_or_default();
    let next = |last: u64| Some(now.max(last.saturating_add(1)));
    let last = LAST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
    now.max(last.unwrap_or_default().saturating_add(1))
}

/// Two halves of a number, for the day to stand between them.
fn halves() -> (u64, u64) {
    const HALF: u64 = 10_000_000_000;
    let number = unique();
    (number.div_euclid(HALF), number.rem_euclid(HALF))
}

/// A WeChat Pay transaction: 28 digits with the day in them.
#[must_use]
pub fn wechat_transaction() -> String {
    let (high, low) = halves();
    format!("4200{high:06}{}{low:010}", beijing::day(Timestamp::now()))
}

/// A WeChat Pay refund: 29 digits.
#[must_use]
pub fn wechat_refund() -> String {
    let (high, low) = halves();
    format!("50300{high:06}{}{low:010}", beijing::day(Timestamp::now()))
}

/// An Alipay trade: 28 digits, the day first.
#[must_use]
pub fn alipay_trade() -> String {
    format!("{}2200{:016}", beijing::day(Timestamp::now()), unique())
}

/// A UnionPay query id: 21 digits.
#[must_use]
pub fn union_query() -> String {
    format!("44240{:016}", unique())
}

/// A UnionPay token: 19 digits that nobody guesses.
#[must_use]
pub fn union_token() -> String {
    const DIGITS: u128 = 100_000_000_000_000_000;
    format!("62{:017}", uuid::Uuid::new_v4().as_u128().rem_euclid(DIGITS))
}

/// Letters and digits that nobody guesses.
#[must_use]
pub fn random() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_lengths_and_differ() {
        assert_eq!(wechat_transaction().len(), 28);
        assert_eq!(wechat_refund().len(), 29);
        assert_eq!(alipay_trade().len(), 28);
        assert_eq!(union_query().len(), 21);
        let numbers: std::collections::BTreeSet<_> = (0..10_000).map(|_| unique()).collect();
        assert_eq!(numbers.len(), 10_000);
    }
}
