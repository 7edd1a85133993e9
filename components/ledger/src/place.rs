//! How far the write-ahead log had come when callers were answered.

use std::sync::{Arc, Mutex, PoisonError};

use tokio_postgres::Row;

/// Asked on the connection that committed, right after the commit.
pub(crate) const PLACE: &str = "SELECT c.books_epoch, ('x' || substr(pg_walfile_name(l.lsn), 1, 8))::bit(32)::int, \
                                       (l.lsn - '0/0')::bigint FROM ledger.control c, pg_current_wal_lsn() l (lsn)";

/// What was answered lies before it. A later one is greater: the epoch rises with a restore
/// to an older point, the timeline with each promotion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub books_epoch: u32,
    pub timeline: u32,
    pub wal: u64,
}

impl Place {
    pub(crate) fn of(row: &Row) -> Self {
        let number = |at: usize| u32::try_from(row.get::<_, i32>(at)).unwrap_or(0);
        Self {
            books_epoch: number(0),
            timeline: number(1),
            wal: u64::try_from(row.get::<_, i64>(2)).unwrap_or(0),
        }
    }
}

/// Timeline and position as PostgreSQL writes them.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{:X}/{:X}", self.timeline, self.wal >> 32, self.wal & u64::from(u32::MAX))
    }
}

/// The greatest place that a caller was told. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answered(Arc<Mutex<Place>>);

impl Answered {
    pub(crate) fn reached(&self, place: Place) {
        let mut greatest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *greatest = place.max(*greatest);
    }

    pub(crate) fn greatest(&self) -> Place {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_places_are_greater_and_read_as_postgresql_writes_them() {
        let place = |books_epoch, timeline, wal| Place { books_epoch, timeline, wal };
        let answered = Answered::default();
        assert_eq!(answered.greatest().to_string(), "0:0/0");
        for place in [place(1, 1, 0x2_0016_b374), place(1, 2, 5), place(1, 1, u64::MAX)] {
            answered.reached(place);
        }
        assert_eq!(answered.greatest(), place(1, 2, 5));
        assert_eq!(place(1, 1, 0x2_0016_b374).to_string(), "1:2/16B374");
        assert!(place(2, 1, 0) > place(1, 9, 9));
    }
}
