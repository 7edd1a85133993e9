//! Bugs planted in the database's functions.

use crate::plants::{Planted, with_bug};
use crate::{
    checkpoints, circles, crash, days, departures, due, histories, holds, hostile, model, neighbours,
    partitions, positions, posting, rules, sealed, states,
};

/// The function, the right text, the wrong one, and the test that must fail.
type Plant = (&'static str, &'static str, &'static str, fn());

const PLANTS: &[Plant] = &[
    // The refund cap is read without a lock.
    (
        "lock_guards",
        "c.currency FOR UPDATE",
        "c.currency",
        posting::refunds_at_once_never_exceed_their_original,
    ),
    // The floor is read without a lock.
    ("lock_guards", "b.account_id FOR UPDATE", "b.account_id", posting::a_floor_holds_against_many_at_once),
    // What others raised is not folded before it is decided: a history tells it.
    (
        "fold",
        "+ coalesce(g.posted_minor, 0) ORDER BY",
        "ORDER BY",
        histories::whatever_clients_see_at_once_could_have_been_one_after_the_other,
    ),
    // An identity answers any content.
    (
        "stored_answers",
        "known.request_hash <> known.asked",
        "false",
        posting::an_identity_answers_one_content,
    ),
    // A replay is answered without a commit of its own.
    (
        "post",
        "    batch := ledger.record_batch((SELECT count(*) FROM unnest(fresh) f WHERE f)::int);",
        "    IF true = ANY (fresh) THEN batch := ledger.record_batch(1); END IF;",
        posting::an_identity_answers_one_content,
    ),
    // Every try has an identity of its own.
    (
        "take_keys",
        "ledger.key_digest(i.key)",
        "ledger.key_digest(i.transaction_id::text)",
        posting::the_same_posting_fifty_times_at_once_books_once,
    ),
    // A posting does not share the fence.
    (
        "take_fence",
        "PERFORM pg_advisory_xact_lock_shared(7813575001)",
        "NULL",
        posting::the_fence_waits_for_postings_and_stops_later_ones,
    ),
    // The epoch is read before the fence, hence from an older snapshot.
    (
        "post",
        "    PERFORM ledger.take_fence(false);\n    SELECT l.config_epoch_min, (now() AT TIME ZONE c.time_zone)::date, l.closing_through, l.closed_through, l.keys_from, l.prepared_upto\n      INTO STRICT epoch_min, today, closing, closed, keys_from, prepared_upto FROM ledger.control l, payplane.control c;",
        "    SELECT l.config_epoch_min, (now() AT TIME ZONE c.time_zone)::date, l.closing_through, l.closed_through, l.keys_from, l.prepared_upto\n      INTO STRICT epoch_min, today, closing, closed, keys_from, prepared_upto FROM ledger.control l, payplane.control c;\n    PERFORM ledger.take_fence(false);",
        posting::the_fence_waits_for_postings_and_stops_later_ones,
    ),
    // It is read in the statement that waits for the fence: from a snapshot from before.
    (
        "post",
        "    PERFORM ledger.take_fence(false);\n    SELECT l.config_epoch_min, (now() AT TIME ZONE c.time_zone)::date, l.closing_through, l.closed_through, l.keys_from, l.prepared_upto\n      INTO STRICT epoch_min, today, closing, closed, keys_from, prepared_upto FROM ledger.control l, payplane.control c;",
        "    SELECT l.config_epoch_min, (now() AT TIME ZONE c.time_zone)::date, l.closing_through, l.closed_through, l.keys_from, l.prepared_upto\n      INTO STRICT epoch_min, today, closing, closed, keys_from, prepared_upto FROM (SELECT ledger.take_fence(false) OFFSET 0) f, ledger.control l, payplane.control c;",
        posting::the_fence_waits_for_postings_and_stops_later_ones,
    ),
    // Keys, caps and balances are waited for in any order.
    (
        "take_keys",
        "ORDER BY i.key_date, i.caller, d.digest",
        "ORDER BY random()",
        circles::the_same_keys_in_any_order_are_booked_once_and_nobody_is_broken_off,
    ),
    (
        "lock_guards",
        "ORDER BY c.original_id, c.currency FOR UPDATE",
        "ORDER BY random() FOR UPDATE",
        circles::the_same_caps_and_balances_in_any_order_are_waited_for_in_one,
    ),
    (
        "lock_guards",
        "ORDER BY b.account_id FOR UPDATE",
        "ORDER BY random() FOR UPDATE",
        circles::the_same_caps_and_balances_in_any_order_are_waited_for_in_one,
    ),
    // Whoever is in a batch with one that is refused is dropped.
    (
        "without",
        "NOT f.n = ANY (SELECT r.item FROM unnest(p_refused) r)",
        "NOT EXISTS (SELECT FROM unnest(p_refused))",
        neighbours::a_refused_one_takes_no_neighbour_along,
    ),
    // A closed day takes what is its own.
    (
        "day_of",
        "greatest(p_item.accounting_date, p_closed_through + 1)",
        "p_item.accounting_date",
        days::what_comes_late_goes_to_the_earliest_day_that_is_not_closed,
    ),
    // A day is closed while postings are under way.
    (
        "close_day",
        "PERFORM ledger.take_fence(true)",
        "PERFORM ledger.take_fence(false)",
        days::once_a_day_is_closed_nothing_under_way_gets_into_it,
    ),
    // A closing day takes what was effective after its cut-off.
    (
        "check_days",
        "i.demanded_date <= p_closing_through AND i.accounting_date > i.demanded_date",
        "false",
        days::what_comes_late_goes_to_the_earliest_day_that_is_not_closed,
    ),
    // A stale posting uses its identity up.
    ("post", "i.config_epoch >= epoch_min AND ", "", posting::a_stale_config_leaves_the_identity_unused),
    // The commit is as weak as the session asks for.
    (
        "commit_durably",
        "PERFORM set_config('synchronous_commit', 'on', true)",
        "NULL",
        hostile::a_weak_session_still_commits_durably,
    ),
    // Callers are answered before the commit is on the disk.
    (
        "commit_durably",
        "set_config('synchronous_commit', 'on', true)",
        "set_config('synchronous_commit', 'off', true)",
        crash::nothing_acknowledged_is_lost_with_the_power,
    ),
    // A reversed refund keeps its part of the cap.
    (
        "use_cap",
        "c.remaining_minor + m.amount_minor",
        "c.remaining_minor",
        rules::reversals_are_whole_and_once,
    ),
    // What lowers a balance is counted twice.
    ("resolve", "ELSE -e.amount END", "ELSE -2 * e.amount END", || {
        model::the_books_are_the_fold_of_what_was_acknowledged();
    }),
    // What an account gained is lost when it is folded.
    ("fold", "coalesce(g.posted_minor, 0)", "0", || {
        model::the_books_are_the_fold_of_what_was_acknowledged();
    }),
    // What is held is counted twice.
    (
        "decide",
        "held[it.places[n]] - it.changes[n]",
        "held[it.places[n]] - 2 * it.changes[n]",
        holds::what_is_held_is_not_available_to_others,
    ),
    // What is held is available to others.
    (
        "decide",
        "posted[place] - held[place] +",
        "posted[place] +",
        holds::what_is_held_is_not_available_to_others,
    ),
    // A capture asks for money that is available, besides what is held.
    (
        "captured",
        "THEN least(e.change_minor, 0) ELSE 0 END",
        "THEN 0 ELSE 0 END",
        holds::a_capture_waits_for_no_balance_and_is_a_transaction_like_another,
    ),
    // Any hold pays for a capture.
    (
        "captured",
        "held.accounts[e.item] = e.account_id",
        "held.accounts[e.item] IS NOT NULL",
        holds::a_hold_is_a_hold_and_nothing_else_is,
    ),
    // A captured hold is as good as before.
    ("decide", "still[place] - it.captured", "still[place]", || {
        model::the_books_are_the_fold_of_what_was_acknowledged();
    }),
    // What is set free stays held.
    ("write_holds", "0, -w.freed", "w.freed, 0", holds::what_is_held_is_not_available_to_others),
    // Two captures of one hold in a batch know nothing of each other.
    (
        "holds_of",
        "THEN i.first END",
        "THEN i.n END",
        holds::captures_voids_and_payouts_at_once_share_what_there_is,
    ),
    // What was read of a hold without a lock is written back.
    (
        "write_holds",
        "WHERE u.used",
        "WHERE p_originals[u.n] IS NOT NULL",
        holds::a_hold_that_ends_elsewhere_meanwhile_stays_ended,
    ),
    // A hold expires before its time.
    (
        "check_hold",
        "p_kind = 'expire' AND ",
        "false AND ",
        holds::a_hold_expires_when_its_time_has_come_and_somebody_says_so,
    ),
    // Positions are given in the order of transaction ids.
    (
        "give_positions",
        "OVER (ORDER BY u.batch_number)",
        "OVER (ORDER BY u.xmin::text::bigint)",
        positions::what_a_batch_was_decided_on_stands_before_it,
    ),
    // They are given up to the highest number, whoever commits a lower one later.
    (
        "give_positions",
        "FROM ledger.unsealed_batches u ORDER BY n",
        "FROM ledger.unsealed_batches u WHERE u.batch_number > (SELECT coalesce(max(p.batch_number), 0) FROM ledger.positions p) ORDER BY n",
        positions::a_writer_paused_before_its_commit_delays_and_loses_nothing,
    ),
    // A batch is passed over.
    (
        "give_positions",
        "ORDER BY n LIMIT",
        "ORDER BY n OFFSET 1 LIMIT",
        positions::sealers_at_once_leave_no_gap,
    ),
    // What is sealed skips a row.
    (
        "contents",
        "FROM cut c JOIN ledger.refusals r USING (batch_number)) l",
        "FROM cut c JOIN ledger.refusals r USING (batch_number) WHERE false) l",
        sealed::whatever_is_changed_is_named_by_two_verifiers,
    ),
    // Each position is sealed alone, not upon the one before it.
    (
        "seal",
        "sha256(coalesce(hash, decode(repeat('00', 32), 'hex')) || next.content)",
        "sha256(next.content)",
        sealed::whatever_is_changed_is_named_by_two_verifiers,
    ),
    // An account is frozen past what is under way.
    (
        "set_account_state",
        "PERFORM ledger.take_fence(alone)",
        "PERFORM ledger.take_fence(false)",
        states::once_an_account_is_frozen_nothing_under_way_gets_onto_it,
    ),
    // An account is closed with money on it.
    (
        "has_money",
        "a.debit_minor + a.rest_debit_minor <> a.credit_minor + a.rest_credit_minor",
        "false",
        states::an_account_is_closed_when_nothing_is_on_it,
    ),
    // A roll-up that cuts by the batches' numbers.
    (
        "account_at",
        "(p.position <= coalesce(before.position, 0)) IS NOT TRUE",
        "g.batch_number > coalesce(before.high_batch, 0)",
        checkpoints::an_account_at_a_position_is_the_fold_up_to_there,
    ),
    // Nobody remembers the lowest number since all had a checkpoint.
    (
        "low_batch_after",
        "CASE WHEN p_checkpoint <= rolled.whole_position THEN rolled.low_batch END",
        "NULL",
        checkpoints::an_account_at_a_position_is_the_fold_up_to_there,
    ),
    // A hold sets all free that it ever held.
    (
        "held_before",
        "AND e.was_held",
        "AND false",
        checkpoints::an_account_at_a_position_is_the_fold_up_to_there,
    ),
    // A checkpoint that goes on forgets what it had.
    (
        "roll_whole",
        "credit_minor = c.credit_minor + l.credit_minor",
        "credit_minor = l.credit_minor",
        checkpoints::an_account_at_a_position_is_the_fold_up_to_there,
    ),
    // A busy account gets a checkpoint that does not know of the one before it.
    (
        "roll",
        "WHERE rolled.whole_upto IS NULL",
        "WHERE true",
        checkpoints::an_account_that_gets_busy_meanwhile_has_no_two_checkpoints_side_by_side,
    ),
    // Nobody remembers the lowest number of what came while all got their checkpoints.
    (
        "roll_all",
        "SELECT min(p.batch_number) FROM (",
        "SELECT max(p.batch_number) FROM (",
        checkpoints::an_account_at_a_position_is_the_fold_up_to_there,
    ),
    // What is of another day than most goes to the day of most.
    (
        "roll_days",
        "m.day <> main.day",
        "false",
        days::a_days_statement_is_the_fold_of_its_entries_wherever_checkpoints_lie,
    ),
    // Nothing stands behind the functions when an account is shut, or an epoch over.
    ("entries_are_whole", "OR bool_or(g.shut)", "", rules::rules_stand_behind_the_functions),
    (
        "transactions_are_whole",
        "batch.epoch < in_force.config_epoch_min",
        "false",
        rules::rules_stand_behind_the_functions,
    ),
    // The cap that a reversed link gives back to is not locked with the others.
    (
        "touched_caps",
        "SELECT o.id, t.original_id FROM",
        "SELECT o.id, o.id FROM",
        neighbours::a_held_row_keeps_no_neighbour,
    ),
    // Nobody knows whose cap is held, so all in the batch wait.
    (
        "held",
        "NOT t.cap = ANY (coalesce(free_caps, '{}'))",
        "false",
        neighbours::a_held_row_keeps_no_neighbour,
    ),
    // A posting waits for somebody else to make its partition.
    ("post", "PERFORM ledger.prepare(today)", "NULL", partitions::a_posting_that_finds_no_partition_makes_it),
    // A new partition takes anything that is written beside its table.
    (
        "make_partition",
        "whole IS NOT NULL",
        "false",
        partitions::new_partitions_are_guarded_like_their_tables,
    ),
    // Identities leave while their dates are taken, or with a hold that is open.
    (
        "retire_keys",
        "p_upto <= today - 401",
        "p_upto <= today",
        departures::identities_leave_for_good_and_their_keys_are_never_booked_again,
    ),
    (
        "retire_keys",
        "c.remaining_minor > 0",
        "false",
        departures::identities_leave_for_good_and_their_keys_are_never_booked_again,
    ),
    // What is attached still is dropped, and holds up who posts.
    (
        "drop_departed",
        "AND NOT c.relispartition",
        "",
        departures::identities_leave_for_good_and_their_keys_are_never_booked_again,
    ),
    // Restored books go on in the epoch that they had.
    (
        "raise_books_epoch",
        "in_force := p_above + 1",
        "in_force := p_above",
        sealed::restored_books_go_on_in_a_later_epoch,
    ),
    // A departure lets dates be taken again.
    (
        "retire_keys",
        "SET keys_from = p_upto",
        "SET keys_from = keys_from",
        departures::identities_leave_for_good_and_their_keys_are_never_booked_again,
    ),
    // Transactions are archived that identities still answer with.
    (
        "check_archivable",
        "- 31) IS NOT TRUE",
        "- 31) IS FALSE AND false",
        departures::archived_months_are_read_and_verified_like_others,
    ),
    // Whoever reads an account forgets what is archived.
    (
        "account_at",
        "FROM ledger.all_entries e",
        "FROM ledger.entries e",
        departures::archived_months_are_read_and_verified_like_others,
    ),
    // What is due is not told.
    ("book", "THEN ids.due[e.item] END", "THEN NULL::date END", due::what_is_pending_is_read_by_due_date),
    // A hold raises its account.
    (
        "post",
        "OR (p_kinds[e.item] = 'hold' AND e.change_minor >= 0)",
        "",
        holds::a_hold_is_a_hold_and_nothing_else_is,
    ),
    // Any isolation level is let in.
    ("commit_durably", "<> 'read committed'", "= 'none'", hostile::the_login_can_post_and_nothing_else),
];

pub(crate) fn in_sql() -> Vec<Planted> {
    let planted = |(name, right, wrong, test): &Plant| Planted {
        bug: format!("in {name}: {right:?} -> {wrong:?}"),
        begin: Box::new(|| ()),
        sql: with_bug(name, right, wrong),
        test: *test,
    };
    PLANTS.iter().map(planted).collect()
}
