//! What passes between us and a network while a piece of work runs, as it was on the wire, for
//! whoever keeps it. It is unmasked, so it has no Debug and goes nowhere but to `message`.
//!
//! It is carried beside the call, as a trace's span is: no network's folder has to hand it on,
//! and none can forget to.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use jiff::Timestamp;

use super::connection::{Answer, Silence};

/// A close asks a query; nothing has more exchanges.
const EXCHANGES_MAX: usize = 8;

/// One exchange, or a notification.
pub struct Raw {
    /// What was sent, where it is an exchange.
    pub sent: Option<Sent>,
    pub got: Got,
    pub at: Timestamp,
}

pub struct Sent {
    pub method: String,
    /// The path with its query.
    pub target: String,
    pub body: Vec<u8>,
    pub at: Timestamp,
}

pub enum Got {
    Answer {
        status: u16,
        headers: HeaderMap,
        body: Vec<u8>,
        verified: bool,
    },
    /// It verified before it came here.
    Notification {
        headers: HeaderMap,
        body: Vec<u8>,
    },
    Nothing {
        was_sent: bool,
        why: String,
    },
}

type Record = Arc<Mutex<Vec<Raw>>>;

tokio::task_local! {
    static RECORD: Record;
}

/// Does a piece of work, and tells what passed meanwhile.
pub async fn during<T>(work: impl Future<Output = T>) -> (T, Vec<Raw>) {
    let record = Record::default();
    let done = RECORD.scope(record.clone(), work).await;
    let passed = std::mem::take(&mut *all(&record));
    (done, passed)
}

/// What is about to be sent, where somebody keeps it.
pub(super) fn begin(request: &reqwest::Request) -> Option<Sent> {
    RECORD.try_with(|_| ()).ok()?;
    let url = request.url();
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(Sent {
        method: request.method().to_string(),
        target: format!("{}{query}", url.path()),
        body: request.body().and_then(|body| body.as_bytes()).unwrap_or_default().to_vec(),
        at: Timestamp::now(),
    })
}

/// What came back, not yet believed.
pub(super) fn end(sent: Option<Sent>, answer: &Result<Answer, Silence>) {
    let Some(sent) = sent else { return };
    let got = match answer {
        Ok(Answer { status, headers, body }) => {
            Got::Answer { status: *status, headers: headers.clone(), body: body.clone(), verified: false }
        }
        Err(Silence::NotSent(why)) => Got::Nothing { was_sent: false, why: why.clone() },
        Err(Silence::Unknown(why)) => Got::Nothing { was_sent: true, why: why.clone() },
    };
    let raw = Raw { sent: Some(sent), got, at: Timestamp::now() };
    let _ = RECORD.try_with(|record| {
        let mut all = all(record);
        if all.len() < EXCHANGES_MAX {
            all.push(raw);
        }
    });
}

/// The answer that came last verified.
pub(super) fn verified() {
    let _ = RECORD.try_with(|record| {
        if let Some(Raw { got: Got::Answer { verified, .. }, .. }) = all(record).last_mut() {
            *verified = true;
        }
    });
}

fn all(record: &Record) -> MutexGuard<'_, Vec<Raw>> {
    record.lock().unwrap_or_else(PoisonError::into_inner)
}
