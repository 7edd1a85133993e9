//! The states of what persons decide: a proposal, and what a network said against what is
//! stored.

use std::fmt;

use super::{Transition, UnknownState, when};

states!(
    /// A proposal of what became of something that no machine ends.
    DecisionState, "a decision", {
        /// Another person has to approve it.
        Proposed,
        /// It took effect, in the same transaction.
        Approved,
        Rejected,
        Withdrawn,
        /// There is nothing left to decide.
        Lapsed,
    }
);

states!(
    /// What a network says against what is stored.
    ContradictionState, "a contradiction", {
        /// Its money is to be booked as suspense.
        Noted,
        /// A person has to look.
        Open,
        Resolved,
    }
);

impl DecisionState {
    #[must_use]
    pub fn transitions() -> &'static [Transition<Self>] {
        use DecisionState::{Approved, Lapsed, Proposed, Rejected, Withdrawn};
        const {
            &[
                when(Proposed, Approved, "another person approved the version that he named"),
                when(Proposed, Rejected, "another person rejected it"),
                when(Proposed, Withdrawn, "its maker withdrew it"),
                when(Proposed, Lapsed, "it ended otherwise: the network answered first, for example"),
            ]
        }
    }
}

impl ContradictionState {
    #[must_use]
    pub fn transitions() -> &'static [Transition<Self>] {
        use ContradictionState::{Noted, Open, Resolved};
        const {
            &[
                when(Noted, Open, "the ledger acknowledged it as suspense"),
                when(Open, Resolved, "two persons said that it is dealt with"),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_proposed_goes_on_and_each_contradiction_ends_with_persons() {
        for state in DecisionState::ALL {
            assert_eq!(state.is_final(), *state != DecisionState::Proposed, "{state}");
            let way = [DecisionState::Proposed.as_str()];
            assert_eq!(state.sources(), if state.is_final() { &way[..] } else { &[] }, "{state}");
        }
        assert_eq!(ContradictionState::Resolved.sources(), [ContradictionState::Open.as_str()]);
    }
}
