//! The bank's notifications: an entry that has come to its end.

use super::message::{Entry, EntryKind};
use crate::channel::notification::{Notification, Unproven};

/// Reads the body of a notification whose signature verified.
pub(super) fn read(body: &[u8]) -> Result<Notification, Unproven> {
    let entry = Entry::read(body).ok_or_else(|| Unproven::because("a notification that cannot be read"))?;
    let outcome = entry.outcome();
    let is_refund = entry.kind == EntryKind::Refund;
    Ok(Notification { number: entry.number, is_refund, currency: entry.currency, outcome })
}
