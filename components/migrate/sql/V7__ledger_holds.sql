-- Holds: money of an account with a floor that is set aside before it moves. A hold
-- is a transaction without entries; what is left of it is its cap. A capture moves
-- a part of it or all, a void or an expiry ends it and sets the rest free. Only its
-- own caller says any of it, and nothing expires by itself: while the caller does
-- not know what became of the payment, the money stays held.

CREATE TABLE ledger.holds (
    hold_id      uuid PRIMARY KEY,
    account_id   bigint NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor BETWEEN 1 AND 9007199254740991),
    -- From then on it may be expired; never, where there is none.
    expires_at   timestamptz,
    batch_number bigint NOT NULL
) PARTITION BY RANGE (hold_id);
CREATE INDEX ON ledger.holds (account_id, batch_number);

-- What the end of a hold set free: what was held still.
CREATE TABLE ledger.hold_ends (
    transaction_id uuid PRIMARY KEY,
    hold_id        uuid NOT NULL,
    account_id     bigint NOT NULL,
    freed_minor    bigint NOT NULL CHECK (freed_minor > 0),
    batch_number   bigint NOT NULL
) PARTITION BY RANGE (transaction_id);
CREATE INDEX ON ledger.hold_ends (account_id, batch_number);

-- What is held is a hold's, on an account with a floor that may be lowered. It comes in one statement
-- with its transaction, which looks for it.
CREATE FUNCTION ledger.holds_are_whole() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off
SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    wrong uuid;
BEGIN
    -- Of most batches none: see ledger.book.
    IF NOT EXISTS (SELECT FROM added) THEN
        RETURN NULL;
    END IF;
    SELECT h.hold_id INTO wrong FROM added h
     WHERE (SELECT t.kind FROM ledger.transactions t WHERE t.transaction_id = h.hold_id AND t.batch_number = h.batch_number)
           IS DISTINCT FROM 'hold'
        OR (SELECT b.account_id FROM ledger.balances b WHERE b.account_id = h.account_id) IS NULL
        OR (SELECT a.state IN ('closed', 'frozen', 'frozen_' || CASE a.normal_side WHEN 'debit' THEN 'credit' ELSE 'debit' END)
              FROM ledger.accounts a WHERE a.account_id = h.account_id) LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% is no hold', wrong USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
-- What was set free is of a transaction that ended this hold.
CREATE FUNCTION ledger.hold_ends_are_whole() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off
SET enable_mergejoin = off SET enable_seqscan = off AS $$
DECLARE
    wrong uuid;
BEGIN
    -- Of most batches none: see ledger.book.
    IF NOT EXISTS (SELECT FROM added) THEN
        RETURN NULL;
    END IF;
    SELECT x.transaction_id INTO wrong FROM added x
     WHERE (SELECT t.kind IN ('void', 'expire') AND t.batch_number = x.batch_number AND t.original_id = x.hold_id
              FROM ledger.transactions t WHERE t.transaction_id = x.transaction_id) IS NOT TRUE
        OR (SELECT h.account_id FROM ledger.holds h WHERE h.hold_id = x.hold_id) IS DISTINCT FROM x.account_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% ends no such hold', wrong USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$;
SELECT payplane.append_only('ledger.holds', 'ledger.hold_ends');
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['holds', 'hold_ends'] LOOP
        EXECUTE format('CREATE TRIGGER whole AFTER INSERT ON ledger.%I REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION ledger.%s_are_whole()', name, name);
    END LOOP;
END $$;

-- Postings look at the tables; whoever reads, at the views: what has been archived
-- (V16) too, where nothing is written any more.
CREATE SCHEMA ledger_archive;
REVOKE ALL ON SCHEMA ledger_archive FROM PUBLIC;
GRANT USAGE ON SCHEMA ledger_archive TO ledger;
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['transactions', 'entries', 'external_references', 'holds', 'hold_ends'] LOOP
        EXECUTE format('CREATE TABLE ledger_archive.%I (LIKE ledger.%I) PARTITION BY RANGE (%I)', name, name,
            CASE name WHEN 'holds' THEN 'hold_id' ELSE 'transaction_id' END);
        EXECUTE format('CREATE TRIGGER append_only BEFORE INSERT OR UPDATE OR DELETE ON ledger_archive.%I
            FOR EACH ROW EXECUTE FUNCTION payplane.refuse_change()', name);
        PERFORM payplane.no_truncate(format('ledger_archive.%I', name)::regclass);
        EXECUTE format('CREATE VIEW ledger.all_%I AS SELECT * FROM ledger.%I UNION ALL SELECT * FROM ledger_archive.%I', name, name, name);
        EXECUTE format('GRANT SELECT ON ledger_archive.%I, ledger.all_%I TO ledger', name, name);
    END LOOP;
END $$;

-- The holds that items capture or end, by item: the kind of what they name, what is
-- held still, when it may be expired, on which account; and the first item about
-- the same one, where a batch keeps count of it. Of items that are busy the caps are
-- not locked, and what is read here may be old.
CREATE FUNCTION ledger.holds_of(p_items ledger.item[], p_originals uuid[], OUT kinds text[], OUT held bigint[],
    OUT expires timestamptz[], OUT accounts bigint[], OUT firsts int[])
LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    SELECT array_agg((SELECT t.kind FROM ledger.transactions t WHERE t.transaction_id = i.original) ORDER BY i.n),
           array_agg(h.remaining_minor ORDER BY i.n), array_agg(h.expires_at ORDER BY i.n), array_agg(h.account_id ORDER BY i.n),
           array_agg(CASE WHEN h.remaining_minor IS NOT NULL THEN i.first END ORDER BY i.n)
      INTO kinds, held, expires, accounts, firsts
      FROM (SELECT i.n, CASE WHEN i.kind IN ('capture', 'void', 'expire') THEN p_originals[i.n] END AS original,
                   min(i.n) OVER (PARTITION BY i.kind IN ('capture', 'void', 'expire'), p_originals[i.n]) AS first
              FROM unnest(p_items) i) i
      LEFT JOIN LATERAL (
           SELECT h.account_id, h.expires_at, c.remaining_minor FROM ledger.holds h JOIN ledger.caps c ON c.original_id = h.hold_id
            WHERE h.hold_id = i.original OFFSET 0) h ON true;
END $$;

-- What speaks against a capture, or against the end of a hold.
CREATE FUNCTION ledger.check_hold(p_kind text, p_captured bigint, p_original_kind text, p_held bigint,
    p_expires_at timestamptz) RETURNS ledger.refusal LANGUAGE plpgsql AS $$
BEGIN
    IF p_original_kind IS NULL THEN
        RETURN ROW ('UNKNOWN_ORIGINAL', 'original', 'the hold is not in the books')::ledger.refusal;
    ELSIF p_original_kind <> 'hold' THEN
        RETURN ROW ('INVALID', 'original', format('a %s is not captured, voided or expired: a hold is', p_original_kind))::ledger.refusal;
    ELSIF p_held = 0 THEN
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
RETURNS ledger.entry[] LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    RETURN (WITH held AS MATERIALIZED (
        SELECT array_agg((SELECT h.account_id FROM ledger.holds h
                           WHERE h.hold_id = CASE WHEN i.kind = 'capture' THEN p_originals[i.n] END) ORDER BY i.n) AS accounts
          FROM unnest(p_items) i)
    SELECT array_agg(ROW (e.item, e.line, e.account_id, e.code, e.currency, e.side, e.amount_minor, e.change_minor,
               CASE WHEN held.accounts[e.item] = e.account_id THEN least(e.change_minor, 0) ELSE 0 END, e.suspect)::ledger.entry
               ORDER BY e.n)
      FROM held, unnest(p_entries) WITH ORDINALITY
           AS e (item, line, account_id, code, currency, side, amount_minor, change_minor, held_minor, suspect, n));
END $$;

-- Writes what is held still of holds that a batch captured or ended, and of no others:
-- what was read of those without a lock may be old. What is set free is available.
CREATE FUNCTION ledger.write_holds(p_originals uuid[], p_used boolean[], p_held bigint[], p_freed bigint[], p_ended uuid[],
    p_accounts bigint[]) RETURNS void LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
BEGIN
    WITH w AS MATERIALIZED (
        SELECT p_originals[u.n] AS hold_id, u.held, u.freed, u.ended, u.account_id
          FROM unnest(p_used, p_held, p_freed, p_ended, p_accounts)
               WITH ORDINALITY AS u (used, held, freed, ended, account_id, n) WHERE u.used),
    freed AS (
        INSERT INTO ledger.raisings (account_id, posted_minor, held_minor)
        SELECT w.account_id, 0, -w.freed FROM w WHERE w.freed > 0)
    UPDATE ledger.caps c SET remaining_minor = w.held, reversed_by = w.ended
      FROM w WHERE c.original_id = w.hold_id;
END $$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ledger FROM PUBLIC;
GRANT SELECT ON ledger.holds, ledger.hold_ends TO ledger;
