//! Until when this process may write. A leader that was frozen wakes up believing
//! that it leads: each write asks its clock first, so two leaders never write.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So long a claim counts for the one who made it: less than for others, so that
/// a request that was sent in time arrives in time.
pub const REIGN: Duration = Duration::from_secs(10);

/// The end of the present claim, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Reign(Arc<Mutex<Option<Instant>>>);

impl Reign {
    /// It lasts until then.
    pub fn lasts(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// How long it still lasts; None when it is over.
    #[must_use]
    pub fn left(&self) -> Option<Duration> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until?.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_before_it_began_and_when_its_time_is_up() {
        let reign = Reign::default();
        assert_eq!(reign.left(), None);
        reign.lasts(Instant::now().checked_add(REIGN));
        assert!(reign.left().is_some_and(|left| left <= REIGN));
        reign.lasts(Some(Instant::now()));
        assert_eq!(reign.left(), None);
    }
}
