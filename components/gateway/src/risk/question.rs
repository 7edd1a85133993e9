//! What policies ask about one payment, and what they say once that is known.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use payplane_api::config::{OnError, RiskAction, RiskMode, RiskPolicyConfig, RiskSubject};
use serde_json::{Value, json};
use uuid::Uuid;

use super::window::{Most, Slices, Span};
use crate::limits::Used;

pub type Key = [u8; 32];

/// The config that policies stand in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub epoch: i64,
    pub hash: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub name: String,
    pub mode: RiskMode,
    pub action: RiskAction,
    /// What becomes of a payment whose payer cannot be asked.
    pub on_error: OnError,
}

impl From<&RiskPolicyConfig> for Policy {
    fn from(config: &RiskPolicyConfig) -> Self {
        let on_error = config.on_error.unwrap_or(OnError::Block);
        Self { name: config.name.clone(), mode: config.mode, action: config.action, on_error }
    }
}

/// A policy that a payment matched, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    pub policy: Policy,
    pub facts: Value,
}

/// What all that a payment matched comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    Pass,
    /// Its payer is to prove himself first; where he cannot be asked, the strictest policy decides.
    StepUp(OnError),
    Block,
}

/// The strictest of what policies that act say.
#[must_use]
pub fn verdict(hits: &[Hit]) -> Verdict {
    let acts = hits.iter().map(|hit| &hit.policy).filter(|policy| policy.mode == RiskMode::Enforce);
    let says = acts.map(|policy| match policy.action {
        RiskAction::Block => Verdict::Block,
        RiskAction::StepUp => Verdict::StepUp(policy.on_error),
    });
    says.max().unwrap_or(Verdict::Pass)
}

/// Does somebody stand in a list?
#[derive(Clone, Debug)]
pub struct Lookup {
    pub policy: Policy,
    pub list: String,
    pub kind: RiskSubject,
    pub hashes: Vec<Key>,
}

/// How much went by before?
#[derive(Clone, Debug)]
pub struct Count {
    pub policy: Policy,
    pub key: Key,
    pub span: Span,
    /// The window is of no use after that.
    pub last_day: Date,
    pub adds: Used,
    pub most: Most,
    /// It is about merchants that were approved no longer ago.
    pub while_new_days: Option<i64>,
}

/// All that is asked about a payment.
#[derive(Clone, Debug)]
pub struct Question {
    pub version: Version,
    pub merchant: String,
    at: Timestamp,
    hits: Vec<Hit>,
    pub lookups: Vec<Lookup>,
    pub counts: Vec<Count>,
}

/// What the database knows. Its windows are locked while it is used.
#[derive(Debug, Default)]
pub struct Known {
    /// Orders that were assessed before: an attempt of theirs has begun.
    pub begun: HashSet<Uuid>,
    /// Orders whose payers have proven themselves.
    pub proven: HashSet<Uuid>,
    /// Orders that go on without a proof, where no stricter policy wants one.
    pub allowed: HashSet<Uuid>,
    pub listed: HashSet<(String, String, Key)>,
    /// Since when merchants are there.
    pub approved: HashMap<String, Timestamp>,
    /// The database's own time.
    pub now_seconds: i64,
    pub windows: HashMap<Key, Slices>,
    /// Those that were counted in.
    pub counted: BTreeSet<Key>,
}

impl Question {
    #[must_use]
    pub fn new(version: Version, merchant: &str, at: Timestamp) -> Self {
        Self { version, merchant: merchant.to_owned(), at, hits: vec![], lookups: vec![], counts: vec![] }
    }

    pub fn matched(&mut self, policy: &RiskPolicyConfig, facts: Option<Value>) {
        self.hits.extend(facts.map(|facts| Hit { policy: policy.into(), facts }));
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hits.is_empty() && self.lookups.is_empty() && self.counts.is_empty()
    }

    /// Does it hang on how long a merchant is there?
    #[must_use]
    pub fn is_about_age(&self) -> bool {
        self.counts.iter().any(|count| count.while_new_days.is_some())
    }

    /// The windows that it is about.
    pub fn windows(&self, known: &Known) -> impl Iterator<Item = &Count> {
        // Of how long nobody knows, is new.
        let approved = known.approved.get(&self.merchant);
        let age = approved.map_or(SignedDuration::ZERO, |since| self.at.duration_since(*since));
        let is_new = move |days: i64| age < SignedDuration::from_hours(days.saturating_mul(24));
        self.counts.iter().filter(move |count| count.while_new_days.is_none_or(is_new))
    }

    /// What the policies say: each at most once.
    #[must_use]
    pub fn verdicts(&self, known: &Known) -> Vec<Hit> {
        let is_listed = |lookup: &&Lookup| {
            let (list, kind) = (&lookup.list, lookup.kind.as_str());
            lookup.hashes.iter().any(|hash| known.listed.contains(&(list.clone(), kind.to_owned(), *hash)))
        };
        let listed = self.lookups.iter().filter(is_listed).map(|lookup| Hit {
            policy: lookup.policy.clone(),
            facts: json!({"list": lookup.list, "kind": lookup.kind.as_str()}),
        });
        let counted = self.windows(known).filter_map(|count| {
            let slices = known.windows.get(&count.key);
            let before = slices.map(|slices| slices.used(count.span.at(known.now_seconds)));
            let facts = count.most.exceeded(before.unwrap_or_default(), count.adds)?;
            Some(Hit { policy: count.policy.clone(), facts })
        });
        let mut by_name = BTreeMap::new();
        for hit in self.hits.iter().cloned().chain(listed).chain(counted) {
            by_name.entry(hit.policy.name.clone()).or_insert(hit);
        }
        by_name.into_values().collect()
    }

    /// May one of the policies that act want the payer's proof?
    #[must_use]
    pub fn may_step_up(&self) -> bool {
        let hits = self.hits.iter().map(|hit| &hit.policy);
        let lookups = self.lookups.iter().map(|lookup| &lookup.policy);
        let mut all = hits.chain(lookups).chain(self.counts.iter().map(|count| &count.policy));
        all.any(|policy| policy.mode == RiskMode::Enforce && policy.action == RiskAction::StepUp)
    }

    /// Counts the payment in its windows. One that a policy in shadow would have blocked it does
    /// not count, as it would not if it were enforced; one that a proof lets through it does.
    pub fn count(&self, known: &mut Known, hits: &[Hit]) {
        let blocks = |hit: &&Hit| hit.policy.action == RiskAction::Block;
        let is_passed =
            |count: &&Count| !hits.iter().filter(blocks).any(|hit| hit.policy.name == count.policy.name);
        let about = self.windows(known).filter(is_passed);
        let about: Vec<_> = about.map(|count| (count.key, count.span, count.adds)).collect();
        for (key, span, adds) in about {
            known.windows.entry(key).or_default().count(span.at(known.now_seconds), adds);
            known.counted.insert(key);
        }
    }
}
