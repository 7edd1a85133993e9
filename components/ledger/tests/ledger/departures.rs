//! Old months leave: identities for good, transactions for the archive. The books
//! are the same before and after, to readers and to two verifiers.

use crate::harness::*;
use crate::past::{age, carry_out, months_ago, number, on, refused, said, told, verified, with_a_past};
use crate::sealed::Sealed;

#[tokio::test]
pub(crate) async fn identities_leave_for_good_and_their_keys_are_never_booked_again() {
    let (sealed, owner, books) = with_a_past().await;
    let (first, upto) = (months_ago(17), months_ago(14));
    refused(&owner, &format!("SELECT ledger.retire_keys('{}')", months_ago(12)), "are still taken").await;
    refused(&owner, "SELECT ledger.retire_keys(NULL)", "are still taken").await;
    let retire = format!("SELECT ledger.retire_keys('{upto}')");
    refused(&owner, &retire, "is open").await;
    assert_eq!(said(&books, on(today(), end("void", "new:2", "old:3"))).await, "booked");

    let old = format!("SELECT count(*) FROM ledger.identities WHERE key_date < '{upto}'");
    assert_eq!(number(&owner, &old).await, 8);
    owner.execute(&retire, &[]).await.unwrap();
    sealed.book("payplane", &["sale:9"], "heads").await;
    verified(&sealed).await;
    let drop = "SELECT ledger.drop_departed('identities_first')";
    refused(&owner, drop, "is no partition that was detached").await;
    let archivable = format!("SELECT ledger.check_archivable('{}')", months_ago(16));
    refused(&owner, &archivable, "attached still").await;
    // Left off after the first partition was detached: it is dropped by whoever asks again.
    let lines: Vec<String> = owner.query(&retire, &[]).await.unwrap().iter().map(|row| row.get(0)).collect();
    owner.batch_execute(&lines[1]).await.unwrap();
    assert_eq!((lines.len(), carry_out(&owner, &retire).await), (8, 7), "three partitions: {lines:?}");
    verified(&sealed).await;
    assert_eq!(owner.query(&retire, &[]).await.unwrap().len(), 0);
    assert_eq!(number(&owner, &old).await, 0);
    refused(&owner, "UPDATE ledger.control SET keys_from = '-infinity'", "append-only").await;

    // Known content, other content, a refused one; by today's clock, and by one that went back.
    let booked = "SELECT count(*) FROM ledger.transactions";
    let transactions = number(&owner, booked).await;
    for aged in [false, true] {
        age(&owner, aged).await;
        for again in [sale("old:1", 0, 100), sale("old:1", 0, 7), payout("old:7", 1, 1)] {
            assert_eq!(said(&books, on(first, again)).await, "KEY_DATE");
        }
    }
    age(&owner, false).await;
    let link = on(today(), refund("new:3", "old:1", 0, 1));
    assert_eq!(said(&books, link).await, "UNKNOWN_ORIGINAL");
    assert_eq!(said(&books, on(upto, sale("old:8", 2, 30))).await, "replayed", "its month is here");
    assert_eq!(number(&owner, booked).await, transactions);
    sealed.book("payplane", &["sale:10"], "heads").await;
    verified(&sealed).await;

    nobody_hides_identities_by_saying_that_they_have_left(&sealed).await;
}

async fn nobody_hides_identities_by_saying_that_they_have_left(sealed: &Sealed) {
    sealed.copy("lost").await;
    let thief = sealed.postgres.connect_to("postgres", "lost").await.unwrap();
    let lose = "SET session_replication_role = replica; DELETE FROM ledger.identities;
        INSERT INTO ledger.departures (what, upto, batch_number) VALUES ('identities', current_date + 9, 1);
        UPDATE ledger.control SET keys_from = current_date + 9";
    thief.batch_execute(lose).await.unwrap();
    let (we, they) = sealed.verdicts("lost", "heads").await;
    assert!(we.iter().any(|f| f.starts_with("identities leave when nobody")), "{we:?}");
    assert!(
        we.iter().any(|f| f.starts_with("the chain breaks"))
            && they.iter().any(|f| f.starts_with("the chain breaks"))
    );
}

#[tokio::test]
pub(crate) async fn archived_months_are_read_and_verified_like_others() {
    let (sealed, owner, books) = with_a_past().await;
    let upto = months_ago(16);
    let archive = format!("SELECT ledger.archive('{upto}')");
    refused(&owner, &archive, "have to leave first").await;
    refused(&owner, &format!("SELECT ledger.move_to_archive('{upto}')"), "have to leave first").await;
    assert_eq!(said(&books, on(today(), end("void", "new:2", "old:3"))).await, "booked");
    assert_eq!(carry_out(&owner, &format!("SELECT ledger.retire_keys('{}')", months_ago(14))).await, 8);
    sealed.book("payplane", &["sale:9"], "heads").await;

    let end = number(&owner, "SELECT max(position) FROM ledger.chain").await;
    let before = told(&owner, end).await;
    refused(&owner, &format!("SELECT ledger.move_to_archive('{upto}')"), "come first").await;
    assert_eq!(carry_out(&owner, &archive).await, 5 + 2 * 2 * 5, "two partitions of five tables");
    assert_eq!(told(&owner, end).await, before);
    verified(&sealed).await;
    let old = format!("SELECT count(*) FROM ledger.entries WHERE transaction_id < ledger.first_id('{upto}')");
    assert_eq!(number(&owner, &old).await, 0);
    assert_eq!(number(&owner, "SELECT count(*) FROM ledger_archive.entries").await, 6);
    for sql in [
        "UPDATE ledger_archive.entries SET amount_minor = 1",
        "DELETE FROM ledger_archive.holds",
        "INSERT INTO ledger_archive.entries SELECT * FROM ledger_archive.entries",
        "TRUNCATE ledger_archive.transactions",
        "DELETE FROM ledger.departures",
    ] {
        refused(&owner, sql, "append-only").await;
    }

    // A refund of what is archived fails, and gives its part back.
    let cap = "SELECT c.remaining_minor FROM ledger.caps c JOIN ledger.all_transactions t ON t.transaction_id = c.original_id WHERE t.key = 'old:1'";
    let left = number(&owner, cap).await;
    assert_eq!(said(&books, reversal("new:3", &refund("new:1", "old:1", 0, 10))).await, "booked");
    assert_eq!(number(&owner, cap).await, left + 10);
    sealed.book("payplane", &["sale:10"], "heads").await;
    verified(&sealed).await;

    sealed.copy("changed").await;
    let thief = sealed.postgres.connect_to("postgres", "changed").await.unwrap();
    let change = "SET session_replication_role = replica; UPDATE ledger_archive.entries SET amount_minor = amount_minor + 1";
    thief.batch_execute(change).await.unwrap();
    let (we, they) = sealed.verdicts("changed", "heads").await;
    assert!(we.iter().any(|f| f.starts_with("a transaction is what was asked for")), "{we:?}");
    assert!(they.iter().any(|f| f.contains("is not what was asked for")), "{they:?}");
}
