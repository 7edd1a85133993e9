//! Orders of the networks whose payers pay by themselves: made, paid or closed
//! later.

use jiff::Timestamp;
use snafu::{OptionExt, ResultExt, ensure};

use super::{
    Asked, Book, BookError, Change, Event, FullSnafu, JournalSnafu, Key, NetworkName, NotFoundSnafu,
    PAYMENTS_MAX, Pages, Payment,
};
use crate::details::Details;
use crate::journal::Durable;
use crate::message::State;

/// The detail that holds when an order or a refund was made, in RFC 3339.
pub const CREATED: &str = "createdAt";

/// An order as it comes.
#[derive(Clone, Debug)]
pub struct Order {
    pub network: NetworkName,
    pub merchant: String,
    pub number: String,
    pub method: &'static str,
    pub amount_minor: i64,
    /// What the merchant asked for: a repetition must not differ in it.
    pub asked: Details,
    /// What the network adds the first time.
    pub made: Details,
}

/// A payment that was there or has been taken now.
#[derive(Clone, Debug)]
pub struct Taken {
    pub payment: Payment,
    /// Was it taken now?
    pub new: bool,
    /// Does what was there differ from what was asked now?
    pub differs: bool,
    /// Of its original, or of itself, in minor units.
    pub refunded_minor: i64,
}

impl Book {
    /// Takes an order that nobody has paid yet, or finds the one that has the number.
    pub async fn order(&self, order: Order) -> Result<Taken, BookError> {
        let key = Key::order(order.network, &order.merchant, &order.number);
        let (taken, durable) = {
            let mut pages = self.pages();
            if let Some(known) = pages.asked_again(&key) {
                let same = known.amount_minor == order.amount_minor && known.details.contains(&order.asked);
                let taken = pages.taken(&known, false, !same);
                (taken, self.barrier()?)
            } else {
                ensure!(pages.payments.len() < PAYMENTS_MAX, FullSnafu);
                let asked = Asked::Pay { currency: "CNY".to_owned(), method: order.method.to_owned() };
                let details = made(order.asked, &order.made);
                let payment = Payment {
                    network: order.network,
                    merchant_id: order.merchant,
                    number: order.number,
                    asked,
                    amount_minor: order.amount_minor,
                    network_id: uuid::Uuid::now_v7().simple().to_string(),
                    state: State::Processing,
                    code: None,
                    network_time: Timestamp::now(),
                    details,
                    repeated: 0,
                };
                let taken = pages.taken(&payment, true, false);
                (taken, self.write(&mut pages, Event::Taken(payment))?)
            }
        };
        durable.wait().await.context(JournalSnafu)?;
        Ok(taken)
    }

    pub(super) fn barrier(&self) -> Result<Durable, BookError> {
        self.journal.barrier().context(JournalSnafu)
    }

    /// What became of a number.
    pub async fn find(&self, key: &Key) -> Result<Taken, BookError> {
        let (found, durable) = {
            let pages = self.pages();
            let found = pages.payments.get(key).map(|payment| pages.taken(payment, false, false));
            (found, self.barrier()?)
        };
        durable.wait().await.context(JournalSnafu)?;
        found.context(NotFoundSnafu)
    }

    /// The payment that has a number of the network's own, where it is this merchant's.
    #[must_use]
    pub fn key_of_id(&self, network: NetworkName, merchant: &str, id: &str) -> Option<Key> {
        let pages = self.pages();
        let key = pages.ids.get(&(network, id.parse().ok()?))?;
        // A number has one spelling.
        let told = pages.payments.get(key)?.details.get(network.id_detail()?);
        (told == Some(id) && key.merchant_id == merchant).then(|| Key::clone(key))
    }

    /// Completes what is unpaid or processing; nothing where that is over already.
    pub async fn complete_order(
        &self,
        key: &Key,
        details: Details,
        paid_minor: i64,
    ) -> Result<Option<Payment>, BookError> {
        let over = {
            let pages = self.pages();
            let known = pages.payments.get(key);
            known.and_then(|known| pages.token_refused(key.network, &key.merchant_id, &known.details))
        };
        if let Some(code) = over.filter(|_| key.network == NetworkName::BankDirect) {
            // By an agreement that ended meanwhile.
            let declined = |key| Event::Declined(Change::now(key, details).because(code));
            return self.end(key, State::Processing, declined).await;
        }
        self.end(key, State::Processing, |key| Event::Completed(Change::now(key, details).paid(paid_minor)))
            .await
    }

    /// Completes what was closed, as no network should.
    pub async fn complete_closed(&self, key: &Key, details: Details) -> Result<Option<Payment>, BookError> {
        self.end(key, State::Declined, |key| Event::Completed(Change::now(key, details))).await
    }

    /// Closes what is unpaid; nothing where it has come to an end already.
    pub async fn close_order(&self, key: &Key) -> Result<Option<Payment>, BookError> {
        self.end(key, State::Processing, |key| Event::Closed(Change::now(key, Details::default()))).await
    }

    async fn end(
        &self,
        key: &Key,
        from: State,
        event: impl FnOnce(Key) -> Event + Send,
    ) -> Result<Option<Payment>, BookError> {
        let (ended, durable) = {
            let mut pages = self.pages();
            let known = pages.payments.get(key).context(NotFoundSnafu)?;
            if known.state != from {
                return Ok(None);
            }
            let durable = self.write(&mut pages, event(key.clone()))?;
            (pages.payments.get(key).cloned(), durable)
        };
        durable.wait().await.context(JournalSnafu)?;
        Ok(ended)
    }

    /// Everything of the other networks that has no end yet.
    #[must_use]
    pub fn unended(&self) -> Vec<Payment> {
        let pages = self.pages();
        let open = |payment: &&Payment| {
            payment.state == State::Processing && payment.network != NetworkName::Simulator
        };
        pages.payments.values().filter(open).cloned().collect()
    }
}

impl Pages {
    pub(super) fn taken(&self, payment: &Payment, new: bool, differs: bool) -> Taken {
        let original = match &payment.asked {
            Asked::Refund { original_number } => {
                Key::order(payment.network, &payment.merchant_id, original_number)
            }
            _ => payment.key(),
        };
        let refunded_minor = self.refunded.get(&original).copied().unwrap_or(0);
        Taken { payment: payment.clone(), new, differs, refunded_minor }
    }
}

pub(super) fn made(mut asked: Details, made: &Details) -> Details {
    asked.extend(made);
    asked.set(CREATED, &Timestamp::now().to_string());
    asked
}
