-- What no machine ends is decided by two persons, and what a network says against what is
-- stored is kept and booked; docs/gateway.md has the rules.

CREATE TABLE gateway.decisions (
    decision_id  uuid PRIMARY KEY,
    kind         text NOT NULL CHECK (kind IN ('Payment', 'Refund', 'Payout', 'Surplus', 'Contradiction')),
    -- An attempt, a refund, a payout, the attempt of a surplus, a contradiction.
    item_id      uuid NOT NULL,
    -- The item as it was when it was proposed: who judges decides of no other.
    seen         text NOT NULL,
    -- Counts what the maker changed: who approves names the one that he read.
    version      integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    outcome      text NOT NULL,
    network_id   text CHECK (char_length(network_id) BETWEEN 1 AND 128),
    network_time timestamptz,
    reason       text NOT NULL CHECK (char_length(reason) BETWEEN 1 AND 200),
    -- Of the proof: a line of a bank statement, a ticket.
    reference    text NOT NULL CHECK (char_length(reference) BETWEEN 1 AND 128),
    status       text NOT NULL DEFAULT 'Proposed' CHECK (status IN
                 ('Proposed', 'Approved', 'Rejected', 'Withdrawn', 'Lapsed')),
    proposed_by  text NOT NULL,
    proposed_at  timestamptz NOT NULL DEFAULT now(),
    ended_by     text,
    ended_at     timestamptz,
    CONSTRAINT outcome_of_kind CHECK (CASE kind WHEN 'Surplus' THEN outcome IN ('Refunded', 'TakeToIncome')
        WHEN 'Contradiction' THEN outcome = 'Resolved' ELSE outcome IN ('Succeeded', 'Failed') END),
    CONSTRAINT success_has_receipt CHECK
        ((outcome IN ('Succeeded', 'Refunded')) = (network_id IS NOT NULL)
         AND (network_id IS NULL) = (network_time IS NULL)),
    CONSTRAINT by_another CHECK (status NOT IN ('Approved', 'Rejected') OR ended_by <> proposed_by),
    CONSTRAINT withdrawn_by_maker CHECK (status <> 'Withdrawn' OR ended_by = proposed_by),
    CONSTRAINT end_says_who CHECK ((status = 'Proposed') = (ended_by IS NULL)
        AND (ended_by IS NULL) = (ended_at IS NULL))
);
CREATE UNIQUE INDEX decisions_one_open ON gateway.decisions (kind, item_id) WHERE status = 'Proposed';
-- What contradicts a decision looks for it.
CREATE INDEX decisions_approved ON gateway.decisions (kind, item_id) WHERE status = 'Approved';
-- Whatever is written begins as a proposal.
GRANT SELECT, INSERT (decision_id, kind, item_id, seen, outcome, network_id, network_time, reason, reference,
    proposed_by), UPDATE (version, seen, outcome, network_id, network_time, reason, reference, status,
    ended_by, ended_at) ON gateway.decisions TO gateway;
CREATE TRIGGER final_stays BEFORE UPDATE ON gateway.decisions FOR EACH ROW
    WHEN (OLD.status <> 'Proposed') EXECUTE FUNCTION gateway.final_stays();

-- What ends is what was proposed, and what is changed bears a new version.
CREATE FUNCTION gateway.decision_as_read() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'decision % is changed without a new version', OLD.decision_id
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER decision_as_read BEFORE UPDATE ON gateway.decisions FOR EACH ROW
    WHEN ((OLD.seen, OLD.outcome, OLD.network_id, OLD.network_time, OLD.reason, OLD.reference)
            IS DISTINCT FROM (NEW.seen, NEW.outcome, NEW.network_id, NEW.network_time, NEW.reason, NEW.reference)
          AND (NEW.version <> OLD.version + 1 OR NEW.status <> 'Proposed'))
    EXECUTE FUNCTION gateway.decision_as_read();

-- Who proposed, changed, approved, rejected, withdrew what, in the audit that nobody changes.
CREATE TRIGGER noted AFTER INSERT OR UPDATE ON gateway.decisions FOR EACH ROW
    EXECUTE FUNCTION gateway.note_change('decision', 'decision_id');

-- What a network says against what is stored, or said before: each word of it once.
CREATE TABLE gateway.contradictions (
    contradiction_id uuid PRIMARY KEY,
    kind          text NOT NULL CHECK (kind IN ('Payment', 'Refund', 'Payout', 'Surplus')),
    item_id       uuid NOT NULL,
    -- A refund that goes out as a payout does: another account than its network's stands for it.
    transferred   boolean NOT NULL,
    -- The decision that it contradicts; none where the network contradicts itself.
    decision_id   uuid REFERENCES gateway.decisions,
    stored        text NOT NULL,
    said          text NOT NULL CHECK (said IN ('Succeeded', 'Failed', 'OtherAmount')),
    said_at       timestamptz NOT NULL,
    network_id    text,
    channel       text NOT NULL,
    amount_minor  bigint NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    currency      text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    -- The ledger's key date: that of what it is about.
    stored_date   date NOT NULL,
    status        text NOT NULL CHECK (status IN ('Noted', 'Open', 'Resolved')),
    -- None where its money is a surplus, or nothing of it is known.
    ledger_transaction_id uuid,
    created_at    timestamptz NOT NULL DEFAULT now(),
    next_check_at timestamptz,
    checks        integer NOT NULL DEFAULT 0,
    UNIQUE (kind, item_id, said),
    CONSTRAINT owed_is_checked CHECK ((status = 'Noted') = (next_check_at IS NOT NULL)),
    CONSTRAINT owed_is_unbooked CHECK (status <> 'Noted' OR ledger_transaction_id IS NULL)
);
CREATE INDEX contradictions_due ON gateway.contradictions (next_check_at) WHERE next_check_at IS NOT NULL;
CREATE INDEX contradictions_open ON gateway.contradictions (contradiction_id) WHERE status <> 'Resolved';
GRANT SELECT, INSERT, UPDATE (status, ledger_transaction_id, next_check_at, checks)
    ON gateway.contradictions TO gateway;
CREATE TRIGGER final_stays BEFORE UPDATE ON gateway.contradictions FOR EACH ROW
    WHEN (OLD.status = 'Resolved') EXECUTE FUNCTION gateway.final_stays();

-- A surplus that nobody may claim any more becomes income.
SET LOCAL lock_timeout = '5s';
ALTER TABLE gateway.surpluses
    ADD COLUMN forfeited_at timestamptz,
    ADD COLUMN income_transaction_id uuid,
    DROP CONSTRAINT surpluses_status_check,
    ADD CONSTRAINT surpluses_status_check CHECK (status IN
        ('Told', 'Confirmed', 'Booked', 'Sending', 'Repaid', 'Refunded', 'Held', 'Forfeiting', 'Forfeited')),
    DROP CONSTRAINT refund_is_of_booked,
    ADD CONSTRAINT refund_is_of_booked CHECK (status NOT IN ('Booked', 'Sending', 'Repaid', 'Refunded', 'Forfeiting',
        'Forfeited') OR suspense_transaction_id IS NOT NULL),
    ADD CONSTRAINT forfeited_is_booked CHECK ((status = 'Forfeited') = (income_transaction_id IS NOT NULL)),
    DROP CONSTRAINT open_is_checked,
    ADD CONSTRAINT open_is_checked CHECK
        ((status IN ('Refunded', 'Held', 'Forfeited')) = (next_check_at IS NULL));
DROP TRIGGER final_stays ON gateway.surpluses;
CREATE TRIGGER final_stays BEFORE UPDATE ON gateway.surpluses FOR EACH ROW
    WHEN (OLD.status IN ('Refunded', 'Forfeited')) EXECUTE FUNCTION gateway.final_stays();
-- One person may ask for another try of one that is held, in his name.
CREATE TRIGGER noted AFTER UPDATE ON gateway.surpluses FOR EACH ROW
    WHEN (OLD.status = 'Held' AND NEW.status IN ('Told', 'Booked'))
    EXECUTE FUNCTION gateway.note_change('surplus', 'attempt_id');

-- A release that would take a row for something else does not get at it: it waits for one that
-- knows what the trigger names.
CREATE FUNCTION gateway.known_alone() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_ARGV[0] = ANY (string_to_array(current_setting('payplane.knows', true), ',')) THEN
        RETURN NEW;
    END IF;
    RETURN NULL;
END $$;
-- Triggers fire in the order of their names.
CREATE TRIGGER a_known_alone BEFORE UPDATE ON gateway.surpluses FOR EACH ROW
    WHEN (OLD.status IN ('Forfeiting', 'Forfeited')) EXECUTE FUNCTION gateway.known_alone('decisions');

-- What a person may have to look at: of each kind what has no end yet, or none by a machine. Each part
-- is read by an index that holds the open ones alone.
CREATE VIEW gateway.open_items AS
    SELECT 'Payment' AS kind, a.attempt_id AS item_id, a.order_id, a.channel, o.amount_minor, o.currency,
        a.status, CASE a.status WHEN 'Processing' THEN greatest(a.signed_at, o.expires_at) ELSE a.signed_at END AS since,
        -- Has its network said that it knows it?
        a.status = 'Processing' AS is_known,
        -- What changes with whatever the network says, or is asked anew.
        CASE a.status WHEN 'Processing' THEN 'Known' ELSE 'Unknown' END AS seen
    FROM gateway.attempts a JOIN gateway.orders o USING (order_id)
    WHERE a.status IN ('Sending', 'Processing', 'Unknown')
    UNION ALL
    SELECT CASE r.status WHEN 'Sending' THEN 'Refund' ELSE 'Reversal' END, r.refund_id, r.order_id, r.channel,
        r.amount_minor, o.currency, r.status, coalesce(r.signed_at, r.created_at), r.network_id IS NOT NULL,
        coalesce('Known ' || r.network_id, 'Unknown')
    FROM gateway.refunds r JOIN gateway.orders o USING (order_id)
    WHERE r.next_check_at IS NOT NULL AND r.status IN ('Sending', 'Reversing')
    UNION ALL
    SELECT CASE status WHEN 'Sending' THEN 'Payout' ELSE 'Reversal' END, payout_id, NULL, channel,
        amount_minor, currency, status, coalesce(signed_at, created_at), network_id IS NOT NULL,
        coalesce('Known ' || network_id, 'Unknown')
    FROM gateway.payouts WHERE next_check_at IS NOT NULL AND status IN ('Sending', 'Reversing')
    UNION ALL
    SELECT 'Surplus', attempt_id, order_id, channel, amount_minor, currency, status, created_at, true,
        concat_ws(' ', amount_minor, suspense_transaction_id IS NOT NULL, tries, extract(epoch FROM signed_at), held_because)
    FROM gateway.surpluses WHERE status = 'Held'
    UNION ALL
    SELECT 'Contradiction', contradiction_id, NULL, channel, amount_minor, currency, status, created_at, true, status
    FROM gateway.contradictions WHERE status <> 'Resolved';
GRANT SELECT ON gateway.open_items TO gateway;
