//! Notifications that a process takes in the transaction that makes them, so that nobody has
//! to look for them: as many as it has room for, of one app as many as leave the others
//! theirs. What finds no room is left in the database for a look, as is what a crash cuts
//! off, once its lease has ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use super::deliveries::Delivery;
use crate::counts::Counts;

/// Taken by one process and not ended yet, in all and of one app.
const TAKEN_MAX: usize = 256;
const APP_MAX: usize = 64;

/// What is taken, and its room.
#[derive(Clone)]
pub struct Handover(Arc<Shared>);

struct Shared {
    room: Mutex<Room>,
    sender: mpsc::Sender<Handed>,
    /// Until the one who sends has come for it.
    receiver: Mutex<Option<mpsc::Receiver<Handed>>>,
}

#[derive(Default)]
struct Room {
    is_open: bool,
    taken: Counts,
}

/// A taken notification, and the room that it takes.
pub type Handed = (Delivery, Ticket);

/// Room for one notification of an app, until it is dropped.
pub struct Ticket {
    shared: Arc<Shared>,
    app: String,
}

impl Default for Handover {
    fn default() -> Self {
        // There is a ticket for each that is in it, so it is never full.
        let (sender, receiver) = mpsc::channel(TAKEN_MAX);
        let receiver = Mutex::new(Some(receiver));
        Self(Arc::new(Shared { room: Mutex::default(), sender, receiver }))
    }
}

impl Handover {
    /// Whoever sends takes what is handed over, from now on. None where another does.
    #[must_use]
    pub fn open(&self) -> Option<mpsc::Receiver<Handed>> {
        let receiver = self.0.receiver.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.0.room().is_open = true;
        Some(receiver)
    }

    /// Nothing more is taken.
    pub fn close(&self) {
        self.0.room().is_open = false;
    }

    /// Has all that was taken ended?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.room().taken.all() == 0
    }

    /// Room for one of an app, if there is any.
    pub(super) fn ticket(&self, app: &str) -> Option<Ticket> {
        let mut room = self.0.room();
        let is_taken = room.is_open && room.taken.take(app, (TAKEN_MAX, APP_MAX));
        is_taken.then(|| Ticket { shared: self.0.clone(), app: app.to_owned() })
    }

    /// After its commit.
    pub(super) fn give(&self, delivery: Delivery, ticket: Ticket) {
        let _ = self.0.sender.try_send((delivery, ticket));
    }
}

impl Shared {
    fn room(&self) -> MutexGuard<'_, Room> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.room().taken.give_back(&self.app);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_taken_before_somebody_sends_or_after() {
        let handover = Handover::default();
        assert!(handover.ticket("a").is_none(), "nobody sends yet");
        let receiver = handover.open();
        assert!(receiver.is_some() && handover.open().is_none(), "one sends");
        let held: Vec<_> = (0..APP_MAX).map(|_| handover.ticket("a")).collect();
        assert!(held.iter().all(Option::is_some) && handover.ticket("a").is_none());
        handover.close();
        assert!(handover.ticket("b").is_none(), "it is closed");
        assert!(!handover.is_empty(), "what was taken is still there");
        drop(held);
        assert!(handover.is_empty());
    }
}
