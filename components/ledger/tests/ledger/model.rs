//! Random transactions against a model that fits on a screen: the books are the
//! fold of what was acknowledged, and always balance.

use std::collections::BTreeMap;

use payplane_ledger::request::Posting;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::harness::*;

#[derive(Clone, Debug)]
enum Step {
    Sale { merchant: usize, amount: i64, fee: i64 },
    Payout { merchant: usize, amount: i64 },
    Refund { of: usize, amount: i64 },
    Reverse { of: usize },
    Repeat { of: usize },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4usize, 1..200i64, 0..20i64).prop_map(|(merchant, amount, fee)| Step::Sale {
            merchant, amount: amount + fee, fee
        }),
        2 => (0..4usize, 1..150i64).prop_map(|(merchant, amount)| Step::Payout { merchant, amount }),
        3 => (0..40usize, 1..150i64).prop_map(|(of, amount)| Step::Refund { of, amount }),
        1 => (0..40usize).prop_map(|of| Step::Reverse { of }),
        1 => (0..40usize).prop_map(|of| Step::Repeat { of }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What was posted: the posting, the answer, what is left to link, its original.
struct Done {
    posting: Posting,
    booked: bool,
    answer: String,
    left: i64,
    whole: i64,
    reversed: bool,
    original: Option<usize>,
}

#[derive(Default)]
struct Model {
    done: Vec<Done>,
    /// Debits less credits of every account.
    net: BTreeMap<String, i64>,
}

impl Model {
    fn posting(&self, step: &Step, key: &str) -> (Posting, Option<usize>) {
        let pick = |of: usize| if self.done.is_empty() { None } else { Some(of % self.done.len()) };
        match *step {
            Step::Sale { merchant: m, amount, fee } => {
                let account = merchant(m);
                let mut lines = vec![(CLEARING, "debit", amount), (account.as_str(), "credit", amount - fee)];
                lines.extend((fee > 0).then_some((FEE, "credit", fee)));
                (posting("sale", key, &lines), None)
            }
            Step::Payout { merchant: m, amount } => (payout(key, m, amount), None),
            Step::Refund { of, amount } => match pick(of) {
                Some(n) => {
                    let original = &self.done[n].posting;
                    let account = original.entries.iter().find(|l| l.account.starts_with("merchant"));
                    let m: usize = account.unwrap().account["merchant:m".len()..]
                        .replace(":pending", "")
                        .parse()
                        .unwrap();
                    (refund(key, &original.identity.key, m, amount), Some(n))
                }
                None => (payout(key, 0, amount), None),
            },
            Step::Reverse { of } => match pick(of) {
                Some(n) => (reversal(key, &self.done[n].posting), Some(n)),
                None => (payout(key, 0, 1), None),
            },
            Step::Repeat { .. } => unreachable!("a repeat posts nothing new"),
        }
    }

    fn expect(&self, posting: &Posting, original: Option<usize>) -> &'static str {
        let amount = moved(posting);
        if let Some(original) = original.map(|n| &self.done[n]) {
            let reversing = posting.kind == "reversal";
            match () {
                () if !original.booked => return "UNKNOWN_ORIGINAL",
                () if original.posting.kind == "reversal" => return "INVALID",
                () if original.reversed => return "ALREADY_REVERSED",
                () if reversing && original.left < original.whole => return "OVER_ORIGINAL",
                () if !reversing && amount > original.left => return "OVER_ORIGINAL",
                () => {}
            }
        }
        let short = posting.entries.iter().any(|line| {
            let held = -self.net.get(&line.account).copied().unwrap_or(0);
            line.account.starts_with("merchant") && line.side == "debit" && held < line.amount_minor
        });
        if short { "INSUFFICIENT" } else { "booked" }
    }

    fn apply(&mut self, posting: Posting, original: Option<usize>, answer: String) {
        let (booked, amount) = (answer == "booked", moved(&posting));
        if booked {
            for line in &posting.entries {
                let net = self.net.entry(line.account.clone()).or_default();
                *net += if line.side == "debit" { line.amount_minor } else { -line.amount_minor };
            }
            match (original, posting.kind.as_str()) {
                (Some(n), "reversal") => {
                    (self.done[n].reversed, self.done[n].left) = (true, 0);
                    if let Some(linked) = self.done[n].original {
                        self.done[linked].left += amount;
                    }
                }
                (Some(n), _) => self.done[n].left -= amount,
                _ => {}
            }
        }
        let left = if posting.kind == "reversal" { 0 } else { amount };
        self.done.push(Done { posting, booked, answer, left, whole: left, reversed: false, original });
    }
}

fn moved(posting: &Posting) -> i64 {
    posting.entries.iter().filter(|line| line.side == "debit").map(|line| line.amount_minor).sum()
}

async fn run(ledger: &Ledger, case: usize, model: &mut Model, steps: Vec<Step>) -> Result<(), TestCaseError> {
    for (n, step) in steps.into_iter().enumerate() {
        if let Step::Repeat { of } = step {
            if let Some(done) = model.done.get(of % model.done.len().max(1)) {
                let expected = if done.booked { "replayed" } else { &done.answer };
                prop_assert_eq!(
                    ledger.word(done.posting.clone()).await,
                    expected,
                    "the repeat of {:?}",
                    done.posting
                );
            }
            continue;
        }
        let (posting, original) = model.posting(&step, &format!("case:{case}:{n}"));
        let expected = model.expect(&posting, original);
        let answer = ledger.word(posting.clone()).await;
        prop_assert_eq!(&answer, expected, "{:?} as {:?}", step, posting);
        model.apply(posting, original, answer);
    }
    let sql = "SELECT code, sum(CASE side WHEN 'debit' THEN amount_minor ELSE -amount_minor END)::bigint
                 FROM ledger.entries JOIN ledger.accounts USING (account_id) GROUP BY code";
    let rows = ledger.owner.query(sql, &[]).await.unwrap();
    let net: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    prop_assert_eq!(&net, &model.net, "the books are the fold of what was acknowledged");
    prop_assert_eq!(net.values().sum::<i64>(), 0);
    Ok(())
}

#[test]
pub(crate) fn the_books_are_the_fold_of_what_was_acknowledged() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ledger = runtime.block_on(Ledger::start());
    let case = std::cell::Cell::new(0);
    // The model goes on from case to case, as the books do: originals of earlier cases are linked too.
    let model = std::cell::RefCell::new(Model::default());
    let config = Config { cases: 12, failure_persistence: None, max_shrink_iters: 0, ..Config::default() };
    let outcome = TestRunner::new(config).run(&steps(), |steps| {
        case.set(case.get() + 1);
        runtime.block_on(run(&ledger, case.get(), &mut model.borrow_mut(), steps))
    });
    outcome.unwrap();
    let booked = model.borrow().done.iter().filter(|done| done.booked).count();
    let refused = model.borrow().done.len() - booked;
    println!("booked {booked}, refused {refused}");
    assert!(booked > 50 && refused > 20, "the steps are one-sided");
    runtime.block_on(ledger.check());
}
