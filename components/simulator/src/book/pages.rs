//! The lines of the journal, and what they come to in memory.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::agreements::TOKEN;
use super::payment::{Asked, Key, NetworkName, Payment};
use crate::details::Details;
use crate::message::State;

/// A line of the journal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all_fields = "camelCase")]
pub(super) enum Event {
    Taken(Payment),
    Completed(Change),
    Closed(Change),
    Declined(Change),
    /// More is known of it, and its state is as before.
    Noted(Change),
}

/// A payment that came to its end, and what became known of it then.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    #[serde(flatten)]
    key: Key,
    network_time: Timestamp,
    #[serde(default, skip_serializing_if = "Details::is_empty")]
    details: Details,
    /// What the payer paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paid_minor: Option<i64>,
    /// Why it was declined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
}

impl Change {
    pub(super) fn now(key: Key, details: Details) -> Self {
        Self { key, network_time: Timestamp::now(), details, paid_minor: None, code: None }
    }

    pub(super) fn paid(self, minor: i64) -> Self {
        Self { paid_minor: Some(minor), ..self }
    }

    pub(super) fn because(self, code: &str) -> Self {
        Self { code: Some(code.to_owned()), ..self }
    }
}

/// What a closed pay is declined with.
pub(super) const CLOSED: &str = "Closed";

#[derive(Default)]
pub(super) struct Pages {
    pub(super) payments: HashMap<Arc<Key>, Payment>,
    /// What was refunded of each original, in minor units, declined ones left out.
    pub(super) refunded: HashMap<Key, i64>,
    /// By the networks' own numbers, which have at most 28 digits, and by UnionPay's tokens.
    pub(super) ids: HashMap<(NetworkName, u128), Arc<Key>>,
}

impl Pages {
    /// What has the number that is asked for now; it counts how often that happens.
    pub(super) fn asked_again(&mut self, key: &Key) -> Option<Payment> {
        let known = self.payments.get_mut(key)?;
        known.repeated = known.repeated.saturating_add(1);
        Some(known.clone())
    }

    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::Taken(payment) => self.take(payment),
            Event::Completed(change) => {
                let token = change.details.get(TOKEN).and_then(|token| token.parse().ok());
                if let (Some(token), Some((key, _))) = (token, self.payments.get_key_value(&change.key)) {
                    self.ids.insert((change.key.network, token), key.clone());
                }
                if let Some(payment) = self.payments.get_mut(&change.key) {
                    payment.state = State::Succeeded;
                    payment.code = None;
                    payment.amount_minor = change.paid_minor.unwrap_or(payment.amount_minor);
                    payment.network_time = change.network_time;
                    payment.details.extend(&change.details);
                    payment.details.shrink();
                }
            }
            Event::Closed(change) => self.decline(change.because(CLOSED)),
            Event::Declined(change) => self.decline(change),
            Event::Noted(change) => {
                if let Some(payment) = self.payments.get_mut(&change.key) {
                    payment.details.extend(&change.details);
                }
            }
        }
    }

    fn decline(&mut self, change: Change) {
        if let Some(payment) = self.payments.get_mut(&change.key) {
            payment.state = State::Declined;
            payment.code = change.code;
            payment.network_time = change.network_time;
            payment.details.extend(&change.details);
            payment.details.shrink();
        }
    }

    fn take(&mut self, mut payment: Payment) {
        payment.details.shrink();
        if let (Asked::Refund { original_number }, true) = (&payment.asked, payment.state != State::Declined)
        {
            let original = Key::order(payment.network, &payment.merchant_id, original_number);
            let sum = self.refunded.entry(original).or_default();
            *sum = sum.saturating_add(payment.amount_minor);
        }
        let key = Arc::new(payment.key());
        let id = payment.network.id_detail().and_then(|detail| payment.details.get(detail));
        if let Some(id) = id.and_then(|id| id.parse().ok()) {
            self.ids.insert((payment.network, id), key.clone());
        }
        self.payments.insert(key, payment);
    }
}
