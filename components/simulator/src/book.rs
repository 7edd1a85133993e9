//! What the network knows: every pay and refund by merchant and number. The
//! book decides in memory, in the order in which the journal writes.
#![deny(clippy::float_arithmetic, clippy::arithmetic_side_effects)]

pub mod agreements;
pub mod entries;
pub mod orders;
mod pages;
mod payment;
pub mod refunds;

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use snafu::{ResultExt, Snafu, ensure};

use self::pages::{CLOSED, Change, Event, Pages};
pub use self::payment::{Asked, Key, NetworkName, Payment};
use crate::details::Details;
use crate::fault::Fault;
use crate::journal::{Durable, Journal, JournalError};
use crate::message::{Answer, PayRequest, PayoutRequest, RefundRequest, State};

/// More than a test makes; memory is bounded by it.
const PAYMENTS_MAX: usize = 2_000_000;
/// How long an asynchronous result takes.
const ASYNCHRONOUS_AFTER: SignedDuration = SignedDuration::from_secs(2);

#[derive(Debug, Snafu)]
pub enum BookError {
    #[snafu(display("the number was used for another request"))]
    Conflict,
    #[snafu(display("there is no such number"))]
    NotFound,
    #[snafu(display("the book is full"))]
    Full,
    #[snafu(display("the journal does not take it"))]
    Journal { source: JournalError },
}

/// The book and its journal.
pub struct Book {
    pages: Mutex<Pages>,
    journal: Journal,
}

impl Book {
    /// Opens the journal and replays it.
    pub fn open(path: &Path) -> Result<Self, BookError> {
        let mut pages = Pages::default();
        let journal = Journal::open(path, |event| pages.apply(event)).context(JournalSnafu)?;
        tracing::info!(payments = pages.payments.len(), "journal replayed");
        Ok(Self { pages: Mutex::new(pages), journal })
    }

    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Takes a pay, or repeats what became of the same one.
    pub async fn pay(&self, merchant: &str, request: PayRequest) -> Result<Answer, BookError> {
        let asked = Asked::Pay { currency: request.currency, method: request.method };
        let decide = |_: &Pages| Ok(Self::by_fault(request.amount_minor));
        let asked = (asked, Details::default());
        self.take(merchant, request.number, asked, request.amount_minor, decide).await
    }

    /// Takes a payout, or repeats what became of the same one.
    pub async fn payout(&self, merchant: &str, request: PayoutRequest) -> Result<Answer, BookError> {
        let payee = Details::default()
            .with("payeeAccount", &request.payee_account)
            .with("payeeName", &request.payee_name);
        let asked = (Asked::Payout { currency: request.currency }, payee);
        let decide = |_: &Pages| Ok(Self::by_fault(request.amount_minor));
        self.take(merchant, request.number, asked, request.amount_minor, decide).await
    }

    /// Takes a refund, or repeats what became of the same one. Refunds of one
    /// original never exceed it.
    pub async fn refund(&self, merchant: &str, request: RefundRequest) -> Result<Answer, BookError> {
        let original = Key::simulator(merchant, &request.original_number);
        let asked = Asked::Refund { original_number: request.original_number };
        let amount = request.amount_minor;
        let decide = |pages: &Pages| {
            let Some(payment) = pages.payments.get(&original) else { return NotFoundSnafu.fail() };
            if !matches!(payment.asked, Asked::Pay { .. }) || payment.state != State::Succeeded {
                return Ok((State::Declined, Some("OriginalNotSucceeded")));
            }
            let refunded = pages.refunded.get(&original).copied().unwrap_or(0);
            if refunded.checked_add(amount).is_none_or(|sum| sum > payment.amount_minor) {
                return Ok((State::Declined, Some("RefundExceedsOriginal")));
            }
            Ok(Self::by_fault(amount))
        };
        self.complete(merchant, &original.number).await?;
        self.take(merchant, request.number, (asked, Details::default()), amount, decide).await
    }

    /// Takes no money for a pay any more, also where it has not come yet, unless it has
    /// succeeded. Refunds are not closed.
    pub async fn close(&self, merchant: &str, number: String) -> Result<Answer, BookError> {
        self.complete(merchant, &number).await?;
        let key = Key::simulator(merchant, &number);
        let durable = {
            let mut pages = self.pages();
            match pages.payments.get(&key) {
                None => None,
                Some(known)
                    if known.state == State::Processing && matches!(known.asked, Asked::Pay { .. }) =>
                {
                    Some(self.write(&mut pages, Event::Closed(Change::now(key.clone(), Details::default())))?)
                }
                Some(_) => Some(self.journal.barrier().context(JournalSnafu)?),
            }
        };
        let Some(durable) = durable else {
            let closed = |_: &Pages| Ok((State::Declined, Some(CLOSED)));
            let asked = (Asked::Close, Details::default());
            return match self.take(merchant, number.clone(), asked, 0, closed).await {
                // It came in between.
                Err(BookError::Conflict) => Box::pin(self.close(merchant, number)).await,
                answer => answer,
            };
        };
        durable.wait().await.context(JournalSnafu)?;
        let pages = self.pages();
        pages.payments.get(&key).map(Payment::answer).ok_or(BookError::NotFound)
    }

    /// What became of a number.
    pub async fn query(&self, merchant: &str, number: &str) -> Result<Answer, BookError> {
        self.complete(merchant, number).await?;
        let (answer, durable) = {
            let pages = self.pages();
            let found = pages.payments.get(&Key::simulator(merchant, number));
            (found.map(Payment::answer), self.journal.barrier().context(JournalSnafu)?)
        };
        durable.wait().await.context(JournalSnafu)?;
        answer.ok_or(BookError::NotFound)
    }

    /// Everything, oldest first.
    pub async fn record(&self) -> Result<Vec<Payment>, BookError> {
        let (mut all, durable) = {
            let pages = self.pages();
            let all: Vec<_> = pages.payments.values().cloned().collect();
            (all, self.journal.barrier().context(JournalSnafu)?)
        };
        durable.wait().await.context(JournalSnafu)?;
        // Network ids are uuids of version 7: their order is that of time.
        all.sort_by(|a, b| a.network_id.cmp(&b.network_id));
        Ok(all)
    }

    fn by_fault(amount_minor: i64) -> (State, Option<&'static str>) {
        match Fault::of(amount_minor) {
            Some(Fault::Decline) => (State::Declined, Some("Declined")),
            Some(Fault::Asynchronous) => (State::Processing, None),
            _ => (State::Succeeded, None),
        }
    }

    async fn take(
        &self,
        merchant: &str,
        number: String,
        (asked, details): (Asked, Details),
        amount_minor: i64,
        decide: impl FnOnce(&Pages) -> Result<(State, Option<&'static str>), BookError>,
    ) -> Result<Answer, BookError> {
        let (answer, durable) = {
            let mut pages = self.pages();
            let key = Key::simulator(merchant, &number);
            if let Some(known) = pages.asked_again(&key) {
                let same = known.asked == asked
                    && known.amount_minor == amount_minor
                    && known.details.contains(&details);
                // Whatever comes for it is declined.
                let closed = known.asked == Asked::Close && matches!(asked, Asked::Pay { .. });
                ensure!(same || closed, ConflictSnafu);
                // The first request's line may still be on its way to the disk.
                (known.answer(), self.journal.barrier().context(JournalSnafu)?)
            } else {
                ensure!(pages.payments.len() < PAYMENTS_MAX, FullSnafu);
                let (state, code) = decide(&pages)?;
                let payment = Payment {
                    network: NetworkName::Simulator,
                    merchant_id: merchant.to_owned(),
                    number,
                    asked,
                    amount_minor,
                    network_id: uuid::Uuid::now_v7().simple().to_string(),
                    state,
                    code: code.map(str::to_owned),
                    network_time: Timestamp::now(),
                    details,
                    repeated: 0,
                };
                let answer = payment.answer();
                (answer, self.write(&mut pages, Event::Taken(payment))?)
            }
        };
        durable.wait().await.context(JournalSnafu)?;
        Ok(answer)
    }

    /// Completes an asynchronous result that is due. It is written down, so
    /// that what was once told is never taken back.
    async fn complete(&self, merchant: &str, number: &str) -> Result<(), BookError> {
        let durable = {
            let mut pages = self.pages();
            let key = Key::simulator(merchant, number);
            let Some(payment) = pages.payments.get(&key) else { return Ok(()) };
            let due = Timestamp::now().duration_since(payment.network_time) >= ASYNCHRONOUS_AFTER;
            if payment.state != State::Processing || !due {
                return Ok(());
            }
            self.write(&mut pages, Event::Completed(Change::now(key, Details::default())))?
        };
        durable.wait().await.context(JournalSnafu)
    }

    /// Queues an event and applies it, in one turn under the lock. A journal
    /// that does not take it leaves the pages as they were.
    fn write(&self, pages: &mut Pages, event: Event) -> Result<Durable, BookError> {
        let durable = self.journal.append(&event).context(JournalSnafu)?;
        pages.apply(event);
        Ok(durable)
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
