//! Calls that begin at their moment, whether those before them are answered or not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

use crate::report::precise;

pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, 60_000_000, 3)?)
}

/// Calls at a rate for so long: what was answered, and how long each took from the
/// moment at which it was due, in microseconds. A thread keeps the time: the runtime's
/// own timers are up to 2 ms late.
pub(crate) async fn at_rate<T, F>(
    rate: u64,
    during: Duration,
    call: impl Fn() -> F + Send + 'static,
) -> Result<(Histogram<u64>, Vec<T>)>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let took = Arc::new(Mutex::new(histogram()?));
    let (record, runtime) = (took.clone(), tokio::runtime::Handle::current());
    let send = move || {
        let start = Instant::now();
        let calls = (0..rate * during.as_secs()).map(|n| {
            let due = start + Duration::from_secs_f64(n as f64 / rate as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let (call, record) = (call(), record.clone());
            runtime.spawn(async move {
                let answer = call.await;
                let us = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
                record.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(us);
                answer
            })
        });
        calls.collect::<Vec<_>>()
    };
    let mut answers = vec![];
    for task in tokio::task::spawn_blocking(send).await? {
        answers.push(task.await??);
    }
    let took = took.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((took, answers))
}

/// Of microseconds.
pub(crate) fn ms(took: &Histogram<u64>, quantile: f64) -> f64 {
    precise(took.value_at_quantile(quantile)) / 1_000.0
}
