//! The rules of the books, as questions for what breaks them.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error};
use uuid::Uuid;

use super::{BEGIN, Finding, SETTINGS};

/// Every invariant, each a question for what breaks it, one after the other: so the
/// server needs memory and disk for one at a time.
const INVARIANTS: [&str; 2] = [include_str!("books.sql"), include_str!("order.sql")];
/// Of the transactions between two ids, so that nothing is sorted on the disk.
const OF_TRANSACTIONS: &str = include_str!("content.sql");
/// The last of so many transactions from an id on.
const BLOCK_END: &str = "SELECT t.transaction_id FROM transactions t WHERE t.transaction_id >= $1
    ORDER BY t.transaction_id OFFSET 49999 LIMIT 1";
/// What stands in front of them: the tables that postings look at, and what was archived.
const BOTH: &str = "
    WITH transactions AS NOT MATERIALIZED (SELECT * FROM ledger.transactions UNION ALL SELECT * FROM ledger_archive.transactions),
    entries AS NOT MATERIALIZED (SELECT * FROM ledger.entries UNION ALL SELECT * FROM ledger_archive.entries),
    external_references AS NOT MATERIALIZED (
        SELECT * FROM ledger.external_references UNION ALL SELECT * FROM ledger_archive.external_references),
    holds AS NOT MATERIALIZED (SELECT * FROM ledger.holds UNION ALL SELECT * FROM ledger_archive.holds),
    hold_ends AS NOT MATERIALIZED (SELECT * FROM ledger.hold_ends UNION ALL SELECT * FROM ledger_archive.hold_ends)";
/// Of each invariant; more would say nothing new.
const FINDINGS_MAX: usize = 20;

/// Of a block all is joined, once.
const BLOCK: &str = "SET LOCAL enable_nestloop = off";

/// Walks every invariant over the books: no finding is good.
pub async fn invariants(client: &Client) -> Result<Vec<Finding>, Error> {
    client.batch_execute(&format!("{BEGIN}; {SETTINGS}")).await?;
    let mut findings = of_the_whole(client).await?;
    findings.extend(of_transactions(client).await?);
    client.batch_execute("COMMIT").await?;
    Ok(findings)
}

/// In a transaction that has begun, as the next one.
pub(super) async fn of_the_whole(client: &Client) -> Result<Vec<Finding>, Error> {
    let mut findings = vec![];
    for questions in INVARIANTS {
        findings.extend(ask(client, questions, &[]).await?);
    }
    Ok(findings)
}

/// Block by block.
pub(super) async fn of_transactions(client: &Client) -> Result<Vec<Finding>, Error> {
    client.batch_execute(BLOCK).await?;
    let mut findings = vec![];
    let mut first = Uuid::nil();
    loop {
        let end = client.query_opt(&format!("{BOTH} {BLOCK_END}"), &[&first]).await?;
        let last = end.as_ref().map_or(Uuid::max(), |row| row.get(0));
        let found = ask(client, OF_TRANSACTIONS, &[&first, &last]).await?;
        let enough = found.len() >= FINDINGS_MAX;
        findings.extend(found);
        if end.is_none() || enough {
            return Ok(findings);
        }
        first = Uuid::from_u128(last.as_u128().saturating_add(1));
    }
}

/// Asks one after the other of the questions that a `;` and the end of a line part.
async fn ask(
    client: &Client,
    questions: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Finding>, Error> {
    let mut findings = vec![];
    for question in questions.split(";\n") {
        let sql = format!(
            "{BOTH} SELECT what, coalesce(subject, '?') FROM ({question}) b (what, subject) ORDER BY 2 LIMIT {FINDINGS_MAX}"
        );
        let found = client.query(&sql, params).await?;
        findings.extend(found.iter().map(|row| Finding { what: row.get(0), subject: row.get(1) }));
    }
    Ok(findings)
}
