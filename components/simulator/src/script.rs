//! What the payer and the network's notifications do for an amount: its last
//! four digits choose, as they choose the faults.

use std::time::Duration;

const LAST_DIGITS: i64 = 10_000;
const LATE: Duration = Duration::from_secs(2);
const NOTICE_LATE: Duration = Duration::from_secs(5);

/// When the payer pays, counted from when he has the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payer {
    After(Duration),
    Never,
    /// Not before the order was closed, and then all the same.
    OnceClosed(Duration),
}

/// One notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    Right,
    /// The truth with a signature that does not verify.
    Forged,
    /// Signed well, and of another amount.
    OtherAmount,
    /// Signed well, and of another merchant.
    OtherMerchant,
}

/// Notifications: those of one step go out at the same time, the steps one after another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notices {
    pub delay: Duration,
    pub steps: Vec<Vec<Notice>>,
}

/// Does the amount ask for this number?
fn asks(amount_minor: i64, digits: i64) -> bool {
    amount_minor.checked_rem(LAST_DIGITS) == Some(digits)
}

/// When the payer of an order pays.
#[must_use]
pub fn payer(amount_minor: i64, usual: Duration) -> Payer {
    match amount_minor.checked_rem(LAST_DIGITS) {
        Some(9002) => Payer::After(usual.max(LATE)),
        Some(9008) => Payer::Never,
        Some(9013) => Payer::OnceClosed(LATE),
        _ => Payer::After(usual),
    }
}

/// What the payer of an order pays.
#[must_use]
pub fn paid_minor(amount_minor: i64) -> i64 {
    match amount_minor.checked_rem(LAST_DIGITS) {
        Some(9014) => amount_minor.saturating_add(1),
        // A refund of that is declined.
        Some(9015) => amount_minor.saturating_sub(14),
        _ => amount_minor,
    }
}

/// How long a refund is under way; none where it is done at once.
#[must_use]
pub fn refund_takes(amount_minor: i64) -> Option<Duration> {
    asks(amount_minor, 9002).then_some(LATE)
}

/// The notifications of a payment or refund of this amount.
#[must_use]
pub fn notices(amount_minor: i64) -> Notices {
    let (delay, steps) = match amount_minor.checked_rem(LAST_DIGITS) {
        Some(9009) => (Duration::ZERO, Vec::new()),
        Some(9010) => {
            let once = || vec![Notice::Right];
            (Duration::ZERO, vec![vec![Notice::Right, Notice::Right], once(), once(), once()])
        }
        Some(9011) => {
            let wrong = [Notice::Forged, Notice::OtherAmount, Notice::OtherMerchant];
            (Duration::ZERO, wrong.into_iter().chain([Notice::Right]).map(|notice| vec![notice]).collect())
        }
        Some(9012) => (NOTICE_LATE, vec![vec![Notice::Right]]),
        _ => (Duration::ZERO, vec![vec![Notice::Right]]),
    };
    Notices { delay, steps }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_four_digits_choose() {
        let usual = Duration::from_millis(300);
        assert_eq!(payer(100, usual), Payer::After(usual));
        assert_eq!(payer(19_002, usual), Payer::After(LATE));
        assert_eq!(payer(9008, usual), Payer::Never);
        assert_eq!(payer(9013, usual), Payer::OnceClosed(LATE));
        assert_eq!((paid_minor(19_014), paid_minor(19_015), paid_minor(9013)), (19_015, 19_001, 9013));
        assert_eq!(notices(100).steps, [[Notice::Right]]);
        assert!(notices(29_009).steps.is_empty());
        assert_eq!(notices(9010).steps.iter().map(Vec::len).sum::<usize>(), 5);
        assert_eq!(notices(9011).steps.last().unwrap(), &[Notice::Right]);
        assert_eq!(notices(9012).delay, NOTICE_LATE);
        assert_eq!((refund_takes(9002), refund_takes(9001)), (Some(LATE), None));
    }
}
