//! The life of money that goes out: a refund or a payout. The books are debited first: the
//! network is never asked for what the merchant does not have. What the network then
//! declines is reversed in the books; what is of unknown outcome stays debited.

mod steps;

use jiff::Timestamp;
use payplane_api::money::Money;
use payplane_common::trace::Trace;
use uuid::Uuid;

use crate::gateway::Gateway;
use crate::message::Subject;
use crate::patience::Patience;
use crate::settle::{self, SettleError};
use crate::state::OutgoingState;
use crate::store::due::Table;
use crate::store::orders::Order;
use crate::store::payouts::Payout;
use crate::store::refunds::Refund;

/// More than the states that one can pass through.
const STEPS_MAX: u32 = 8;

/// For whom it is asked, and how long he waits.
pub type Times = (Trace, Patience);

/// Who works on it: only the first turn may find its request under way.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    First,
    Resolver,
}

/// A refund with its order, or a payout.
pub enum Outgoing {
    Refund(Box<(Order, Refund)>),
    Payout(Box<Payout>),
}

/// What both have alike.
struct Facts<'a> {
    /// Its row.
    row: (Table, Uuid),
    channel: &'a str,
    status: OutgoingState,
    signed_at: Option<Timestamp>,
    /// There once the network has said that it knows it; it may be empty.
    network_id: Option<&'a str>,
}

/// Brings it as far as books and network allow.
pub async fn advance(
    gateway: &Gateway,
    mut outgoing: Outgoing,
    (trace, patience): Times,
    turn: Turn,
) -> Result<(), SettleError> {
    for _ in 0..STEPS_MAX {
        let went_on = match outgoing.facts().status {
            OutgoingState::Requested => outgoing.debit_and_send(gateway, (trace, patience)).await?,
            OutgoingState::Sending if turn == Turn::Resolver => {
                outgoing.ask(gateway, (trace, patience)).await?
            }
            OutgoingState::Sending => false,
            OutgoingState::Reversing => outgoing.reverse(gateway, (trace, patience)).await?,
            OutgoingState::Succeeded | OutgoingState::Failed => return Ok(()),
        };
        if !went_on {
            break;
        }
        outgoing = outgoing.as_stored(gateway, patience).await?;
    }
    let (table, id) = outgoing.facts().row;
    Ok(patience.keep(|| gateway.store.postpone(table, id)).await?)
}

impl Outgoing {
    #[must_use]
    pub fn refund(order: Order, refund: Refund) -> Self {
        Self::Refund(Box::new((order, refund)))
    }

    #[must_use]
    pub fn payout(payout: Payout) -> Self {
        Self::Payout(Box::new(payout))
    }

    fn facts(&self) -> Facts<'_> {
        match self {
            Self::Refund(both) => Facts {
                row: (Table::Refunds, both.1.refund_id),
                channel: &both.1.channel,
                status: both.1.status,
                signed_at: both.1.signed_at,
                network_id: both.1.network_id.as_deref(),
            },
            Self::Payout(payout) => Facts {
                row: (Table::Payouts, payout.payout_id),
                channel: &payout.channel,
                status: payout.status,
                signed_at: payout.signed_at,
                network_id: payout.network_id.as_deref(),
            },
        }
    }

    /// What its messages are about.
    pub fn about(&self) -> (Subject, &str) {
        match self {
            Self::Refund(both) => (Subject::Refund(both.1.refund_id), &both.1.channel),
            Self::Payout(payout) => (Subject::Payout(payout.payout_id), &payout.channel),
        }
    }

    /// Is its network asked for a payout?
    fn is_paid_out(&self) -> bool {
        match self {
            Self::Refund(both) => both.1.is_transferred(),
            Self::Payout(_) => true,
        }
    }

    pub fn amount(&self) -> Result<Money, SettleError> {
        match self {
            Self::Refund(both) => settle::money(both.1.refund_id, both.1.amount_minor, &both.0.currency),
            Self::Payout(payout) => settle::money(payout.payout_id, payout.amount_minor, &payout.currency),
        }
    }

    /// The same, as it is stored now.
    pub async fn as_stored(self, gateway: &Gateway, patience: Patience) -> Result<Self, SettleError> {
        let (_, id) = self.facts().row;
        Ok(match self {
            Self::Refund(both) => Self::refund(both.0, patience.keep(|| gateway.store.refund(id)).await?),
            Self::Payout(_) => Self::payout(patience.keep(|| gateway.store.payout(id)).await?),
        })
    }
}
