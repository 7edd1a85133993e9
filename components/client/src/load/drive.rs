//! Drives the load. Nothing waits for an answer before the next request: a slow
//! gateway shows as latency, not as a lower rate.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use snafu::ResultExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::journal::Journal;
use super::plan::{self, Planned};
use super::record::{Answered, Entry, Kind, Line, Run, Sent};
use super::{
    AppSnafu, JournalSnafu, LoadError, RunArgs, SignalsSnafu, ZoneSnafu, settle, stop_file, summary,
};
use crate::call::App;
use crate::message::{PayRequest, RefundRequest};
use crate::{order, print};

/// Requests without an answer at once. At the greatest that time-outs allow,
/// the run says how many were not sent.
const OPEN_MAX: usize = 20_000;
/// Payments that refunds are picked from.
const REFUNDABLE_MAX: usize = 10_000;
const LOOK_FOR_STOP_EVERY: Duration = Duration::from_millis(200);
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// A run at work.
pub(super) struct Load {
    pub(super) args: RunArgs,
    pub(super) app: App,
    pub(super) journal: Journal,
    date: Date,
    prefix: String,
    /// By id; a request that was skipped has none.
    entries: Mutex<Vec<Option<Entry>>>,
    refundable: Mutex<Vec<Refundable>>,
    /// Cancelled when the record cannot be kept, or by a signal.
    stop: CancellationToken,
}

struct Refundable {
    number: String,
    merchant: String,
    method: String,
    left_minor: i64,
}

pub(super) async fn run(args: RunArgs) -> Result<(), LoadError> {
    let started_at = Timestamp::now();
    let seed = args.seed.unwrap_or_else(|| started_at.as_microsecond().unsigned_abs());
    print::line(&format!("seed: {seed}"));
    let journal = Journal::create(&args.record).context(JournalSnafu)?;
    let gateways = args.app.gateway.clone();
    let head = Run { seed, rate: args.rate, started_at, gateways };
    journal.write(&Line::Run(head)).await.context(JournalSnafu)?;
    let load = Arc::new(Load {
        app: App::new(&args.app).context(AppSnafu)?,
        journal,
        date: order::today(&args.timezone).context(ZoneSnafu { zone: &args.timezone })?,
        prefix: args.prefix.clone().unwrap_or_else(|| format!("L{}-", started_at.as_millisecond())),
        entries: Mutex::default(),
        refundable: Mutex::default(),
        stop: CancellationToken::new(),
        args,
    });
    let broken_off = CancellationToken::new();
    let watcher = tokio::spawn(watch(load.clone(), broken_off.clone())?);
    let (skipped, ended) = load.clone().send_all(seed).await;
    let settled = tokio::select! {
        () = broken_off.cancelled() => Ok(()),
        settled = settle::run(&load) => settled,
    };
    watcher.abort();
    let entries: Vec<Entry> = load.entries().iter().flatten().cloned().collect();
    print::line(&summary::text(&entries, skipped, started_at, ended));
    settled.context(JournalSnafu)?;
    // A record that broke ended the run early: the summary must not hide it.
    load.journal.check().context(JournalSnafu)
}

/// Stops sending at a first signal or a stop file, and asking at a second signal.
fn watch(load: Arc<Load>, broken_off: CancellationToken) -> Result<impl Future<Output = ()>, LoadError> {
    let mut terminate = signal(SignalKind::terminate()).context(SignalsSnafu)?;
    let mut interrupt = signal(SignalKind::interrupt()).context(SignalsSnafu)?;
    let stop_file = stop_file(&load.args.record);
    Ok(async move {
        let mut progress = Instant::now();
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                () = tokio::time::sleep(LOOK_FOR_STOP_EVERY) => {
                    if progress.elapsed() >= PROGRESS_EVERY {
                        progress = Instant::now();
                        print::note(&summary::progress(load.entries().iter().flatten()));
                    }
                    if stop_file.exists() {
                        load.stop.cancel();
                    }
                    continue;
                }
            }
            if load.stop.is_cancelled() {
                broken_off.cancel();
            }
            load.stop.cancel();
        }
    })
}

impl Load {
    /// Starts every request at its time; says how many found no place, and when
    /// the last was started.
    async fn send_all(self: Arc<Self>, seed: u64) -> (u64, Timestamp) {
        let (start, start_at) = (Instant::now(), Timestamp::now());
        let (places, open) = (Arc::new(Semaphore::new(OPEN_MAX)), TaskTracker::new());
        let mut skipped = 0u64;
        let mut ended = start_at;
        for id in 0.. {
            let offset = Duration::from_micros(id * 1_000_000 / self.args.rate);
            if offset >= self.args.duration {
                break;
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = tokio::time::sleep_until(start + offset) => {}
            }
            self.entries().push(None);
            ended = Timestamp::now();
            let Ok(place) = places.clone().try_acquire_owned() else {
                skipped += 1;
                continue;
            };
            let load = self.clone();
            let planned = plan::plan(&self.args, seed, id);
            let intended_at = start_at.checked_add(offset).unwrap_or(start_at);
            open.spawn(async move {
                load.one(id, planned, start + offset, intended_at).await;
                drop(place);
            });
        }
        open.close();
        open.wait().await;
        (skipped, ended)
    }

    /// One request: recorded, sent, answered, recorded.
    async fn one(&self, id: u64, planned: Planned, intended: Instant, intended_at: Timestamp) {
        let sent = self.prepare(id, planned, intended_at);
        if self.journal.write(&Line::Sent(sent.clone())).await.is_err() {
            return self.stop.cancel();
        }
        self.put(id, Entry { sent: sent.clone(), answered: None, settled: None });
        let mut answered = self.call(&sent).await;
        answered.latency_micros = u64::try_from(intended.elapsed().as_micros()).unwrap_or(u64::MAX);
        if self.journal.write(&Line::Answered(answered.clone())).await.is_err() {
            return self.stop.cancel();
        }
        if sent.kind == Kind::Pay && answered.outcome == super::Outcome::Succeeded {
            self.remember(&sent);
        }
        self.put(id, Entry { sent, answered: Some(answered), settled: None });
    }

    fn prepare(&self, id: u64, planned: Planned, intended_at: Timestamp) -> Sent {
        let refund = planned.refund.and_then(|pick| self.pick(pick));
        let mut sent = Sent {
            id,
            kind: Kind::Pay,
            order_date: self.date,
            order_number: format!("{}{id:08}", self.prefix),
            refund_number: None,
            merchant_id: planned.merchant,
            method: planned.method,
            amount_minor: planned.amount_minor,
            currency: self.args.currency.clone(),
            intended_at,
            sent_at: Timestamp::now(),
        };
        if let Some(refund) = refund {
            sent.kind = Kind::Refund;
            sent.refund_number = Some(format!("R{id:08}"));
            sent.order_number = refund.number;
            sent.merchant_id = refund.merchant;
            sent.method = refund.method;
            sent.amount_minor = refund.left_minor;
        }
        sent
    }

    async fn call(&self, sent: &Sent) -> Answered {
        let date = sent.order_date.to_string();
        match &sent.refund_number {
            None => {
                let request = PayRequest {
                    order_date: sent.order_date,
                    order_number: sent.order_number.clone(),
                    merchant_id: sent.merchant_id.clone(),
                    method: sent.method.clone(),
                    amount_minor: sent.amount_minor,
                    currency: sent.currency.clone(),
                    description: None,
                    payer_id: None,
                    expires_in_seconds: None,
                };
                settle::of_payment(sent.id, self.app.pay(&request).await)
            }
            Some(number) => {
                let (refund_number, amount_minor) = (number.clone(), sent.amount_minor);
                let request = RefundRequest { refund_number, amount_minor, ..RefundRequest::default() };
                settle::of_refund(sent.id, self.app.refund(&date, &sent.order_number, &request).await)
            }
        }
    }

    fn remember(&self, sent: &Sent) {
        let mut pool = self.refundable.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < REFUNDABLE_MAX {
            pool.push(Refundable {
                number: sent.order_number.clone(),
                merchant: sent.merchant_id.clone(),
                method: sent.method.clone(),
                left_minor: sent.amount_minor,
            });
        }
    }

    /// Picks a payment, and a quarter at most of what is left of it to refund.
    fn pick(&self, pick: u64) -> Option<Refundable> {
        let mut pool = self.refundable.lock().unwrap_or_else(PoisonError::into_inner);
        let at = usize::try_from(pick.checked_rem(pool.len() as u64)?).ok()?;
        let amount = plan::harmless((pool[at].left_minor / 4).max(1));
        pool[at].left_minor -= amount;
        let Refundable { number, merchant, method, left_minor } = &pool[at];
        let picked = Refundable {
            number: number.clone(),
            merchant: merchant.clone(),
            method: method.clone(),
            left_minor: amount,
        };
        if *left_minor <= 0 {
            pool.swap_remove(at);
        }
        Some(picked)
    }

    pub(super) fn put(&self, id: u64, entry: Entry) {
        let Ok(at) = usize::try_from(id) else { return };
        if let Some(slot) = self.entries().get_mut(at) {
            *slot = Some(entry);
        }
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, Vec<Option<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
