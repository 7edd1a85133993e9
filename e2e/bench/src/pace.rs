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
/// moment at which it was due, in microseconds.
pub(crate) async fn at_rate<T, F>(
    rate: u64,
    during: Duration,
    call: impl Fn() -> F,
) -> Result<(Histogram<u64>, Vec<T>)>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let took = Arc::new(Mutex::new(histogram()?));
    let (start, mut tasks) = (Instant::now(), vec![]);
    for n in 0..rate * during.as_secs() {
        let due = start + Duration::from_secs_f64(n as f64 / rate as f64);
        tokio::time::sleep_until(due.into()).await;
        let (call, took) = (call(), took.clone());
        tasks.push(tokio::spawn(async move {
            let answer = call.await;
            let us = u64::try_from(due.elapsed().as_micros()).unwrap_or(u64::MAX).max(1);
            took.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(us);
            answer
        }));
    }
    let mut answers = vec![];
    for task in tasks {
        answers.push(task.await??);
    }
    let took = took.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Ok((took, answers))
}

/// Of microseconds.
pub(crate) fn ms(took: &Histogram<u64>, quantile: f64) -> f64 {
    precise(took.value_at_quantile(quantile)) / 1_000.0
}
