//! Refunds of orders, in parts and never more than was paid.

use jiff::Timestamp;
use snafu::{OptionExt, Snafu, ensure};

use super::orders::{Taken, made};
use super::pages::{Event, Pages};
use super::payment::{Asked, Key, NetworkName, Payment};
use super::{Book, BookError, PAYMENTS_MAX};
use crate::details::Details;
use crate::message::State;

/// How much of an original a refund takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    Minor(i64),
    /// All of it, where nothing was refunded yet, and told right.
    Whole(i64),
    /// What is left of it.
    Rest,
}

/// A refund as it comes.
#[derive(Clone, Debug)]
pub struct Refund {
    pub network: NetworkName,
    pub merchant: String,
    pub number: String,
    pub original: String,
    pub amount: Amount,
    /// Succeeded, or Processing at first.
    pub state: State,
    pub asked: Details,
    pub made: Details,
}

/// Why a refund is not taken.
#[derive(Debug, Snafu)]
pub enum RefundError {
    #[snafu(display("there is no such order"))]
    NoOriginal,
    #[snafu(display("the order is not paid"))]
    NotPaid { state: State },
    #[snafu(display("more than is left"))]
    Exceeds,
    #[snafu(display("the book does not take it"), context(false))]
    Book { source: BookError },
}

impl Book {
    /// Takes a refund of a paid order, or finds the one that has the number.
    /// Refunds of one original never exceed it.
    pub async fn refund_order(&self, refund: Refund) -> Result<Taken, RefundError> {
        let (taken, durable) = {
            let mut pages = self.pages();
            let mut payment = build_refund(refund.clone());
            let original = Key::order(refund.network, &refund.merchant, &refund.original);
            if let Some(known) = pages.asked_again(&payment.key()) {
                let amount = match refund.amount {
                    Amount::Minor(minor) | Amount::Whole(minor) => minor,
                    Amount::Rest => known.amount_minor,
                };
                let same = known.amount_minor == amount
                    && known.asked == payment.asked
                    && known.details.contains(&refund.asked);
                (pages.taken(&known, false, !same), self.barrier()?)
            } else {
                if pages.payments.len() >= PAYMENTS_MAX {
                    return Err(BookError::Full.into());
                }
                payment.amount_minor = pages.refundable(&original, refund.amount)?;
                let durable = self.write(&mut pages, Event::Taken(payment.clone()))?;
                (pages.taken(&payment, true, false), durable)
            }
        };
        durable.wait().await.map_err(|source| BookError::Journal { source })?;
        Ok(taken)
    }
}

impl Pages {
    fn refundable(&self, original: &Key, amount: Amount) -> Result<i64, RefundError> {
        let payment = self.payments.get(original).context(NoOriginalSnafu)?;
        ensure!(matches!(payment.asked, Asked::Pay { .. }), NoOriginalSnafu);
        ensure!(payment.state == State::Succeeded, NotPaidSnafu { state: payment.state });
        let refunded = self.refunded.get(original).copied().unwrap_or(0);
        let left = payment.amount_minor.saturating_sub(refunded);
        let (minor, allowed) = match amount {
            Amount::Minor(minor) => (minor, minor <= left),
            Amount::Whole(minor) => (minor, minor == payment.amount_minor && refunded == 0),
            Amount::Rest => (left, true),
        };
        ensure!(allowed && minor > 0, ExceedsSnafu);
        Ok(minor)
    }
}

fn build_refund(refund: Refund) -> Payment {
    Payment {
        network: refund.network,
        merchant_id: refund.merchant,
        number: refund.number,
        asked: Asked::Refund { original_number: refund.original },
        amount_minor: 0,
        network_id: uuid::Uuid::now_v7().simple().to_string(),
        state: refund.state,
        code: None,
        network_time: Timestamp::now(),
        details: made(refund.asked, &refund.made),
        repeated: 0,
    }
}
