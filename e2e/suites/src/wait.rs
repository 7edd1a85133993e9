//! Waiting with a bound, and saying what was awaited.

use std::time::{Duration, Instant};

/// Asks again every 200 ms until there is an answer.
///
/// # Panics
/// When the time is over, with what was awaited and the last reason.
pub fn until<T>(what: &str, at_most: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(reason) if start.elapsed() > at_most => panic!("waited {at_most:?} for {what}: {reason}"),
            Err(_) => std::thread::sleep(Duration::from_millis(200)),
        }
    }
}
