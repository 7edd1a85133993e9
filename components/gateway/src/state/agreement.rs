//! The states of an agreement that an account be debited.

use std::fmt;

use super::{Transition, UnknownState, when};

states!(
    /// An agreement between an account's owner and a bank, which a merchant's app asked for.
    AgreementState, "an agreement", {
        /// Committed before the bank is asked; the bank has not said yet.
        Processing,
        /// The bank sent the owner a one-time code, and waits for it.
        AwaitingCode,
        /// Payments can be made by it.
        Active,
        /// No payment begins by it any more; the bank is asked to end it.
        Ending,
        /// The bank takes no payment by it any more.
        Ended,
        /// It never held, and never will.
        Failed,
    }
);

impl AgreementState {
    #[must_use]
    pub fn transitions() -> &'static [Transition<Self>] {
        use AgreementState::{Active, AwaitingCode, Ended, Ending, Failed, Processing};
        const {
            &[
                when(Processing, AwaitingCode, "verified answer, or query"),
                when(Processing, Active, "query: it was confirmed meanwhile"),
                when(
                    Processing,
                    Failed,
                    "declined, not sent, or not found after the request's window closed",
                ),
                when(Processing, Ending, "the app ends it"),
                when(Processing, Ended, "query: it was signed and ended meanwhile"),
                when(AwaitingCode, Active, "the bank took the one-time code"),
                when(AwaitingCode, Failed, "the bank declined: wrong codes, or none in time"),
                when(AwaitingCode, Ending, "the app ends it"),
                when(AwaitingCode, Ended, "query: it was confirmed and ended meanwhile"),
                when(Active, Ending, "the app ends it"),
                when(Active, Ended, "the owner ended it at the bank"),
                when(Ending, Ended, "the bank confirmed the end, or that it never held"),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::AgreementState::{self, Active, AwaitingCode, Ended, Ending, Failed, Processing};

    #[test]
    fn nothing_holds_again_once_its_end_was_asked_for() {
        for state in AgreementState::ALL {
            assert_eq!(state.is_final(), [Ended, Failed].contains(state), "{state}");
            assert_eq!(AgreementState::parse(state.as_str()).unwrap(), *state);
        }
        assert_eq!(Active.sources(), [Processing.as_str(), AwaitingCode.as_str()]);
        // The outcome of what was sent is never decided by the app's wish to end it.
        assert_eq!(Failed.sources(), [Processing.as_str(), AwaitingCode.as_str()]);
        assert!(AgreementState::transitions().iter().all(|t| t.from != Ending || t.to == Ended));
    }
}
