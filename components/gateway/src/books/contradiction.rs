//! The postings of contradictions: into suspense, so that the books have what the network says.
//! Out of it again goes what a person or reconciliation finds out.

use payplane_api::accounting::{Account, Amounts, Event, Who, events};
use payplane_api::ledger::v1::{AccountSpec, PostRequest};

use super::BooksError;
use super::postings::{identity, reference};
use crate::store::Store;
use crate::store::contradictions::Contradiction;

fn who(contradiction: &Contradiction) -> Who<'_> {
    Who { channel: &contradiction.channel, ..Who::default() }
}

/// What is booked where the network says this of what is stored otherwise.
fn event(kind: &str, said: &str, transferred: bool) -> &'static Event {
    match (kind, said) {
        ("Refund", "Succeeded") if transferred => &events::REFUND_TRANSFER_PAID,
        ("Refund", _) if transferred => &events::REFUND_TRANSFER_UNPAID,
        ("Refund" | "Surplus", "Succeeded") => &events::REFUND_PAID,
        ("Refund", _) => &events::REFUND_UNPAID,
        ("Payout", "Succeeded") => &events::PAYOUT_PAID,
        ("Payout", _) => &events::PAYOUT_UNPAID,
        _ => &events::SALE_UNPAID,
    }
}

/// The accounts that one touches.
#[must_use]
pub fn accounts(contradiction: &Contradiction) -> Vec<AccountSpec> {
    let accounts = [
        Account::ChannelReceivable,
        Account::PayoutsInTransit,
        Account::RefundsInTransit,
        Account::SuspenseLong,
        Account::SuspenseShort,
    ];
    accounts.map(|account| account.spec(who(contradiction), &contradiction.currency)).into()
}

/// What the network says.
pub fn said(contradiction: &Contradiction, config_epoch: u64) -> Result<PostRequest, BooksError> {
    let Contradiction { contradiction_id, kind, item_id, said, transferred, .. } = contradiction;
    let event = event(kind, said, *transferred);
    let amounts = Amounts { amount: contradiction.amount_minor, ..Amounts::default() };
    let of = kind.to_lowercase();
    let mut references = vec![reference(&of, Store::number(*item_id))];
    references.extend(contradiction.network_id.iter().map(|id| reference("network", id.clone())));
    Ok(PostRequest {
        identity: Some(identity(contradiction.stored_date, format!("contradiction:{contradiction_id}"))),
        kind: event.kind.to_owned(),
        entries: event.entries(who(contradiction), amounts, &contradiction.currency)?,
        references,
        effective_time: contradiction.said_at.to_string(),
        config_epoch,
        ..PostRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_contradict_is_an_event_of_its_own() {
        for (kind, said, transferred, entries) in [
            ("Payment", "Failed", false, "payment not made after all"),
            ("Refund", "Failed", false, "refund not paid after all"),
            ("Refund", "Succeeded", false, "refund paid after all"),
            ("Refund", "Failed", true, "refund by transfer not paid after all"),
            ("Refund", "Succeeded", true, "refund by transfer paid after all"),
            ("Surplus", "Succeeded", false, "refund paid after all"),
            ("Payout", "Failed", false, "payout not paid after all"),
            ("Payout", "Succeeded", false, "payout paid after all"),
        ] {
            assert_eq!(event(kind, said, transferred).name, entries, "{kind} {said}");
        }
    }
}
