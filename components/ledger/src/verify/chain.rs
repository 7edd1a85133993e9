//! The chain as it is stored, against what the books hold and against the heads
//! that were published. It tells the first place of each kind only: after it
//! everything differs.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{Context, SHA256};
use tokio_postgres::{Client, Error};

use super::Finding;
use crate::seal::head::Head;

/// What the batches at a range of positions hold: a position and the SHA-256 of
/// its records, as rows.
pub const CONTENT: &str = include_str!("sealed.sql");
/// What stands before the first hash.
const NOTHING: [u8; 32] = [0; 32];
/// Positions at once.
const BLOCK: i64 = 256;

/// By position and epoch.
type Published<'a> = BTreeMap<(i64, i32), &'a Head>;

/// How far the books are sealed and proven, and what speaks against them.
#[derive(Clone, Debug, Default)]
pub struct Walked {
    pub sealed: i64,
    pub proven: i64,
    pub unsealed: i64,
    /// Identities of key dates before it have left.
    pub keys_from: Option<String>,
    pub findings: Vec<Finding>,
}

impl Walked {
    fn find(&mut self, what: &str, subject: String) {
        // The chain's own break is told once.
        if !self.findings.iter().any(|finding| finding.what == what) {
            self.findings.push(Finding { what: what.to_owned(), subject });
        }
    }
}

/// The hash at a position: of the one before it and of the batch's content. The
/// database follows the same rule (`components/migrate/sql/V12__ledger_chain.sql`).
#[must_use]
pub fn link(before: Option<&[u8]>, content: &[u8]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    context.update(before.unwrap_or(&NOTHING));
    context.update(content);
    context.finish().as_ref().to_vec()
}

pub(super) async fn walk(client: &Client, heads: &[Head]) -> Result<Walked, Error> {
    let sql = "SELECT c.books_id::text, (SELECT coalesce(max(position), 0) FROM ledger.chain),
                      (SELECT count(*) FROM ledger.batches) - (SELECT count(*) FROM ledger.chain)
                 FROM payplane.control c";
    let row = client.query_one(sql, &[]).await?;
    let books: String = row.get(0);
    let mut walked = Walked { sealed: row.get(1), unsealed: row.get(2), ..Walked::default() };
    let mut published = Published::new();
    for head in heads {
        if head.books != books {
            walked.find("a head is of other books", format!("{}, and these are {books}", head.books));
        }
        if published.insert((head.position, head.epoch), head).is_some_and(|other| other.hash != head.hash) {
            walked.find("two heads were published for one position", head.position.to_string());
        }
    }
    let lost = lost(client, walked.sealed, heads).await?;
    published.retain(|(position, epoch), _| lost.get(epoch).is_none_or(|(kept, _)| position <= kept));
    let mut before = None;
    let mut first: i64 = 1;
    while first <= walked.sealed {
        let last = walked.sealed.min(first.saturating_add(BLOCK - 1));
        before = block(client, &mut walked, &published, (first, last), before).await?;
        first = last.saturating_add(1);
    }
    for (epoch, (kept, end)) in lost {
        let subject = format!("positions {} to {end} of epoch {epoch}", kept.saturating_add(1));
        walked.findings.push(Finding { what: "published and not in these books".to_owned(), subject });
    }
    Ok(walked)
}

/// The epochs of which more was published than these books have, as after a restore
/// of an older copy: where they left it, and how far it was published. What stands
/// behind the first position of a later epoch is not of this one, whatever it says.
async fn lost(client: &Client, sealed: i64, heads: &[Head]) -> Result<BTreeMap<i32, (i64, i64)>, Error> {
    let mut ends: BTreeMap<i32, i64> = BTreeMap::new();
    for head in heads {
        let end = ends.entry(head.epoch).or_default();
        *end = head.position.max(*end);
    }
    let kept = "SELECT least(coalesce(min(position) - 1, $2), $2) FROM ledger.positions WHERE epoch > $1";
    let mut lost = BTreeMap::new();
    for (epoch, end) in ends {
        let kept: i64 = client.query_one(kept, &[&epoch, &sealed]).await?.get(0);
        if end > kept {
            lost.insert(epoch, (kept, end));
        }
    }
    Ok(lost)
}

/// Returns the hash at the last position.
async fn block(
    client: &Client,
    walked: &mut Walked,
    published: &Published<'_>,
    (first, last): (i64, i64),
    mut before: Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, Error> {
    let stored = "SELECT position, hash FROM ledger.chain WHERE position BETWEEN $1 AND $2";
    let hashes = by_position(client, stored, first, last).await?;
    let contents = by_position(client, CONTENT, first, last).await?;
    for position in first..=last {
        let hash = hashes.get(&position);
        let right = contents.get(&position).map(|content| link(before.as_deref(), content));
        if hash.is_none() || hash != right.as_ref() {
            walked.find("the chain breaks", format!("at position {position}"));
        }
        for (_, head) in published.range((position, i32::MIN)..=(position, i32::MAX)) {
            if hash.map(hex::encode).as_deref() == Some(head.hash.as_str()) {
                walked.proven = if walked.findings.is_empty() { position } else { walked.proven };
            } else {
                let from = walked.proven.saturating_add(1);
                walked.find("a published head differs", format!("at positions {from} to {position}"));
            }
        }
        // What is stored, so that one break does not hide the next.
        before = hash.cloned();
    }
    Ok(before)
}

async fn by_position(
    client: &Client,
    sql: &str,
    first: i64,
    last: i64,
) -> Result<BTreeMap<i64, Vec<u8>>, Error> {
    let rows = client.query(sql, &[&first, &last]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
