//! The states of a step-up: the proof that risk policies want of a payer before a network is called.

use std::fmt;

use super::{Transition, UnknownState, when};

states!(
    /// A one-time code that a payer is to bring.
    StepUpState, "a step-up", {
        /// Policies asked for it, in the commit that began nothing; who pays is not kept yet.
        Asked,
        /// Who pays is in the vault: a code is to be sent, or on its way.
        Sending,
        /// A sender took the code; its payer is to bring it.
        AwaitingCode,
        /// He brought it: the payment goes on.
        Confirmed,
        /// No code can be sent, and the policies let the payment go on without.
        Allowed,
        /// The payment fails, or was closed, before that.
        Failed,
    }
);

impl StepUpState {
    #[must_use]
    pub fn transitions() -> &'static [Transition<Self>] {
        use StepUpState::{Allowed, Asked, AwaitingCode, Confirmed, Failed, Sending};
        const {
            &[
                when(Asked, Sending, "who pays is kept in the vault"),
                when(Asked, Allowed, "no code can be sent, and onError is Allow"),
                when(Asked, Failed, "no code can be sent; or the order was closed, or its process died"),
                when(Sending, AwaitingCode, "the sender took the code"),
                when(Sending, Confirmed, "a code was brought whose sending nobody had heard of"),
                when(Sending, Allowed, "no code can be sent, and onError is Allow"),
                when(Sending, Failed, "no code can be sent; or the order was closed, or expired"),
                when(AwaitingCode, Confirmed, "the right code was brought"),
                when(
                    AwaitingCode,
                    Failed,
                    "five wrong codes, or none in time; or the order was closed, or expired",
                ),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::StepUpState::{self, Allowed, Asked, AwaitingCode, Confirmed, Failed, Sending};

    #[test]
    fn a_proof_is_given_once_and_by_a_code() {
        for state in StepUpState::ALL {
            assert_eq!(state.is_final(), [Confirmed, Allowed, Failed].contains(state), "{state}");
            assert_eq!(StepUpState::parse(state.as_str()).unwrap(), *state);
        }
        assert_eq!(Confirmed.sources(), [Sending.as_str(), AwaitingCode.as_str()]);
        // A code that was taken is waited for: nothing goes on without it any more.
        assert_eq!(Allowed.sources(), [Asked.as_str(), Sending.as_str()]);
    }

    /// The database refuses whatever is not in the table.
    #[test]
    fn the_migration_has_the_same_table() {
        let sql = include_str!("../../../migrate/sql/V37__gateway_step_ups.sql");
        let listed = StepUpState::transitions().iter().map(|t| format!("('{}', '{}')", t.from, t.to));
        let listed: Vec<_> = listed.collect();
        for pair in &listed {
            assert!(sql.contains(pair.as_str()), "{pair}");
        }
        let moves = sql.split("NOT IN (\n").nth(1).unwrap().split("))))").next().unwrap();
        assert_eq!(moves.matches("', '").count(), listed.len());
    }
}
