//! The callers' record beside the books.

use std::collections::BTreeMap;

use super::plan;
use super::record::Record;
use crate::books;

/// By key: the kind and the transaction, or the reason of a refusal.
type Decisions = BTreeMap<String, (String, String)>;

/// Fails unless record and books say the same of every request and every merchant.
///
/// # Panics
/// With what differs.
pub fn assert_agree(record: &Record, tenant: &str) {
    let open: Vec<_> = record.open.iter().take(5).collect();
    assert!(open.is_empty(), "{} requests were never answered: {open:?}", record.open.len());
    let told: Decisions = record
        .answered
        .iter()
        .map(|(key, (sent, answered))| {
            let refused = answered.refusal.clone().map(|reason| ("refused".to_owned(), reason));
            let booked = || (sent.kind.clone(), answered.transaction_id.clone().unwrap_or_default());
            (key.clone(), refused.unwrap_or_else(booked))
        })
        .collect();
    let decided = decided(tenant);
    let once: Decisions = decided.iter().cloned().collect();
    let lost: Vec<_> = told.iter().filter(|(key, what)| once.get(*key) != Some(what)).collect();
    let more: Vec<_> = once.keys().filter(|key| !told.contains_key(*key)).collect();
    println!("figure: chaos_lost={} requests", lost.len());
    println!("figure: chaos_doubled={} requests", decided.len() - once.len());
    assert!(lost.is_empty(), "told, and not in the books: {:?}", &lost[..lost.len().min(5)]);
    assert_eq!(decided.len(), once.len(), "decided twice");
    assert!(more.is_empty(), "in the books, and told nobody: {:?}", &more[..more.len().min(5)]);
    for (merchant, told) in record.balances() {
        assert_eq!(balance(tenant, merchant), told, "of merchant {merchant}");
    }
    lies_before_the_end(record, tenant);
}

/// Whatever was answered lies before the end of the log that the books stand on now,
/// and the last primary answered too.
fn lies_before_the_end(record: &Record, tenant: &str) {
    let places = record.answered.values().map(|(_, answered)| (answered.timeline, answered.wal_position));
    let greatest = places.max().expect("there are answers");
    let end = books::try_place(tenant).expect("the database answers");
    assert_eq!(greatest.0, end.0, "the last primary answered, and no later one did");
    assert!(greatest <= end, "{greatest:?} was answered, the log ends at {end:?}");
}

/// What the books decided on all that callers asked for.
fn decided(tenant: &str) -> Vec<(String, (String, String))> {
    let rows = books::sql(
        tenant,
        "select key, kind, transaction_id::text from ledger.transactions where key like 'chaos-%' \
         union all select key, 'refused', reason from ledger.refusals where key like 'chaos-%'",
    );
    let read = |row: &str| {
        let fields: Vec<&str> = row.split('|').collect();
        let [key, kind, what] = fields[..] else { panic!("cannot read {row}") };
        (key.to_owned(), (kind.to_owned(), what.to_owned()))
    };
    rows.lines().filter(|row| !row.is_empty()).map(read).collect()
}

/// What a merchant has, and how much of it is held, as the next decision would find it.
fn balance(tenant: &str, merchant: usize) -> (i64, i64) {
    let code = plan::account(merchant);
    let said = books::sql(
        tenant,
        &format!(
            "select b.posted_minor + coalesce(sum(r.posted_minor), 0), b.held_minor + coalesce(sum(r.held_minor), 0) \
             from ledger.balances b join ledger.accounts using (account_id) \
             left join ledger.raisings r using (account_id) where code = '{code}' group by b.account_id"
        ),
    );
    let (posted, held) =
        said.trim().split_once('|').unwrap_or_else(|| panic!("no balance of {code}: {said}"));
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("cannot read {said}"));
    (number(posted), number(held))
}
