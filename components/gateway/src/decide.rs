//! What two persons may decide, where no machine learns what became of something: the rules
//! for a proposal. The database keeps them apart, and lets one decision take effect.

use jiff::{SignedDuration, Timestamp};
use uuid::Uuid;

use crate::state::SurplusState;
use crate::state::decision::ContradictionState;

/// What was sent later than this long ago may be answered yet: no network takes a request that
/// is older.
const UNDECIDED_SECONDS_MIN: i64 = 900;
/// A network that said "processing" may take days to give money back or to pay it out.
const KNOWN_SECONDS_MIN: i64 = 7 * 86_400;
/// How long before an item's time the network's may lie: a payer's turn, and its clock.
const BEFORE_MAX: SignedDuration = SignedDuration::from_hours(3);

macro_rules! names {
    ($(#[$doc:meta])* $name:ident { $($(#[$one_doc:meta])* $one:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
        pub enum $name { $($(#[$one_doc])* $one),+ }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$one),+];

            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$one => stringify!($one)),+ }
            }

            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().find(|one| one.as_str() == text).copied()
            }
        }
    };
}

names!(
    /// What stands in the list of open items.
    Kind {
        /// An attempt whose outcome is not known.
        Payment,
        Refund,
        Payout,
        /// One that is held.
        Surplus,
        /// What a network says against what is stored.
        Contradiction,
        /// A refund or a payout whose debit the books do not give back.
        Reversal,
    }
);

names!(
    /// What is proposed.
    Choice {
        /// The network did it.
        Succeeded,
        /// It did not, and never will.
        Failed,
        /// The network's own record shows that it gave a surplus back.
        Refunded,
        /// Nobody may claim a surplus any more.
        TakeToIncome,
        /// A contradiction is dealt with.
        Resolved,
    }
);

impl Kind {
    /// What may be decided of it. A reversal is the ledger's to take.
    #[must_use]
    pub fn choices(self) -> &'static [Choice] {
        match self {
            Self::Payment | Self::Refund | Self::Payout => &[Choice::Succeeded, Choice::Failed],
            Self::Surplus => &[Choice::Refunded, Choice::TakeToIncome],
            Self::Contradiction => &[Choice::Resolved],
            Self::Reversal => &[],
        }
    }

    /// Before this time nobody needs to look.
    #[must_use]
    pub fn seconds_min(self, is_known: bool) -> i64 {
        match self {
            Self::Refund | Self::Payout if is_known => KNOWN_SECONDS_MIN,
            Self::Payment | Self::Refund | Self::Payout | Self::Reversal => UNDECIDED_SECONDS_MIN,
            Self::Surplus | Self::Contradiction => 0,
        }
    }
}

impl Choice {
    /// Is it a success of the network's, with an id and a time of its own?
    #[must_use]
    pub fn has_receipt(self) -> bool {
        matches!(self, Self::Succeeded | Self::Refunded)
    }
}

/// An item that is open.
#[derive(Clone, Debug)]
pub struct Item {
    pub kind: Kind,
    pub item_id: Uuid,
    pub order_id: Option<Uuid>,
    pub channel: String,
    pub amount_minor: i64,
    pub currency: String,
    pub status: String,
    /// When the request was signed, the payer's turn was over, or it was stored.
    pub since: Timestamp,
    /// Has its network said that it knows it?
    pub is_known: bool,
    /// What a proposal is about: it changes with whatever the network says, or is asked anew.
    pub seen: String,
    /// Its proposal, and that one's version.
    pub proposal: Option<(Uuid, i32)>,
}

/// What somebody proposes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub kind: Kind,
    pub item_id: Uuid,
    pub choice: Choice,
    /// How the network knows it, and since when.
    pub receipt: Option<(String, Timestamp)>,
    pub reason: String,
    pub reference: String,
}

/// Why it cannot be proposed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The network may still answer.
    TooYoung,
    /// The network's time lies before the request, or ahead of ours.
    Time,
    /// Its money is not booked yet.
    Unbooked,
    /// Its row does not take it now.
    Kept,
}

/// May it be proposed of this item?
pub fn check(item: &Item, is_booked: bool, proposal: &Proposal, now: Timestamp) -> Result<(), Unfit> {
    if now.duration_since(item.since).as_secs() < item.kind.seconds_min(item.is_known) {
        return Err(Unfit::TooYoung);
    }
    if let Some((_, at)) = &proposal.receipt
        && (*at > now || item.since.duration_since(*at) > BEFORE_MAX)
    {
        return Err(Unfit::Time);
    }
    let unbooked = match item.kind {
        Kind::Surplus => item.status != SurplusState::Held.as_str() || !is_booked,
        Kind::Contradiction => item.status != ContradictionState::Open.as_str(),
        _ => false,
    };
    if unbooked {
        return Err(Unfit::Unbooked);
    }
    Ok(())
}

#[cfg(test)]
mod trials;
