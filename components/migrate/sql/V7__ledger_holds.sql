-- Holds: money of an account with a floor that is set aside before it moves. A hold
-- is a transaction without entries; what is left of it is its cap. A capture moves
-- a part of it or all, a void or an expiry ends it and sets the rest free. Only its
-- own caller says any of it, and nothing expires by itself: while the caller does
-- not know what became of the payment, the money stays held.

CREATE TABLE ledger.holds (
    hold_id      uuid PRIMARY KEY,
    account_id   bigint NOT NULL REFERENCES ledger.balances,
    amount_minor bigint NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    -- From then on it may be expired; never, where there is none.
    expires_at   timestamptz
) PARTITION BY RANGE (hold_id);
CREATE TABLE ledger.holds_all PARTITION OF ledger.holds FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
CREATE INDEX ON ledger.holds (account_id);

-- What is held is a hold's. It comes in one statement with it, which looks for it.
CREATE FUNCTION ledger.holds_are_whole() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off
SET enable_mergejoin = off AS $$
DECLARE
    wrong uuid;
BEGIN
    SELECT h.hold_id INTO wrong FROM added h LEFT JOIN ledger.transactions t ON t.transaction_id = h.hold_id
     WHERE t.kind IS DISTINCT FROM 'hold' LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% is no hold', wrong USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON ledger.holds
    FOR EACH ROW EXECUTE FUNCTION payplane.refuse_change();
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['holds', 'holds_all'] LOOP
        EXECUTE format('CREATE TRIGGER no_truncate BEFORE TRUNCATE ON ledger.%I
            FOR EACH STATEMENT EXECUTE FUNCTION payplane.refuse_change()', name);
        EXECUTE format('CREATE TRIGGER whole AFTER INSERT ON ledger.%I REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION ledger.holds_are_whole()', name);
    END LOOP;
END $$;

-- What speaks against a capture, or against the end of a hold. Its cap is locked.
CREATE FUNCTION ledger.check_hold(p_kind text, p_captured bigint, p_held bigint, p_expires_at timestamptz)
RETURNS ledger.refusal LANGUAGE plpgsql AS $$
BEGIN
    IF p_held = 0 THEN
        RETURN ROW ('HOLD_ENDED', 'original', 'nothing is held any more')::ledger.refusal;
    ELSIF p_kind = 'expire' AND (p_expires_at <= now()) IS NOT TRUE THEN
        RETURN ROW ('INVALID', 'original', 'the hold has not expired')::ledger.refusal;
    ELSIF p_kind = 'capture' AND (p_captured > 0) IS NOT TRUE THEN
        RETURN ROW ('INVALID', 'entries', 'a capture lowers the account of its hold')::ledger.refusal;
    ELSIF p_captured > p_held THEN
        RETURN ROW ('OVER_ORIGINAL', 'original', 'more than is held still')::ledger.refusal;
    END IF;
    RETURN NULL;
END $$;

-- A capture lowers the account of its hold by what is held there, and leaves what
-- is available: it waits for no balance.
CREATE FUNCTION ledger.captured(p_items ledger.item[], p_entries ledger.entry[], p_originals uuid[])
RETURNS ledger.entry[] LANGUAGE sql SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    WITH held AS MATERIALIZED (
        SELECT array_agg(h.account_id ORDER BY i.n) AS accounts FROM unnest(p_items) i
          LEFT JOIN ledger.holds h ON i.kind = 'capture' AND h.hold_id = p_originals[i.n])
    SELECT array_agg(ROW (e.item, e.line, e.account_id, e.code, e.currency, e.side, e.amount_minor, e.change_minor,
               CASE WHEN held.accounts[e.item] = e.account_id THEN least(e.change_minor, 0) ELSE 0 END, e.suspect)::ledger.entry
               ORDER BY e.n)
      FROM held, unnest(p_entries) WITH ORDINALITY
           AS e (item, line, account_id, code, currency, side, amount_minor, change_minor, held_minor, suspect, n);
$$;

-- Takes a capture's part from its hold, or ends it and sets the rest free.
CREATE FUNCTION ledger.use_hold(p_kind text, p_captured bigint, p_hold uuid, p_transaction_id uuid)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_kind = 'capture' THEN
        UPDATE ledger.caps c SET remaining_minor = c.remaining_minor - p_captured WHERE c.original_id = p_hold;
        RETURN;
    END IF;
    INSERT INTO ledger.raisings (account_id, posted_minor, held_minor)
    SELECT h.account_id, 0, -c.remaining_minor
      FROM ledger.holds h JOIN ledger.caps c ON c.original_id = h.hold_id WHERE h.hold_id = p_hold;
    UPDATE ledger.caps c SET remaining_minor = 0, reversed_by = p_transaction_id WHERE c.original_id = p_hold;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT SELECT ON ledger.holds TO ledger;
