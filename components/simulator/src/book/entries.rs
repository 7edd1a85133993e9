//! Entries of a bank: payments and refunds that it decides at once or later, and stores
//! whatever it decides. UnionPay enters agreements so.

use jiff::Timestamp;
use snafu::{ResultExt, ensure};

use super::orders::{Taken, made};
use super::pages::{CLOSED, Event, Pages};
use super::{Asked, Book, BookError, FullSnafu, JournalSnafu, Key, NetworkName, PAYMENTS_MAX, Payment};
use crate::details::Details;
use crate::message::State;

/// An entry as it comes.
#[derive(Clone, Debug)]
pub struct Entry {
    pub network: NetworkName,
    pub participant: String,
    pub number: String,
    pub asked: Asked,
    pub amount_minor: i64,
    /// What else was asked for: a repetition must not differ in it.
    pub details: Details,
    /// What becomes of it, where nothing in the book stands against it.
    pub decided: (State, Option<&'static str>),
}

impl Entry {
    fn key(&self) -> Key {
        Key::order(self.network, &self.participant, &self.number)
    }
}

impl Book {
    /// Takes an entry, or finds the one that has the number. One that was closed before it
    /// came stays so, whatever comes.
    pub async fn enter(&self, entry: Entry) -> Result<Taken, BookError> {
        let (taken, durable) = {
            let mut pages = self.pages();
            if let Some(known) = pages.payments.get(&entry.key()) {
                let same = known.asked == entry.asked
                    && known.amount_minor == entry.amount_minor
                    && known.details.contains(&entry.details);
                let closed = known.asked == Asked::Close;
                (pages.taken(known, false, !same && !closed), self.barrier()?)
            } else {
                ensure!(pages.payments.len() < PAYMENTS_MAX, FullSnafu);
                let (state, code) = pages.decide(&entry);
                let payment = Payment {
                    network: entry.network,
                    merchant_id: entry.participant,
                    number: entry.number,
                    asked: entry.asked,
                    amount_minor: entry.amount_minor,
                    network_id: uuid::Uuid::now_v7().simple().to_string(),
                    state,
                    code: code.map(str::to_owned),
                    network_time: Timestamp::now(),
                    details: made(entry.details, &Details::default()),
                    repeated: 0,
                };
                let taken = pages.taken(&payment, true, false);
                (taken, self.write(&mut pages, Event::Taken(payment))?)
            }
        };
        durable.wait().await.context(JournalSnafu)?;
        Ok(taken)
    }

    /// Closes a payment that has no end, also one that has not come yet. What has an end,
    /// and a refund, stays as it is.
    pub async fn close_entry(&self, participant: &str, number: &str) -> Result<Payment, BookError> {
        let closed = self.enter(Entry {
            network: NetworkName::BankDirect,
            participant: participant.to_owned(),
            number: number.to_owned(),
            asked: Asked::Close,
            amount_minor: 0,
            details: Details::default(),
            decided: (State::Declined, Some(CLOSED)),
        });
        let known = closed.await?.payment;
        let is_open = known.state == State::Processing && matches!(known.asked, Asked::Pay { .. });
        if !is_open {
            return Ok(known);
        }
        match self.close_order(&known.key()).await? {
            Some(closed) => Ok(closed),
            // It came to its end in between.
            None => Ok(self.find(&known.key()).await?.payment),
        }
    }
}

impl Pages {
    fn decide(&self, entry: &Entry) -> (State, Option<&'static str>) {
        let declined = |code| (State::Declined, Some(code));
        let Asked::Refund { original_number } = &entry.asked else {
            let refused = self.token_refused(entry.network, &entry.participant, &entry.details);
            return refused.map_or(entry.decided, declined);
        };
        let original = Key::order(entry.network, &entry.participant, original_number);
        let Some(payment) = self.payments.get(&original) else { return declined("OriginalNotFound") };
        let Asked::Pay { currency, .. } = &payment.asked else { return declined("OriginalNotFound") };
        if payment.state != State::Succeeded {
            return declined("OriginalNotSucceeded");
        }
        if entry.details.text("currency") != currency {
            return declined("NotPermitted");
        }
        let refunded = self.refunded.get(&original).copied().unwrap_or(0);
        match refunded.checked_add(entry.amount_minor) {
            Some(sum) if sum <= payment.amount_minor => entry.decided,
            _ => declined("RefundExceedsOriginal"),
        }
    }
}
