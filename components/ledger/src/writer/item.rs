//! A posting on its way through the queue, and the place where its caller waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use jiff::civil::Date;
use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use crate::books::{Answer, BooksError};
use crate::request::Posting;

/// A posting and who asks for it.
#[derive(Debug)]
pub struct Item {
    pub transaction_id: Uuid,
    pub caller: String,
    pub posting: Posting,
    pub request_hash: Vec<u8>,
    pub accounting_date: Date,
    pub deadline: Instant,
    /// About as much memory as it takes.
    pub bytes: usize,
}

impl Item {
    #[must_use]
    pub fn new(caller: String, posting: Posting, accounting_date: Date, deadline: Instant) -> Self {
        let (request_hash, bytes) = (posting.hash(), posting.bytes());
        Self {
            transaction_id: Uuid::now_v7(),
            caller,
            posting,
            request_hash,
            accounting_date,
            deadline,
            bytes,
        }
    }

    pub(super) fn ticket(self) -> (Ticket, Waiting) {
        let (answer, answered) = oneshot::channel();
        let taken = Arc::new(AtomicBool::new(false));
        let ticket = Ticket { deadline: self.deadline, taken: taken.clone(), answered };
        (
            ticket,
            Waiting {
                item: self,
                queued: Instant::now(),
                tries: 0,
                alone: false,
                sent: false,
                taken,
                answer,
            },
        )
    }
}

/// The caller's side.
pub(super) struct Ticket {
    deadline: Instant,
    taken: Arc<AtomicBool>,
    answered: oneshot::Receiver<Result<Answer, BooksError>>,
}

impl Ticket {
    /// Until it is sent the deadline ends it; from then on only the wait for it.
    pub(super) async fn answer(self) -> Result<Answer, BooksError> {
        match tokio::time::timeout_at(self.deadline, self.answered).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(BooksError::Ended),
            Err(_) if self.taken.swap(true, Ordering::AcqRel) => Err(BooksError::Waited),
            Err(_) => Err(BooksError::TooLate),
        }
    }
}

/// The queue's side.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) item: Item,
    pub(super) queued: Instant,
    pub(super) tries: u8,
    /// Sent in a batch of its own: another of its batch may have been rejected for its sake.
    pub(super) alone: bool,
    sent: bool,
    /// Set once, by whoever is first: the writer that sends it or the caller that gives up.
    taken: Arc<AtomicBool>,
    answer: oneshot::Sender<Result<Answer, BooksError>>,
}

impl Waiting {
    /// False where its caller has gone or given up: nobody would hear the answer.
    pub(super) fn send(&mut self) -> bool {
        if self.answer.is_closed() {
            return false;
        }
        if !self.sent {
            self.sent = !self.taken.swap(true, Ordering::AcqRel);
        }
        self.sent
    }

    pub(super) fn answer(self, answer: Result<Answer, BooksError>) {
        // A caller that has gone hears nothing; its identity knows.
        let _ = self.answer.send(answer);
    }
}
