//! What is known of accounts, to send postings that lower a floored account apart
//! from the others. It is a hint: the database decides, whatever comes with what.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock};

use deadpool_postgres::Pool;
use tokio::sync::{Semaphore, mpsc};

use crate::query::query;
use crate::request::{Line, Posting};

/// Some 16 MB. When it is full it is learned anew.
const KNOWN_MAX: usize = 500_000;
/// Postings whose accounts wait to be looked up; what is beyond comes with the next posting.
const UNKNOWN_MAX: usize = 4_096;
/// Postings of one look.
const LEARN_MAX: usize = 1_024;

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

type Known = Arc<RwLock<HashMap<u64, Floor>>>;

/// Clones share what is known.
#[derive(Clone)]
pub struct Accounts {
    hasher: RandomState,
    known: Known,
    unknown: mpsc::Sender<Vec<String>>,
}

impl Accounts {
    /// `others`: turns on connections that batches leave alone.
    #[must_use]
    pub fn new(pool: Pool, others: Arc<Semaphore>) -> Self {
        let (unknown, asked) = mpsc::channel(UNKNOWN_MAX);
        let accounts = Self { hasher: RandomState::new(), known: Arc::default(), unknown };
        tokio::spawn(learn(pool, others, asked, accounts.hasher.clone(), accounts.known.clone()));
        accounts
    }

    /// Nobody waits: where an account is not known yet, the database finds out itself,
    /// and the next posting knows.
    #[must_use]
    pub fn lane(&self, posting: &Posting) -> Lane {
        if posting.original.is_some() {
            return Lane::Lowering;
        }
        self.guess(&posting.entries).unwrap_or_else(|| {
            let _ = self.unknown.try_send(posting.entries.iter().map(|line| line.account.clone()).collect());
            Lane::Raising
        })
    }

    fn guess(&self, lines: &[Line]) -> Option<Lane> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut lane = Lane::Raising;
        for line in lines {
            let lowers = match known.get(&place(&self.hasher, &line.account, line.currency.as_str()))? {
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
}

fn place(hasher: &RandomState, code: &str, currency: &str) -> u64 {
    hasher.hash_one((code, currency))
}

/// Looks up what was asked, many at a time, until nobody can ask any more.
async fn learn(
    pool: Pool,
    others: Arc<Semaphore>,
    mut asked: mpsc::Receiver<Vec<String>>,
    hasher: RandomState,
    known: Known,
) {
    const SQL: &str = "SELECT code, currency, normal_side::text, floor_minor IS NOT NULL
                         FROM ledger.accounts WHERE code = ANY ($1)";
    let mut batch = vec![];
    while asked.recv_many(&mut batch, LEARN_MAX).await > 0 {
        let codes: Vec<String> = batch.drain(..).flatten().collect();
        let Ok(_turn) = others.acquire().await else { return };
        let Ok(connection) = pool.get().await else { continue };
        let Ok(rows) = query(connection, SQL, &[&codes]).await else { continue };
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        for row in rows {
            let floor = match (row.get::<_, bool>(3), row.get::<_, &str>(2)) {
                (false, _) => Floor::None,
                (true, "debit") => Floor::OnDebit,
                (true, _) => Floor::OnCredit,
            };
            known.insert(place(&hasher, row.get(0), row.get(1)), floor);
        }
    }
}
