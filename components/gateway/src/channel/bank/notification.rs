//! The bank's notifications: an entry that has come to its end.

use super::message::{Entry, EntryKind};
use crate::channel::Outcome;
use crate::channel::notification::{About, Notification, Unproven};

/// Reads the body of a notification whose signature verified.
pub(super) fn read(body: &[u8]) -> Result<Notification, Unproven> {
    let entry = Entry::read(body).ok_or_else(|| Unproven::because("a notification that cannot be read"))?;
    let outcome = match entry.kind {
        // Another query tells more than that it is over.
        EntryKind::Sign if entry.is_over() => Outcome::Closed,
        EntryKind::Sign => Outcome::Unknown { why: "an agreement is asked for".to_owned() },
        _ => entry.outcome(),
    };
    let about = match entry.kind {
        EntryKind::Pay => About::Payment,
        EntryKind::Refund => About::Refund,
        EntryKind::Payout => About::Payout,
        EntryKind::Sign => About::Agreement,
    };
    Ok(Notification { number: entry.number, about, currency: entry.currency, outcome })
}
