//! What each request will be: chosen by seed and index alone, so that a run can
//! be repeated.
#![deny(clippy::float_arithmetic)]

use super::RunArgs;

/// Last four digits that ask a simulated network for a fault.
const FAULT_DIGITS: std::ops::RangeInclusive<i64> = 9001..=9007;
const AMOUNT_MINOR_MAX: i64 = (1 << 53) - 1;

/// Amounts in minor units, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AmountRange {
    pub least: i64,
    pub greatest: i64,
}

/// Reads `100-20000`.
pub fn amount_range(text: &str) -> Result<AmountRange, String> {
    let ends = text.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    match ends {
        Some((least, greatest)) if 1 <= least && least <= greatest && greatest <= AMOUNT_MINOR_MAX => {
            Ok(AmountRange { least, greatest })
        }
        _ => Err(format!("{text:?} is not LEAST-GREATEST, both from 1 to {AMOUNT_MINOR_MAX}")),
    }
}

/// One request to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) merchant: String,
    pub(super) method: String,
    pub(super) amount_minor: i64,
    /// Refund an earlier payment, if there is one: picks which, and how much.
    pub(super) refund: Option<u64>,
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to choose amounts.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 where there is none.
    fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    fn pick(&mut self, names: &[String]) -> String {
        let at = usize::try_from(self.below(names.len() as u64)).unwrap_or(0);
        names.get(at).cloned().unwrap_or_default()
    }
}

/// Plans request `index` of a run.
pub(super) fn plan(args: &RunArgs, seed: u64, index: u64) -> Planned {
    let mut random = Random(seed ^ index.wrapping_mul(0xd134_2543_de82_ef95));
    let AmountRange { least, greatest } = args.amount_range;
    let span = greatest.abs_diff(least).saturating_add(1);
    let amount = least.saturating_add_unsigned(random.below(span));
    let refund = refunds_before(args, index.saturating_add(1)) > refunds_before(args, index);
    Planned {
        merchant: random.pick(&args.merchants),
        method: random.pick(&args.methods),
        amount_minor: if args.faults { amount } else { harmless(amount) },
        refund: refund.then(|| random.next()),
    }
}

/// Spread evenly, not drawn: a short run has its share too.
fn refunds_before(args: &RunArgs, index: u64) -> u64 {
    index.saturating_mul(args.refund_share) / 100
}

/// An amount near this one that asks for no fault.
pub(super) fn harmless(amount: i64) -> i64 {
    if FAULT_DIGITS.contains(&(amount % 10_000)) { amount - 10 } else { amount }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use proptest::prelude::*;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        run: RunArgs,
    }

    pub(in crate::load) fn args(more: &[&str]) -> RunArgs {
        let needed =
            ["run", "--gateway", "https://g", "--ca", "ca", "--app", "a", "--key", "k", "--record", "r"];
        Cli::parse_from(needed.iter().chain(more)).run
    }

    #[test]
    fn the_same_seed_plans_the_same() {
        let args = args(&["--methods", "card,qr", "--refund-share", "20"]);
        let all = |seed| (0..1000).map(|n| plan(&args, seed, n)).collect::<Vec<_>>();
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        assert!(all(7).iter().any(|p| p.method == "qr") && all(7).iter().any(|p| p.method == "card"));
    }

    #[test]
    fn each_stretch_has_its_share_of_refunds() {
        for (share, of_50) in [("0", 0), ("10", 5), ("20", 10), ("100", 50)] {
            let args = args(&["--refund-share", share]);
            for from in 0..200 {
                let refunds = (from..from + 50).filter(|n| plan(&args, 7, *n).refund.is_some()).count();
                assert_eq!(refunds, of_50, "{share} percent from request {from}");
            }
        }
    }

    #[test]
    fn ranges_are_checked() {
        assert_eq!(amount_range("1-5"), Ok(AmountRange { least: 1, greatest: 5 }));
        for bad in ["", "5", "5-1", "0-5", "-1-5", "a-b", "1-9007199254740992"] {
            assert!(amount_range(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn amounts_lie_in_their_range_and_ask_for_no_fault(seed in any::<u64>(), index in any::<u64>()) {
            let planned = plan(&args(&["--amount-range", "8000-20000"]), seed, index);
            prop_assert!((8000..=20_000).contains(&planned.amount_minor));
            prop_assert!(!FAULT_DIGITS.contains(&(planned.amount_minor % 10_000)));
        }
    }
}
