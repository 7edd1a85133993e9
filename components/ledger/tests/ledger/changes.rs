//! What somebody who can do anything in the database may change, and what is said of it.

/// What ours and the other verifier say of the commonest changes.
const NOT_ASKED: (&str, &str) =
    ("a transaction is what was asked for: {victim}", "transaction {victim} is not what was asked for");
const BREAKS: (&str, &str) =
    ("the chain breaks: at position {position}", "the chain breaks at position {position}");

/// Books that were changed by somebody who can do anything in the database: by
/// what SQL, and what must be said of it, by us and by the other verifier.
pub(crate) const CHANGES: &[(&str, &str, &str, &str)] = &[
    (
        "an amount, on both sides",
        "UPDATE ledger.entries e SET amount_minor = amount_minor + 1 FROM victim v WHERE e.transaction_id = v.id",
        NOT_ASKED.0,
        NOT_ASKED.1,
    ),
    (
        "entries deleted",
        "DELETE FROM ledger.entries e USING victim v WHERE e.transaction_id = v.id",
        NOT_ASKED.0,
        NOT_ASKED.1,
    ),
    (
        "entries inserted, that balance, and are counted",
        "INSERT INTO ledger.entries SELECT v.id, 1, 7, 1, l.side::ledger.side, 2 + l.line
           FROM victim v, (VALUES (1, 'debit'), (2, 'credit')) l (line, side);
         UPDATE ledger.transactions t SET entry_count = 4 FROM victim v WHERE t.transaction_id = v.id",
        NOT_ASKED.0,
        NOT_ASKED.1,
    ),
    (
        "entries swapped",
        "UPDATE ledger.entries e SET line = 60 FROM victim v WHERE e.transaction_id = v.id AND line = 1;
         UPDATE ledger.entries e SET line = 1 FROM victim v WHERE e.transaction_id = v.id AND line = 2;
         UPDATE ledger.entries e SET line = 2 FROM victim v WHERE e.transaction_id = v.id AND line = 60",
        NOT_ASKED.0,
        NOT_ASKED.1,
    ),
    (
        "an accounting date",
        "UPDATE ledger.transactions t SET accounting_date = accounting_date + 1 FROM victim v WHERE t.transaction_id = v.id",
        BREAKS.0,
        BREAKS.1,
    ),
    (
        "a date of another era",
        "UPDATE ledger.transactions t SET accounting_date = (accounting_date::text || ' BC')::date FROM victim v WHERE t.transaction_id = v.id",
        BREAKS.0,
        BREAKS.1,
    ),
    (
        "two references made one",
        "DELETE FROM ledger.external_references r USING victim v WHERE r.transaction_id = v.id AND r.type = 'order';
         UPDATE ledger.external_references r SET value = r.value || E'\\norder=\"o\\\\1' FROM victim v WHERE r.transaction_id = v.id",
        "a reference is of a transaction, and printable: {victim}",
        "",
    ),
    (
        "a day that was demanded",
        "UPDATE ledger.transactions t SET day_demanded = false FROM victim v WHERE t.transaction_id = v.id",
        NOT_ASKED.0,
        NOT_ASKED.1,
    ),
    (
        "a due date",
        "UPDATE ledger.transactions t SET due_date = due_date + 1 FROM victim v WHERE t.transaction_id = v.id;
         UPDATE ledger.entries e SET due_date = due_date + 1 FROM victim v WHERE e.transaction_id = v.id",
        NOT_ASKED.0,
        NOT_ASKED.1,
    ),
    (
        "the calendar that a due date goes by",
        "UPDATE ledger.transactions t SET calendar_version = 2 FROM victim v WHERE t.transaction_id = v.id",
        NOT_ASKED.0,
        NOT_ASKED.1,
    ),
    (
        "a due date, for readers only",
        "UPDATE ledger.entries e SET due_date = due_date + 1 FROM victim v WHERE e.transaction_id = v.id",
        "an entry agrees with its transaction: {victim}",
        "",
    ),
    (
        "whose an account is",
        "UPDATE ledger.accounts SET metadata = '{\"owner\": \"thief\"}' WHERE account_id = 1",
        "the chain breaks: at position 1",
        "the chain breaks at position 1",
    ),
    (
        "a settlement date that was told later",
        "UPDATE ledger.settlements s SET settlement_date = s.settlement_date + 1
           FROM ledger.transactions t WHERE t.transaction_id = s.transaction_id AND t.key = 'refund:sale:4'",
        "the chain breaks: at position {told}",
        "the chain breaks at position {told}",
    ),
    (
        "a day opened again",
        "DELETE FROM ledger.day_closings; UPDATE ledger.control SET closing_through = '-infinity'",
        "the chain breaks: at position {day}",
        "the chain breaks at position {day}",
    ),
    (
        "a frozen account let go",
        "UPDATE ledger.accounts SET state = 'open'",
        "an account is in the state that it was put in: merchant:m7:pending CNY",
        "",
    ),
    (
        "an account that was never frozen",
        "UPDATE ledger.accounts SET state = 'open'; DELETE FROM ledger.account_states",
        "the chain breaks: at position {frozen}",
        "the chain breaks at position {frozen}",
    ),
    (
        "a state that nothing sealed has set",
        "INSERT INTO ledger.account_states VALUES (2, 'frozen', 'gateway', 1000000); UPDATE ledger.accounts SET state = 'frozen' WHERE account_id = 2",
        "what was decided is of a batch: state 2",
        "records of batch 1000000, which is not there",
    ),
    (
        "an older config in force",
        "UPDATE ledger.control SET config_epoch_min = 0; DELETE FROM ledger.config_epochs",
        "the chain breaks: at position {config}",
        "the chain breaks at position {config}",
    ),
    (
        "what is held",
        "UPDATE ledger.holds h SET amount_minor = 30 FROM held v WHERE h.hold_id = v.id;
         UPDATE ledger.caps c SET original_minor = 30, remaining_minor = 25 FROM held v WHERE c.original_id = v.id;
         UPDATE ledger.balances b SET held_minor = held_minor + 10 FROM ledger.holds h, held v WHERE h.hold_id = v.id AND b.account_id = h.account_id",
        "a transaction is what was asked for: {held}",
        "transaction {held} is not what was asked for",
    ),
    (
        "when a hold expires",
        "UPDATE ledger.holds h SET expires_at = NULL FROM held v WHERE h.hold_id = v.id",
        "a transaction is what was asked for: {held}",
        "transaction {held} is not what was asked for",
    ),
    (
        "a hold set free",
        "UPDATE ledger.caps c SET remaining_minor = 0 FROM held v WHERE c.original_id = v.id",
        "what is held is the hold less its captures: {held}",
        "",
    ),
    (
        "a reversed refund to be reversed again",
        "UPDATE ledger.caps c SET remaining_minor = original_minor, reversed_by = NULL
           FROM ledger.transactions t, back v WHERE t.transaction_id = v.id AND c.original_id = t.original_id",
        "what was reversed or ended stays so: {back}",
        "",
    ),
    (
        "held money set free",
        "UPDATE ledger.balances SET held_minor = 0",
        "balance is the fold of entries: merchant:m0:pending CNY",
        "",
    ),
    (
        "a balance with its floor",
        "DELETE FROM ledger.balances b USING ledger.accounts a WHERE a.account_id = b.account_id AND a.code = 'merchant:m0:pending'",
        "balance is the fold of entries: merchant:m0:pending CNY",
        "",
    ),
    (
        "a checkpoint",
        "UPDATE ledger.checkpoints c SET credit_minor = credit_minor + 1 FROM point v WHERE c.account_id = 1 AND c.position = v.position",
        "a checkpoint is what moved up to it: 1 at {checkpoint}",
        "",
    ),
    (
        "what the end of a hold set free",
        "UPDATE ledger.hold_ends SET freed_minor = freed_minor + 1",
        "the end of a hold sets free what was held still: {ended}",
        "",
    ),
    (
        "an entry's batch",
        "UPDATE ledger.entries e SET batch_number = 1 FROM victim v WHERE e.transaction_id = v.id",
        "an entry agrees with its transaction: {victim}",
        "",
    ),
    (
        "a cap raised",
        "UPDATE ledger.caps c SET original_minor = original_minor + 50, remaining_minor = remaining_minor + 50 FROM victim v WHERE c.original_id = v.id",
        "a cap is of its original: {victim} CNY",
        "",
    ),
    (
        "a hash in the chain",
        "UPDATE ledger.chain c SET hash = sha256('x') FROM victim v WHERE c.position = v.position",
        BREAKS.0,
        BREAKS.1,
    ),
    (
        "a reference",
        "UPDATE ledger.external_references r SET value = 'other' FROM victim v WHERE r.transaction_id = v.id AND r.type = 'order'",
        NOT_ASKED.0,
        NOT_ASKED.1,
    ),
    (
        "the tail cut off, whatever told of it too",
        "DELETE FROM ledger.chain c USING third t WHERE c.position > t.position;
         DELETE FROM ledger.entries e USING ledger.transactions x, gone g WHERE e.transaction_id = x.transaction_id AND x.batch_number = g.n;
         DELETE FROM ledger.identities i USING ledger.transactions x, gone g WHERE i.decision = x.transaction_id AND x.batch_number = g.n;
         DELETE FROM ledger.identities i USING ledger.refusals x, gone g WHERE i.decision = x.refusal_id AND x.batch_number = g.n;
         DELETE FROM ledger.external_references e USING ledger.transactions x, gone g WHERE e.transaction_id = x.transaction_id AND x.batch_number = g.n;
         DELETE FROM ledger.holds h USING ledger.transactions x, gone g WHERE h.hold_id = x.transaction_id AND x.batch_number = g.n;
         DELETE FROM ledger.transactions x USING gone g WHERE x.batch_number = g.n;
         DELETE FROM ledger.refusals x USING gone g WHERE x.batch_number = g.n;
         DELETE FROM ledger.positions p USING gone g WHERE p.batch_number = g.n;
         DELETE FROM ledger.unsealed_batches p USING gone g WHERE p.batch_number = g.n;
         DELETE FROM ledger.batches b USING gone g WHERE b.batch_number = g.n",
        "published and not in these books: positions {lost} to {end} of epoch 1",
        "positions {lost} to {end} of epoch 1 are lost",
    ),
    (
        "an unsealed transaction, its key left",
        "DELETE FROM ledger.entries e USING unsealed u WHERE e.transaction_id = u.id;
         DELETE FROM ledger.transactions t USING unsealed u WHERE t.transaction_id = u.id",
        "one decision per identity: {unsealed}",
        "identity or decision {unsealed} stands alone",
    ),
    (
        "an unsealed transaction, its batch left",
        "DELETE FROM ledger.entries e USING unsealed u WHERE e.transaction_id = u.id;
         DELETE FROM ledger.identities i USING unsealed u WHERE i.decision = u.id;
         DELETE FROM ledger.transactions t USING unsealed u WHERE t.transaction_id = u.id",
        "a batch counts what it booked: {batch}",
        "batch {batch} counts 1 and holds 0",
    ),
    (
        "an unsealed transaction, its batch too, the balance left",
        "DELETE FROM ledger.entries e USING unsealed u WHERE e.transaction_id = u.id;
         DELETE FROM ledger.identities i USING unsealed u WHERE i.decision = u.id;
         DELETE FROM ledger.transactions t USING unsealed u WHERE t.transaction_id = u.id;
         DELETE FROM ledger.unsealed_batches b USING unsealed u WHERE b.batch_number = u.batch;
         DELETE FROM ledger.batches b USING unsealed u WHERE b.batch_number = u.batch",
        "balance is the fold of entries: merchant:m0:pending CNY",
        "",
    ),
];
