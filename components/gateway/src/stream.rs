//! The ordered stream of events: each gets a position once it is committed, without gaps and after
//! whatever it follows from. Every replica gives positions, one at a time; docs/gateway.md has the
//! rules, V33 the order.

use std::sync::Arc;
use std::time::Duration;

use payplane_common::shutdown::Shutdown;
use payplane_common::telemetry::chain;
use tokio::sync::watch;

use crate::gateway::Gateway;

/// Events of one call.
const GIVEN_MAX: i32 = 1_000;
/// Whoever reads is this late at most, and one call.
const EVERY: Duration = Duration::from_millis(80);
/// Readers that wait for an event in one replica.
const WAITING_MAX: usize = 64;

const ENDED: i64 = -1;

/// A place in the stream: positions after a restored database was brought back are of a later epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub epoch: i32,
    pub position: i64,
}

impl Place {
    pub const BEGIN: Self = Self { epoch: 0, position: 0 };

    /// `EPOCH-POSITION`, as [`std::fmt::Display`] writes it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (epoch, position) = text.split_once('-').filter(|(a, b)| is_plain(a) && is_plain(b))?;
        Some(Self { epoch: epoch.parse().ok()?, position: position.parse().ok()? })
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.epoch, self.position)
    }
}

/// What readers wait for: the last position, as this process knows it.
pub struct Stream {
    last: watch::Sender<i64>,
    waiting: tokio::sync::Semaphore,
}

impl Default for Stream {
    fn default() -> Self {
        Self { last: watch::Sender::new(0), waiting: tokio::sync::Semaphore::new(WAITING_MAX) }
    }
}

impl Stream {
    /// Waits for a position after this one: the last there is. None where none came in time, nobody
    /// else may wait, or the process ends. What it is about, the reader looks up.
    pub async fn after(&self, position: i64, at_most: Duration) -> Option<i64> {
        let _room = self.waiting.try_acquire().ok()?;
        let mut last = self.last.subscribe();
        let came = last.wait_for(|last| *last > position || *last == ENDED);
        let came = *tokio::time::timeout(at_most, came).await.ok()?.ok()?;
        (came != ENDED).then_some(came)
    }
}

/// Gives positions until the process closes; then nobody waits any more.
pub async fn run(gateway: Arc<Gateway>, shutdown: Shutdown) {
    while !shutdown.closing.is_cancelled() {
        let more = match gateway.store.give_event_positions(GIVEN_MAX).await {
            Ok((given, last)) => {
                gateway.stream.last.send_if_modified(|known| std::mem::replace(known, last) != last);
                given >= i64::from(GIVEN_MAX)
            }
            Err(error) => {
                tracing::info!(error = chain(&error), "events wait for their positions");
                false
            }
        };
        if !more {
            tokio::select! {
                () = shutdown.closing.cancelled() => {}
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }
    gateway.stream.last.send_replace(ENDED);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for place in [Place::BEGIN, Place { epoch: 2, position: i64::MAX }] {
            assert_eq!(Place::parse(&place.to_string()), Some(place));
        }
        for bad in ["", "1", "-1", "1-", "1--2", "+1-2", "1-9223372036854775808", "1-2-3", "a-b"] {
            assert_eq!(Place::parse(bad), None, "{bad}");
        }
    }
}
