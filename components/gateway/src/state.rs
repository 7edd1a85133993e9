//! Every state and every transition, in one table. The database repeats the
//! final ones in triggers; docs/gateway.md shows this table.

use std::fmt;

use snafu::Snafu;

#[derive(Debug, Snafu)]
#[snafu(display("{text:?} is no state of {of}"))]
pub struct UnknownState {
    of: &'static str,
    text: String,
}

macro_rules! states {
    ($(#[$doc:meta])* $name:ident, $of:literal, { $($(#[$state_doc:meta])* $state:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
        pub enum $name { $($(#[$state_doc])* $state),+ }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$state),+];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$state => stringify!($state)),+ }
            }

            pub fn parse(text: &str) -> Result<Self, UnknownState> {
                let known = Self::ALL.iter().find(|state| state.as_str() == text).copied();
                known.ok_or_else(|| UnknownState { of: $of, text: text.to_owned() })
            }

            /// The states from which this one may be reached.
            #[must_use]
            pub fn sources(self) -> Vec<&'static str> {
                Self::transitions().iter().filter(|t| t.to == self).map(|t| t.from.as_str()).collect()
            }

            /// Is nothing reached from it?
            #[must_use]
            pub fn is_final(self) -> bool {
                !Self::transitions().iter().any(|t| t.from == self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

states!(
    /// What the app is told about its order.
    OrderState, "an order", {
        /// Accepted; the outcome, or its posting, is still owed.
        Processing,
        /// The network took the money and the ledger acknowledged the posting.
        Succeeded,
        /// No money moved, and none will.
        Failed,
    }
);

states!(
    /// One request to one network.
    AttemptState, "an attempt", {
        /// Committed before the network is called.
        Sending,
        /// The network accepted it and will decide later.
        Processing,
        /// No verified answer: it may or may not have had an effect.
        Unknown,
        Succeeded,
        Declined,
        /// The network confirmed that it takes no money for it any more.
        Closed,
        /// It surely never left this process, or the network refused it unread.
        NotSent,
        /// The network does not know it, and could not accept it any more.
        NotReceived,
        /// The network took another amount than it was asked for.
        OtherAmount,
    }
);

states!(
    /// A refund or a payout: the books are debited before the network is asked.
    OutgoingState, "a refund or a payout", {
        /// Stored, a refund reserved on its order; the ledger is asked next.
        Requested,
        /// The merchant is debited; the network is asked, or has not answered.
        Sending,
        /// The network has not paid and never will; the debit is being reversed.
        Reversing,
        Succeeded,
        Failed,
    }
);

states!(
    /// A surplus: money that a network took and no order stands for.
    SurplusState, "a surplus", {
        /// A notification says so; the network is asked.
        Told,
        /// A query says it too; the ledger is asked next.
        Confirmed,
        /// It is booked as suspense; the network is asked to give it back.
        Booked,
        /// The network is asked, or has not answered.
        Sending,
        /// The network gave it back; the ledger is asked next.
        Repaid,
        /// It was given back, and suspense is rid of it.
        Refunded,
        /// A person has to decide.
        Held,
        /// Two persons decided that nobody may claim it; the ledger is asked next.
        Forfeiting,
        /// It is income, and suspense is rid of it.
        Forfeited,
    }
);

states!(
    /// A notification of an app.
    DeliveryState, "a notification", {
        /// It is tried until the app takes it.
        Pending,
        Delivered,
        /// It is not tried any more, until somebody asks for it.
        Dead,
    }
);

pub mod agreement;
pub mod decision;
pub mod registry;
pub mod step_up;

/// From one state to another, and what causes it.
#[derive(Clone, Copy, Debug)]
pub struct Transition<S> {
    pub from: S,
    pub to: S,
    pub cause: &'static str,
}

const fn when<S: Copy>(from: S, to: S, cause: &'static str) -> Transition<S> {
    Transition { from, to, cause }
}

impl OrderState {
    #[must_use]
    pub fn transitions() -> &'static [Transition<Self>] {
        use OrderState::{Failed, Processing, Succeeded};
        const {
            &[
                when(Processing, Succeeded, "an attempt succeeded and the ledger acknowledged the posting"),
                when(
                    Processing,
                    Failed,
                    "every attempt ended without an effect, risk blocked it, its payer proved nothing, or it was closed",
                ),
            ]
        }
    }
}

impl AttemptState {
    #[must_use]
    pub fn transitions() -> &'static [Transition<Self>] {
        use AttemptState::{
            Closed, Declined, NotReceived, NotSent, OtherAmount, Processing, Sending, Succeeded, Unknown,
        };
        const {
            &[
                when(Sending, Succeeded, "verified answer or notification, or two persons decided it"),
                when(Sending, Declined, "verified answer or notification, or two persons decided it"),
                when(Sending, Processing, "verified answer"),
                when(Sending, Unknown, "time-out, broken connection, unverified or garbled answer"),
                when(Sending, NotSent, "no connection was made, or the network refused it unread"),
                when(Sending, NotReceived, "not found, after the request's window closed"),
                when(Unknown, Succeeded, "query, or the network's notification, or two persons decided it"),
                when(Unknown, Declined, "query, or the network's notification, or two persons decided it"),
                when(Unknown, Processing, "query"),
                when(Unknown, NotReceived, "not found, after the request's window closed"),
                when(
                    Processing,
                    Succeeded,
                    "query, or the network's notification, or two persons decided it",
                ),
                when(Processing, Declined, "query, or the network's notification, or two persons decided it"),
                when(Sending, Closed, "the network confirmed that it takes no money for it any more"),
                when(Unknown, Closed, "the network confirmed that it takes no money for it any more"),
                when(Processing, Closed, "the network confirmed that it takes no money for it any more"),
                when(Sending, OtherAmount, "a query says that another amount was paid"),
                when(Unknown, OtherAmount, "a query says that another amount was paid"),
                when(Processing, OtherAmount, "a query says that another amount was paid"),
            ]
        }
    }
}

impl OutgoingState {
    #[must_use]
    pub fn transitions() -> &'static [Transition<Self>] {
        use OutgoingState::{Failed, Requested, Reversing, Sending, Succeeded};
        const {
            &[
                when(Requested, Sending, "the ledger acknowledged the debit"),
                when(Requested, Failed, "the ledger refused the debit"),
                when(Requested, Reversing, "a payout: its channel takes none any more, nothing was sent"),
                when(
                    Sending,
                    Succeeded,
                    "verified answer, query, or the network's notification, or two persons decided it",
                ),
                when(
                    Sending,
                    Reversing,
                    "declined, not sent, or not found after the request's window closed, or two persons decided it",
                ),
                when(Reversing, Failed, "the ledger acknowledged the reversal"),
            ]
        }
    }
}

impl SurplusState {
    #[must_use]
    pub fn transitions() -> &'static [Transition<Self>] {
        use SurplusState::{Booked, Confirmed, Forfeited, Forfeiting, Held, Refunded, Repaid, Sending, Told};
        const {
            &[
                when(Told, Confirmed, "a query says it too"),
                when(Told, Held, "no query of many said it, or the channel is gone"),
                when(Confirmed, Booked, "the ledger acknowledged it as suspense"),
                when(Booked, Sending, "the request to give it back was signed"),
                when(Booked, Held, "the network took no request of many, or cannot be asked"),
                when(Booked, Repaid, "the network's notification of an earlier request"),
                when(Sending, Repaid, "verified answer, query, or the network's notification"),
                when(Sending, Booked, "not sent, or not found after the request's window closed"),
                when(Sending, Held, "the network declined to give it back, or forgot that it was asked"),
                when(Repaid, Refunded, "the ledger acknowledged that it left suspense"),
                when(Held, Forfeiting, "two persons decided it, and it is booked"),
                when(Forfeiting, Forfeited, "the ledger acknowledged that it left suspense"),
                when(Held, Told, "an administrator asked for another try"),
                when(Held, Booked, "an administrator asked for another try, and it is booked"),
                when(
                    Held,
                    Repaid,
                    "the network's notification of an earlier request, or two persons decided it",
                ),
            ]
        }
    }
}

impl DeliveryState {
    #[must_use]
    pub fn transitions() -> &'static [Transition<Self>] {
        use DeliveryState::{Dead, Delivered, Pending};
        const {
            &[
                when(Pending, Delivered, "the app's endpoint answered 2xx"),
                when(Pending, Dead, "the tenth try or a later one failed after 24 h, or it waited for 72 h"),
                when(Dead, Delivered, "a try that was under way was answered 2xx"),
                when(Delivered, Pending, "an administrator asked for it again"),
                when(Dead, Pending, "an administrator asked for it again"),
            ]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_open_state_leads_to_an_end_and_no_end_leads_on() {
        fn walk(state: AttemptState, seen: &mut Vec<AttemptState>) -> bool {
            if state.is_final() {
                return true;
            }
            seen.push(state);
            let next = AttemptState::transitions().iter().filter(|t| t.from == state);
            next.map(|t| t.to).any(|to| !seen.contains(&to) && walk(to, seen))
        }
        for state in AttemptState::ALL {
            assert!(walk(*state, &mut vec![]), "{state} has no way to an end");
        }
        use AttemptState::{Closed, Declined, NotReceived, NotSent, OtherAmount, Succeeded};
        for state in AttemptState::ALL {
            let end = [Succeeded, Declined, Closed, NotSent, NotReceived, OtherAmount].contains(state);
            assert_eq!(state.is_final(), end, "{state}");
        }
    }

    #[test]
    fn an_unknown_outcome_is_failed_only_by_what_the_network_says() {
        let t = AttemptState::transitions();
        assert!(!t.iter().any(|t| t.from == AttemptState::Unknown && t.to == AttemptState::NotSent));
        assert!(!t.iter().any(|t| t.from == AttemptState::Processing && t.to == AttemptState::NotReceived));
    }

    #[test]
    fn what_was_sent_fails_only_once_its_debit_was_given_back() {
        use OutgoingState::{Failed, Requested, Reversing, Sending, Succeeded};
        assert_eq!(Failed.sources(), [Requested.as_str(), Reversing.as_str()]);
        assert_eq!(Succeeded.sources(), [Sending.as_str()]);
        for state in OutgoingState::ALL {
            assert_eq!(state.is_final(), [Succeeded, Failed].contains(state), "{state}");
        }
    }

    #[test]
    fn names_read_back() {
        for state in OutgoingState::ALL {
            assert_eq!(OutgoingState::parse(state.as_str()).unwrap(), *state);
        }
        assert!(OrderState::parse("succeeded").is_err());
    }
}
