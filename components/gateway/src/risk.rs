//! Risk: a verdict on an order before any network is called. The policies of
//! this release are those that one order can state; later ones (velocity,
//! lists, step-up) join the same list.

use payplane_api::money::{AMOUNT_MINOR_MAX, Money};

use crate::state::OrderState;
use crate::store::orders::Order;

/// What a policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// No money may move; the code is stored with the order.
    Block(&'static str),
}

type Policy = fn(&Order, Money) -> Verdict;

const POLICIES: &[Policy] = &[only_open_orders, amount_matches, amount_in_range];

/// Asks every policy; the first that blocks decides.
#[must_use]
pub fn assess(order: &Order, amount: Money) -> Verdict {
    let mut verdicts = POLICIES.iter().map(|policy| policy(order, amount));
    verdicts.find(|verdict| *verdict != Verdict::Pass).unwrap_or(Verdict::Pass)
}

fn only_open_orders(order: &Order, _: Money) -> Verdict {
    if order.status == OrderState::Processing { Verdict::Pass } else { Verdict::Block("OrderNotOpen") }
}

/// What is about to be asked of a network is what was stored.
fn amount_matches(order: &Order, amount: Money) -> Verdict {
    let same = order.amount_minor == amount.minor() && order.currency == amount.currency().as_str();
    if same { Verdict::Pass } else { Verdict::Block("AmountMismatch") }
}

fn amount_in_range(_: &Order, amount: Money) -> Verdict {
    if (1..=AMOUNT_MINOR_MAX).contains(&amount.minor()) { Verdict::Pass } else { Verdict::Block("Amount") }
}
