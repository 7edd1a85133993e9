//! What is known of accounts, to send postings that lower a floored account apart
//! from the others. It is a hint: the database decides, whatever comes with what.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use deadpool_postgres::Pool;
use tokio::sync::Semaphore;

use crate::query::query;
use crate::request::{Line, Posting};

/// Some 16 MB. When it is full it is learned anew.
const KNOWN_MAX: usize = 500_000;
const LEARN_MAX: Duration = Duration::from_millis(500);

/// How a posting travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// It waits for no row.
    Raising,
    /// It lowers a floored account, or is linked to an original.
    Lowering,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Floor {
    None,
    /// The side that raises it.
    OnDebit,
    OnCredit,
}

/// Clones share what is known.
#[derive(Clone)]
pub struct Accounts {
    pool: Pool,
    /// Connections that batches leave alone.
    others: Arc<Semaphore>,
    hasher: RandomState,
    known: Arc<RwLock<HashMap<u64, Floor>>>,
}

impl Accounts {
    #[must_use]
    pub fn new(pool: Pool, others: Arc<Semaphore>) -> Self {
        Self { pool, others, hasher: RandomState::new(), known: Arc::default() }
    }

    pub async fn lane(&self, posting: &Posting) -> Lane {
        if posting.original.is_some() {
            return Lane::Lowering;
        }
        if let Some(lane) = self.guess(&posting.entries) {
            return lane;
        }
        // An account that is not there yet, or cannot be read now, is no reason to wait.
        let _ = tokio::time::timeout(LEARN_MAX, self.learn(&posting.entries)).await;
        self.guess(&posting.entries).unwrap_or(Lane::Raising)
    }

    fn guess(&self, lines: &[Line]) -> Option<Lane> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut lane = Lane::Raising;
        for line in lines {
            let lowers = match known.get(&self.place(&line.account, line.currency.as_str()))? {
                Floor::None => false,
                Floor::OnDebit => line.side == "credit",
                Floor::OnCredit => line.side == "debit",
            };
            if lowers {
                lane = Lane::Lowering;
            }
        }
        Some(lane)
    }

    fn place(&self, code: &str, currency: &str) -> u64 {
        self.hasher.hash_one((code, currency))
    }

    async fn learn(&self, lines: &[Line]) {
        const SQL: &str = "SELECT code, currency, normal_side::text, floor_minor IS NOT NULL
                             FROM ledger.accounts WHERE code = ANY ($1)";
        let codes: Vec<&str> = lines.iter().map(|line| line.account.as_str()).collect();
        let Ok(_turn) = self.others.acquire().await else { return };
        let Ok(connection) = self.pool.get().await else { return };
        let Ok(rows) = query(connection, SQL, &[&codes]).await else { return };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        for row in rows {
            let floor = match (row.get::<_, bool>(3), row.get::<_, &str>(2)) {
                (false, _) => Floor::None,
                (true, "debit") => Floor::OnDebit,
                (true, _) => Floor::OnCredit,
            };
            known.insert(self.place(row.get(0), row.get(1)), floor);
        }
    }
}
