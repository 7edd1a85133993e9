//! Agreements that an account be debited, and the one-time codes that confirm them, or a
//! payment.

use jiff::{SignedDuration, Timestamp};
use snafu::{OptionExt, ResultExt};
use uuid::Uuid;

use super::entries::Entry;
use super::orders::CREATED;
use super::pages::{CLOSED, Change, Event, Pages};
use super::{Asked, Book, BookError, JournalSnafu, Key, NetworkName, NotFoundSnafu, Payment};
use crate::details::Details;
use crate::ids;
use crate::message::State;
use crate::sandbox::is_expired;

/// What the payer has to do, while the bank waits for it.
pub const CONFIRM: &str = "confirm";
pub const ONE_TIME_CODE: &str = "OneTimeCode";
/// By which a payment names the account of an agreement,
pub const TOKEN: &str = "token";
/// as its payer.
pub const PAYER: &str = "payerAccount";
/// Since when an agreement is over.
pub const ENDED: &str = "endedAt";
const TRIES: &str = "wrongCodes";
const TOKEN_PREFIX: &str = "agr.";

/// Codes that may be wrong; the last of them ends it.
const TRIES_MAX: u32 = 5;
/// So long the bank waits for an agreement's code.
const SIGN_MAX: SignedDuration = SignedDuration::from_mins(10);

/// What a one-time code came to.
pub enum Confirmed {
    /// As it is now; did this code end it?
    Told(Box<Payment>, bool),
    Wrong,
}

#[must_use]
pub fn awaits_code(payment: &Payment) -> bool {
    payment.state == State::Processing && payment.details.get(CONFIRM).is_some()
}

/// Has nobody confirmed it in time?
fn is_over(payment: &Payment) -> bool {
    let created = payment.details.get(CREATED).and_then(|text| text.parse::<Timestamp>().ok());
    let late = |at: Timestamp| Timestamp::now().duration_since(at) > SIGN_MAX;
    match payment.asked {
        Asked::Sign => created.is_some_and(late),
        _ => is_expired(payment),
    }
}

impl Book {
    /// Ends what waited for a code for too long.
    pub async fn lapse(&self, key: &Key) -> Result<(), BookError> {
        let durable = {
            let mut pages = self.pages();
            let known = pages.payments.get(key);
            if !known.is_some_and(|payment| awaits_code(payment) && is_over(payment)) {
                return Ok(());
            }
            let change = Change::now(key.clone(), Details::default()).because("Expired");
            self.write(&mut pages, Event::Declined(change))?
        };
        durable.wait().await.context(JournalSnafu)
    }

    /// Takes a code for what waits for one. What has an end, or waits for none, is told as it is.
    pub async fn confirm(&self, key: &Key, is_right: bool) -> Result<Confirmed, BookError> {
        self.lapse(key).await?;
        let (confirmed, durable) = {
            let mut pages = self.pages();
            let known = pages.payments.get(key).context(NotFoundSnafu)?;
            if !awaits_code(known) {
                (Confirmed::Told(Box::new(known.clone()), false), self.barrier()?)
            } else {
                let refused = pages.token_refused(key.network, &key.merchant_id, &known.details);
                let event = tried(known, key.clone(), is_right, refused);
                let is_noted = matches!(event, Event::Noted(_));
                let durable = self.write(&mut pages, event)?;
                let now = pages.payments.get(key).context(NotFoundSnafu)?.clone();
                (if is_noted { Confirmed::Wrong } else { Confirmed::Told(Box::new(now), true) }, durable)
            }
        };
        durable.wait().await.context(JournalSnafu)?;
        Ok(confirmed)
    }

    /// What a detail of an agreement says, and how often something was asked of it again.
    #[must_use]
    pub fn asked_again(&self, key: &Key, detail: &str) -> (String, u32) {
        let known = self.pages().asked_again(key);
        known.map(|known| (known.details.text(detail).to_owned(), known.repeated)).unwrap_or_default()
    }

    /// The agreement of a merchant that has this token, also where it is over.
    #[must_use]
    pub fn of_token(&self, network: NetworkName, merchant: &str, token: &str) -> Option<Key> {
        self.pages().of_token(network, merchant, token).map(Payment::key)
    }

    /// May a payment name this token?
    #[must_use]
    pub fn is_token(&self, network: NetworkName, merchant: &str, token: &str) -> bool {
        let details = Details::default().with(PAYER, token);
        let pages = self.pages();
        pages.of_token(network, merchant, token).is_some()
            && pages.token_refused(network, merchant, &details).is_none()
    }

    /// Ends an agreement, also one that is not confirmed, or has not come yet. Anything else is
    /// told as it is.
    pub async fn unsign(&self, participant: &str, number: &str) -> Result<Payment, BookError> {
        let closed = self.enter(Entry {
            network: NetworkName::BankDirect,
            participant: participant.to_owned(),
            number: number.to_owned(),
            asked: Asked::Close,
            amount_minor: 0,
            details: Details::default().with(ENDED, &Timestamp::now().to_string()),
            decided: (State::Declined, Some(CLOSED)),
        });
        closed.await?;
        self.end_signed(&Key::order(NetworkName::BankDirect, participant, number)).await
    }

    /// Ends one that is there.
    pub async fn end_signed(&self, key: &Key) -> Result<Payment, BookError> {
        let ended = Details::default().with(ENDED, &Timestamp::now().to_string());
        let (now, durable) = {
            let mut pages = self.pages();
            let known = pages.payments.get(key).context(NotFoundSnafu)?;
            let change = Change::now(key.clone(), ended);
            let event = match (&known.asked, known.state) {
                (Asked::Sign, State::Processing) => Some(Event::Closed(change)),
                (Asked::Sign, State::Succeeded) if known.details.get(ENDED).is_none() => {
                    Some(Event::Noted(change))
                }
                _ => None,
            };
            let durable = match event {
                Some(event) => self.write(&mut pages, event)?,
                None => self.barrier()?,
            };
            (pages.payments.get(key).context(NotFoundSnafu)?.clone(), durable)
        };
        durable.wait().await.context(JournalSnafu)?;
        Ok(now)
    }
}

/// What a code makes of what waits for it.
fn tried(known: &Payment, key: Key, is_right: bool, refused: Option<&'static str>) -> Event {
    if let Some(code) = refused {
        return Event::Declined(Change::now(key, Details::default()).because(code));
    }
    let tries = known.details.text(TRIES).parse().unwrap_or(0_u32).saturating_add(1);
    match (&known.asked, is_right) {
        (Asked::Sign, true) => {
            let token = match known.network {
                NetworkName::UnionPay => ids::union_token(),
                // Nobody guesses it.
                _ => format!("{TOKEN_PREFIX}{}.{}", known.number, Uuid::new_v4().simple()),
            };
            Event::Completed(Change::now(key, Details::default().with(TOKEN, &token)))
        }
        (_, true) => Event::Completed(Change::now(key, Details::default())),
        (_, false) if tries >= TRIES_MAX => {
            Event::Declined(Change::now(key, Details::default()).because("NotConfirmed"))
        }
        (_, false) => Event::Noted(Change::now(key, Details::default().with(TRIES, &tries.to_string()))),
    }
}

impl Pages {
    /// Why a payment that names an agreement's token is declined.
    pub(super) fn token_refused(
        &self,
        network: NetworkName,
        merchant: &str,
        details: &Details,
    ) -> Option<&'static str> {
        let is_token = |account: &&str| network == NetworkName::UnionPay || account.starts_with(TOKEN_PREFIX);
        let token = details.get(PAYER).filter(is_token)?;
        match self.of_token(network, merchant, token) {
            Some(signed) if signed.details.get(ENDED).is_none() => None,
            Some(_) => Some("AgreementEnded"),
            None => Some("AccountUnknown"),
        }
    }

    fn of_token(&self, network: NetworkName, merchant: &str, token: &str) -> Option<&Payment> {
        let signed = match network {
            NetworkName::UnionPay => {
                self.ids.get(&(network, token.parse().ok()?)).and_then(|key| self.payments.get(key))?
            }
            _ => {
                let number = token.split('.').nth(1).unwrap_or_default();
                self.payments.get(&Key::order(network, merchant, number))?
            }
        };
        let is_its = signed.merchant_id == merchant && signed.details.get(TOKEN) == Some(token);
        is_its.then_some(signed)
    }
}
