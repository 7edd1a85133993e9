//! The states of who is in the registry. Only what is Active takes part in a new order.

use std::fmt;

use super::{Transition, UnknownState, when};

states!(
    /// Of a merchant, an app or a terminal. Only merchants are applied for.
    RegistryState, "the registry", {
        /// It waits for a second person.
        Applied,
        Active,
        /// It takes part in nothing new, until it is resumed.
        Suspended,
        /// For good.
        Closed,
    }
);

impl RegistryState {
    #[must_use]
    pub fn transitions() -> &'static [Transition<Self>] {
        use RegistryState::{Active, Applied, Closed, Suspended};
        const {
            &[
                when(Applied, Active, "approved by another person than the one who applied (merchants only)"),
                when(Applied, Closed, "closed"),
                when(Active, Suspended, "suspended"),
                when(Suspended, Active, "resumed"),
                when(Active, Closed, "closed"),
                when(Suspended, Closed, "closed"),
            ]
        }
    }
}

/// What an administrator does to one of the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Approve,
    Suspend,
    Resume,
    Close,
}

impl Verb {
    /// The state that it leads to.
    #[must_use]
    pub fn target(self) -> RegistryState {
        match self {
            Self::Approve | Self::Resume => RegistryState::Active,
            Self::Suspend => RegistryState::Suspended,
            Self::Close => RegistryState::Closed,
        }
    }

    /// The states that it leads from.
    #[must_use]
    pub fn sources(self) -> Vec<&'static str> {
        let waits = RegistryState::Applied.as_str();
        // Two ways lead to Active: to resume is not to approve.
        let own = |from: &&str| {
            self.target() != RegistryState::Active || (*from == waits) == (self == Self::Approve)
        };
        self.target().sources().into_iter().filter(own).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_verb_has_its_own_ways() {
        for (verb, sources) in [
            (Verb::Approve, &["Applied"][..]),
            (Verb::Resume, &["Suspended"]),
            (Verb::Suspend, &["Active"]),
            (Verb::Close, &["Applied", "Active", "Suspended"]),
        ] {
            assert_eq!(verb.sources(), sources, "{verb:?}");
        }
        assert!(RegistryState::Closed.is_final());
    }
}
