//! Networks that do not answer rest: payments go to other channels first, until a query,
//! which moves no money, is answered again. Each replica goes by what it saw itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use payplane_api::money::Money;
use payplane_common::shutdown::Shutdown;
use payplane_common::trace::Trace;
use uuid::Uuid;

use crate::channel::{Found, Kind, Outcome, Sent};
use crate::gateway::Gateway;
use crate::metrics;
use crate::settings::Settings;
use crate::store::Store;

/// Payments in a row without an outcome, after which a channel rests.
const SILENT_MAX: u32 = 5;
/// It is asked after so long, and then after twice as long each time.
const REST: Duration = Duration::from_secs(2);
const REST_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A network that is asked has answered by then.
const ASKED_MAX: Duration = Duration::from_secs(20);

#[derive(Clone, Copy, Debug, Default)]
struct Breaker {
    silent: u32,
    /// The last rest: only a payment that is answered makes the next one short again.
    rest: Duration,
    /// Resting: when it is asked.
    asked_at: Option<Instant>,
}

impl Breaker {
    fn rest(&mut self, now: Instant) {
        self.rest = self.rest.saturating_mul(2).clamp(REST, REST_MAX);
        self.asked_at = now.checked_add(self.rest);
    }
}

/// What each channel's network has answered lately, by the channel's name.
#[derive(Default)]
pub struct Breakers(Mutex<HashMap<String, Breaker>>);

impl Breakers {
    /// Do payments go to others first?
    #[must_use]
    pub fn rests(&self, channel: &str) -> bool {
        self.breakers().get(channel).is_some_and(|breaker| breaker.asked_at.is_some())
    }

    /// A payment was answered by the network, or was not. True: this changed whether it rests.
    pub fn note_payment(&self, channel: &str, answered: bool, now: Instant) -> bool {
        let mut breakers = self.breakers();
        let breaker = breakers.entry(channel.to_owned()).or_default();
        let rested = breaker.asked_at.is_some();
        if answered {
            *breaker = Breaker::default();
            return rested;
        }
        breaker.silent = breaker.silent.saturating_add(1);
        if rested || breaker.silent < SILENT_MAX {
            return false;
        }
        breaker.rest(now);
        true
    }

    /// A query was answered, or was not. True: the rest is over.
    pub fn note_query(&self, channel: &str, answered: bool, now: Instant) -> bool {
        let mut breakers = self.breakers();
        let Some(breaker) = breakers.get_mut(channel) else { return false };
        if breaker.asked_at.is_none() {
            return false;
        }
        breaker.rest(now);
        if answered {
            // One more silent payment, and it rests again.
            (breaker.asked_at, breaker.silent) = (None, SILENT_MAX.saturating_sub(1));
        }
        answered
    }

    /// Those that are to be asked now, each once.
    fn due(&self, now: Instant) -> Vec<String> {
        let mut due = vec![];
        for (name, breaker) in self.breakers().iter_mut() {
            if breaker.asked_at.is_some_and(|at| at <= now) {
                breaker.asked_at = now.checked_add(ASKED_MAX);
                due.push(name.clone());
            }
        }
        due
    }

    /// Forgets channels that are gone; says which.
    fn forget(&self, is_there: impl Fn(&str) -> bool) -> Vec<String> {
        self.breakers().extract_if(|name, _| !is_there(name)).map(|(name, _)| name).collect()
    }

    fn breakers(&self) -> MutexGuard<'_, HashMap<String, Breaker>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks networks that rest, until the process closes.
pub async fn run(gateway: Arc<Gateway>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.closing.cancelled() => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let settings = gateway.settings();
        gateway.rates.forget(|name| settings.value.channel(name).is_some());
        for name in gateway.breakers.forget(|name| settings.value.channel(name).is_some()) {
            gateway.metrics.channel_rests.remove(&metrics::Name { channel: name });
        }
        for name in gateway.breakers.due(Instant::now()) {
            let gateway = gateway.clone();
            tokio::spawn(async move { ask(&gateway, &name).await });
        }
    }
}

/// A payment that no network has seen.
fn nobodys(settings: &Settings) -> Option<Sent> {
    let now = Timestamp::now();
    Some(Sent {
        number: Store::number(Uuid::now_v7()),
        amount: Money::new(1, *settings.currencies.first()?).ok()?,
        signed_at: now,
        network_id: None,
        kind: Kind::Payment { expires_at: now },
    })
}

/// Whether it answers is what counts.
async fn ask(gateway: &Gateway, name: &str) {
    let settings = gateway.settings();
    let Some(channel) = settings.value.channel(name) else { return };
    let Some(nobodys) = nobodys(&settings.value) else { return };
    let found = channel.client.query(&nobodys, Trace::new()).await;
    let answered = match found {
        Found::Outcome(outcome) => outcome.is_said(),
        Found::NotFound { .. } => true,
    };
    if gateway.breakers.note_query(name, answered, Instant::now()) {
        changed(gateway, name, false);
    }
}

impl Gateway {
    /// Notes whether a payment's network answered.
    pub(crate) fn note_outcome(&self, channel: &str, outcome: &Outcome) {
        self.rates.note(channel, outcome, Instant::now());
        let answered = outcome.is_said();
        if self.breakers.note_payment(channel, answered, Instant::now()) {
            changed(self, channel, !answered);
        }
    }
}

fn changed(gateway: &Gateway, channel: &str, rests: bool) {
    tracing::info!(channel, rests, "what the network answered changed its turn");
    let name = metrics::Name { channel: channel.to_owned() };
    gateway.metrics.channel_rests.get_or_create(&name).set(i64::from(rests));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_network_rests_until_it_answers_a_query() {
        let (breakers, now) = (Breakers::default(), Instant::now());
        let later = |seconds| now + Duration::from_secs(seconds);
        for n in 1..SILENT_MAX {
            assert!(!breakers.note_payment("a", false, now) && !breakers.rests("a"), "{n}");
        }
        // An answer in between begins the count anew.
        assert!(!breakers.note_payment("a", true, now));
        for n in 1..=SILENT_MAX {
            assert_eq!(breakers.note_payment("a", false, now), n == SILENT_MAX);
        }
        assert!(breakers.rests("a") && !breakers.rests("b"));
        assert!(!breakers.note_payment("a", false, later(1)), "it rests already");
        let none: [&str; 0] = [];
        assert_eq!(breakers.due(later(1)), none);
        assert_eq!(breakers.due(later(2)), ["a"]);
        assert_eq!(breakers.due(later(2)), none, "it is being asked");
        assert!(!breakers.note_query("a", false, later(2)) && breakers.rests("a"));
        assert_eq!(breakers.due(later(5)), none);
        assert_eq!(breakers.due(later(6)), ["a"]);
        assert!(breakers.note_query("a", true, later(6)) && !breakers.rests("a"));
        assert!(breakers.note_payment("a", false, later(7)), "silent again: it rests at once,");
        assert_eq!(breakers.due(later(7 + 15)), none, "and longer");
        assert!(breakers.note_payment("a", true, later(22)) && !breakers.rests("a"));
        for _ in 0..SILENT_MAX {
            breakers.note_payment("a", false, later(30));
        }
        assert_eq!(breakers.due(later(32)), ["a"], "as short as at first");
        assert_eq!(breakers.forget(|_| false), ["a"]);
        assert!(!breakers.note_query("a", true, now) && breakers.breakers().is_empty());
    }

    #[test]
    fn a_rest_has_an_end() {
        let (breakers, mut now) = (Breakers::default(), Instant::now());
        for _ in 0..SILENT_MAX {
            breakers.note_payment("a", false, now);
        }
        for _ in 0..1_000 {
            assert!(breakers.due(now + REST_MAX) == ["a"]);
            now += REST_MAX;
            breakers.note_query("a", false, now);
        }
    }
}
