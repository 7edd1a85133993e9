//! What the merchant asks for next.

use payplane_testkit::random::Random;

use super::config::OTHERS;

/// An order, and what is done with it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) method: &'static str,
    pub(super) amount_minor: i64,
    /// The same identity goes to both gateways at once: the same bytes, or signed anew.
    pub(super) twice: Option<Twice>,
    /// Refunds, if it is paid, at once or one after the other. They may ask for too much.
    pub(super) refunds: Vec<i64>,
    pub(super) at_once: bool,
    pub(super) closes: bool,
    /// It waits for three seconds only.
    pub(super) is_hurried: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Twice {
    SameBytes,
    SignedAnew,
}

/// What the made-up network does with a payment (docs/simulator.md), as its amount's last
/// digits ask: declined, late, effect and no answer, garbled, slow; and, which take longer
/// than a minute to end, no effect and no answer.
const CARD: [i64; 5] = [9001, 9002, 9004, 9006, 9007];
const CARD_WITHOUT: [i64; 2] = [9003, 9005];
/// The same of the others; and notifications lost, told often, contradicted, late; and one who
/// pays more.
const OTHER: [i64; 10] = [9001, 9002, 9004, 9006, 9007, 9009, 9010, 9011, 9012, PAID_MORE];
/// Its payer pays a cent more, which no order can have.
pub(super) const PAID_MORE: i64 = 9014;
const NEVER_PAID: i64 = 9008;

fn chance(random: &mut Random, of_hundred: u64) -> bool {
    random.between(1, 100) <= of_hundred
}

fn pick(random: &mut Random, from: &[i64]) -> i64 {
    from[usize::try_from(random.draw() % from.len() as u64).unwrap_or(0)]
}

impl Plan {
    pub(super) fn draw(random: &mut Random) -> Self {
        let other = chance(random, 25).then(|| OTHERS[(random.draw() % 3) as usize]);
        let closes = chance(random, 3);
        let tens = i64::try_from(random.between(1, 9)).unwrap_or(1) * 10_000;
        let digits = match other {
            // Only there an order is closed before it expires, paid or not.
            Some((_, "WechatPay", _)) if closes && chance(random, 50) => NEVER_PAID,
            Some(_) if chance(random, 30) => pick(random, &OTHER),
            None if chance(random, 1) => pick(random, &CARD_WITHOUT),
            None if chance(random, 12) => pick(random, &CARD),
            _ => i64::try_from(random.between(1, 8_999)).unwrap_or(1),
        };
        let amount_minor = tens + digits;
        let count = if chance(random, 25) { random.between(1, 4) } else { 0 };
        let twice = match random.between(1, 100) {
            1..=3 => Some(Twice::SameBytes),
            4..=6 => Some(Twice::SignedAnew),
            _ => None,
        };
        Self {
            method: other.map_or("card", |(_, _, method)| method),
            amount_minor,
            twice,
            refunds: (0..count).map(|_| refund(amount_minor, random)).collect(),
            at_once: chance(random, 50),
            closes,
            is_hurried: chance(random, 30),
        }
    }
}

/// A part, sometimes with a fault, and sometimes so large that two of them are too much.
fn refund(amount_minor: i64, random: &mut Random) -> i64 {
    if chance(random, 20) && amount_minor > 9_100 {
        return pick(random, &CARD);
    }
    let most = amount_minor * if chance(random, 20) { 3 } else { 1 } / 3;
    let most = u64::try_from(most.min(9_000)).unwrap_or(1);
    i64::try_from(random.between(1, most)).unwrap_or(1)
}
