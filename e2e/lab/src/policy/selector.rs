//! Label selectors.

use std::collections::{BTreeMap, BTreeSet};

pub type Labels = BTreeMap<String, String>;

/// Selects objects by their labels; without requirements it selects all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    pub requirements: Vec<Requirement>,
}

/// One thing that a label must satisfy; all of a selector's hold together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requirement {
    In(String, BTreeSet<String>),
    /// Also true where the label is missing, as in Kubernetes.
    NotIn(String, BTreeSet<String>),
    Exists(String),
    DoesNotExist(String),
    /// What this program cannot read selects nothing.
    Unreadable,
}

impl Selector {
    pub fn matches(&self, labels: &Labels) -> bool {
        self.requirements.iter().all(|requirement| requirement.holds(labels))
    }
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|value| values.contains(value)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|value| !values.contains(value)),
            Self::Exists(key) => labels.contains_key(key),
            Self::DoesNotExist(key) => !labels.contains_key(key),
            Self::Unreadable => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(requirement: Requirement, expected: [bool; 3]) {
        let selector = Selector { requirements: vec![requirement] };
        let labels = |value: &str| Labels::from([("app".to_owned(), value.to_owned())]);
        let found = [labels("a"), labels("b"), Labels::new()].map(|labels| selector.matches(&labels));
        assert_eq!(found, expected, "{selector:?} on app=a, app=b and no label");
    }

    #[test]
    fn every_operator() {
        let a = || BTreeSet::from(["a".to_owned()]);
        check(Requirement::In("app".into(), a()), [true, false, false]);
        check(Requirement::NotIn("app".into(), a()), [false, true, true]);
        check(Requirement::Exists("app".into()), [true, true, false]);
        check(Requirement::DoesNotExist("app".into()), [false, false, true]);
        check(Requirement::Unreadable, [false, false, false]);
    }

    #[test]
    fn the_empty_selector_selects_all() {
        assert!(Selector::default().matches(&Labels::new()));
    }
}
