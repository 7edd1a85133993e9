//! The ordered stream of events: each gets a position once it is committed, without gaps and after
//! whatever it follows from. Every replica gives positions, one at a time; docs/gateway.md has the
//! rules, V33 the order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use payplane_common::shutdown::Shutdown;
use payplane_common::telemetry::chain;

use crate::gateway::Gateway;
use crate::store::stream::Given;

/// Events of one call.
const GIVEN_MAX: i32 = 1_000;
/// Whoever reads is this late at most, and one call.
const EVERY: Duration = Duration::from_millis(80);
/// A floor is not believed for longer.
const FLOOR_FOR: Duration = Duration::from_secs(60);

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

/// Up to which number nobody can write an event any more: what was taken below it leaves dead rows,
/// which a snapshot that is held keeps there, and which are not to be walked over each time.
#[derive(Default)]
struct Floor {
    number: i64,
    /// The numbers up to this one are below it once whoever drew one has ended.
    next: Option<Given>,
}

impl Floor {
    /// Events were looked for above it, and as many as may be were given their positions.
    fn looked(&mut self, given: Given) {
        let is_over = |next: &mut Given| {
            next.transaction < given.oldest
                && (given.count < i64::from(GIVEN_MAX) || given.up_to >= next.up_to)
        };
        if let Some(next) = self.next.take_if(is_over) {
            self.number = next.up_to;
        }
        if self.next.is_none() && given.count > 0 {
            self.next = Some(given);
        }
    }
}

/// Gives positions until the process closes.
pub async fn run(gateway: Arc<Gateway>, shutdown: Shutdown) {
    let (mut floor, mut since) = (Floor::default(), Instant::now());
    while !shutdown.closing.is_cancelled() {
        // An older database may have been brought back: there numbers are lower.
        if since.elapsed() >= FLOOR_FOR {
            (floor, since) = (Floor::default(), Instant::now());
        }
        let more = match gateway.store.give_event_positions(GIVEN_MAX, floor.number).await {
            Ok(Some(given)) => {
                floor.looked(given);
                given.count >= i64::from(GIVEN_MAX)
            }
            // Another one is at it.
            Ok(None) => false,
            Err(error) => {
                tracing::info!(error = chain(&error), "events wait for their positions");
                floor = Floor::default();
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

    #[test]
    fn the_floor_rises_to_what_nobody_can_write_below() {
        let given = |count, up_to, transaction, oldest| Given { count, up_to, transaction, oldest };
        let mut floor = Floor::default();
        floor.looked(given(5, 5, 100, 90));
        assert_eq!(floor.number, 0, "whoever drew a lower number may still be open");
        floor.looked(given(3, 8, 101, 100));
        assert_eq!(floor.number, 0, "the giver itself");
        floor.looked(given(i64::from(GIVEN_MAX), 4, 102, 101));
        assert_eq!(floor.number, 0, "there may be more below it");
        floor.looked(given(i64::from(GIVEN_MAX), 2_000, 103, 103));
        assert_eq!(floor.number, 5, "what lay below it is taken");
        floor.looked(given(0, 2_000, 104, 104));
        assert_eq!(floor.number, 2_000);
        floor.looked(given(0, 2_000, 105, 200));
        assert_eq!(floor.number, 2_000, "nothing was given");
    }
}
