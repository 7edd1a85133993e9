//! Bugs planted in this crate's own code, which `payplane_ledger::plants` knows.

use payplane_ledger::plants::{Plant, plant};

use crate::plants::{Planted, with_bug};
use crate::{events, unknown};

/// The bug, what it needs in the database, and the test that must fail.
type RustPlant = (Plant, fn() -> String, fn());

const PLANTS: &[RustPlant] = &[
    (
        Plant::AnswerBeforeCommit,
        String::new,
        unknown::a_commit_whose_wait_for_the_standby_was_cancelled_is_unknown,
    ),
    (
        Plant::IdentityApart,
        identities_apart,
        unknown::a_posting_whose_session_was_ended_leaves_nothing_behind,
    ),
    (
        Plant::CutByNumber,
        String::new,
        events::a_writer_paused_before_its_commit_is_told_when_it_has_committed,
    ),
];

/// Identities may be committed alone, and one that has this transaction's id passes for new.
fn identities_apart() -> String {
    let taken = with_bug(
        "take_keys",
        "SELECT i.n FROM unnest(p_items) i JOIN ours ON ours.decision = i.transaction_id LOOP",
        "SELECT i.n FROM unnest(p_items) i JOIN ledger.identities k ON k.key_date = i.key_date AND k.caller = i.caller
                AND k.key_digest = ledger.key_digest(i.key) WHERE p_open[i.n] AND k.decision = i.transaction_id LOOP",
    );
    let take = "
        CREATE FUNCTION ledger.take_identities(p_ids uuid[], p_callers text[], p_key_dates date[], p_keys text[])
        RETURNS void LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
            INSERT INTO ledger.identities (key_date, caller, key_digest, decision)
            SELECT i.key_date, i.caller, ledger.key_digest(i.key), i.id
              FROM unnest(p_ids, p_callers, p_key_dates, p_keys) AS i (id, caller, key_date, key)
             ORDER BY 1, 2, 3 ON CONFLICT DO NOTHING;
        $$;
        GRANT EXECUTE ON FUNCTION ledger.take_identities TO ledger";
    taken + ";" + take
}

pub(crate) fn in_rust() -> Vec<Planted> {
    let planted = |&(which, sql, test): &RustPlant| Planted {
        bug: format!("in Rust: {which:?}"),
        begin: Box::new(move || plant(which)),
        sql: sql(),
        test,
    };
    PLANTS.iter().map(planted).collect()
}
